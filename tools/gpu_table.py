"""The results of `gpu_check.py run` as Markdown: what was off first, then how fast."""

from collections.abc import Sequence
from typing import Any


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Three tables under the name of the device, and what was cut off."""
    device = next((row for row in rows if row["part"] == "device"), None)
    if device is None:
        return "not run"
    said = [f"Run on **{device['name']}** with JAX {device['jax']}, float32, TF32 off; model `{device['run']}`."]
    for row in rows:
        if row["part"] == "end" and row["problem"]:
            said.append(f"The part `{row['of']}` was {row['problem']}: what it measured until then is here.")
    said += [row["text"] for row in rows if row["part"] == "note"]
    parts = [" ".join(said), _parity(rows), _throughput(rows), _layers(rows)]
    return "\n\n".join(part for part in parts if part)


def _parity(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"| {row['what']} | {row['texts']:,} | {row['max_abs_diff']:.1e} | {row['labels_equal']:,} | "
        f"{row['near_ties']} ({row['max_abs_diff_of_near_ties']:.1e}) |"
        for row in rows
        if row["part"] == "parity"
    ]
    head = "| beside TensorFlow on the CPU | texts | max difference | labels equal | near-ties (their difference) |"
    return _made(head, lines)


def _throughput(rows: Sequence[dict[str, Any]]) -> str:
    measured = {(row["door"], row["batch"]): row for row in rows if row["part"] == "throughput"}
    doors = list(dict.fromkeys(door for door, _ in measured))
    lines = []
    for batch in sorted({batch for _, batch in measured}):
        cells = []
        for door in doors:
            row = measured.get((door, batch))
            for name in ("texts_per_second", "texts_per_second_from_host"):
                cells.append("not run" if row is None else f"{row[name]:,.0f}")
        lines.append(f"| {batch:,} | {' | '.join(cells)} |")
    names = [f"{door}{where}" for door in doors for where in (", on the device", ", from and to the host")]
    return _made(f"| texts per second, batch | {' | '.join(names)} |", lines)


def _layers(rows: Sequence[dict[str, Any]]) -> str:
    times: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["part"] in ("layers", "torch"):
            times.setdefault(row["what"], {})[row["which"]] = row["milliseconds"]
    peers = list(dict.fromkeys(name for each in times.values() for name in each if name not in ("switch", "dense")))
    peers = ["dense", *peers]
    off = {row["what"]: row["max_abs_diff"] for row in rows if row["part"] == "layer parity"}
    lines = []
    for what, each in times.items():
        ours = each.get("switch")
        ratios = [f"{ours / each[peer]:.2f}x" if ours and peer in each else "not run" for peer in peers]
        spent = [f"{each[name]:.3f}" if name in each else "not run" for name in ("switch", *peers)]
        lines.append(f"| {what} | {' | '.join(ratios)} | {' | '.join(spent)} |")
    names = {"dense": "a dense layer"}
    heads = [f"ours / {names.get(peer, peer)}" for peer in peers]
    heads += ["ours, ms", *(f"{names.get(peer, peer)}, ms" for peer in peers)]
    made = _made(f"| the Switch layer | {' | '.join(heads)} |", lines)
    if made and off:
        made += (
            f"\n\nTheir answers are within {max(off.values()):.1e} of TensorFlow's on the CPU ({len(off)} compared)."
        )
    return made


def _made(head: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([head, f"|---{'|---' * (head.count('|') - 2)}|", *lines])
