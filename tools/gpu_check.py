"""Is the model right on a GPU, and how fast is it there? StableHLO of the exported SavedModel, run by JAX.

    python tools/gpu_check.py prepare runs/quickstart bundle       where TensorFlow is: makes a folder
    python tools/gpu_check.py run bundle results.jsonl             where the GPU is: JAX and NumPy, PyTorch for peers
    python tools/gpu_check.py table results.jsonl --write docs/performance.md

`run` takes at most eight minutes (`--seconds`): each part is a process of its own with a limit, and writes every figure
as it comes, so that what is cut off keeps what was measured. Without a GPU it runs on XLA for the CPU. Everything is
float32 with TF32 off. This file imports nothing but the standard library and NumPy at its top.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = (64, 256, 1024, 4096, 8192)
LAYERS = [
    {"d_model": width, "d_ff": 4 * width, "experts": experts, "batch": 64, "length": 256}
    for width in (256, 768)
    for experts in (8, 64)
]
Arrays = dict[str, np.ndarray]
# Its share of the time that is left, most important first.
PARTS = {"parity": 0.3, "throughput": 0.4, "layers": 0.55, "torch": 1.0}
_SAMPLES = 64  # tokens of a layer's answer that are compared
_TF32_OFF = {"NVIDIA_TF32_OVERRIDE": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_ENABLE_X64": "1"}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="make a bundle of a run")
    command.add_argument("run", type=Path)
    command.add_argument("bundle", type=Path)
    command.add_argument("--batches", type=_numbers, default=BATCHES, help="sizes with commas between")
    command.add_argument("--texts", type=int, default=512)
    command.add_argument("--layers", type=json.loads, default=LAYERS, help="as JSON, like LAYERS")
    command = commands.add_parser("run", help="measure a bundle")
    command.add_argument("bundle", type=Path)
    command.add_argument("results", type=Path)
    command.add_argument("--seconds", type=float, default=480)
    command = commands.add_parser("part", help="one part of `run`")
    command.add_argument("part", choices=list(PARTS))
    command.add_argument("bundle", type=Path)
    command.add_argument("results", type=Path)
    command = commands.add_parser("table", help="print results as Markdown")
    command.add_argument("results", type=Path)
    command.add_argument("--write", type=Path, help="the page that has the markers of `table: gpu`")
    given = vars(parser.parse_args(words))
    actions: dict[str, Callable[..., int]] = {"prepare": _prepare, "run": _run, "part": _part, "table": _table}
    return actions[given.pop("command")](**given)


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",")]


def _prepare(run: Path, bundle: Path, batches: Sequence[int], texts: int, layers: list[dict[str, int]]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from gpu_bundle import prepare

    print(f"{bundle}: {prepare(run, bundle, batches, texts, layers):,} bytes")
    return 0


def _run(bundle: Path, results: Path, seconds: float) -> int:
    """Each part in a process of its own; how many did not end by themselves."""
    until, failed = time.monotonic() + seconds, 0
    for part, share in PARTS.items():
        limit = max(1.0, share * (until - time.monotonic()))
        started = time.monotonic()
        words = [sys.executable, __file__, "part", part, str(bundle), str(results)]
        try:
            code = subprocess.run(words, timeout=limit, check=False, env=os.environ | _TF32_OFF).returncode
            why = "" if code == 0 else f"ended with {code}"
        except subprocess.TimeoutExpired:
            why = f"cut off after {limit:.0f} s"
        failed += bool(why)
        _write(results, {"part": "end", "of": part, "problem": why, "seconds": round(time.monotonic() - started, 1)})
    print(table(read(results)))
    return failed


def _part(part: str, bundle: Path, results: Path) -> int:
    manifest = json.loads((bundle / "manifest.json").read_text())

    def keep(row: dict[str, Any]) -> None:
        _write(results, {"part": part} | row)

    if part == "torch":
        from gpu_torch import measure

        measure(manifest["layers"], keep)
        return 0
    import jax

    arrays = dict(np.load(bundle / "model.npz"))
    device = jax.devices()[0]
    name = device.device_kind if device.platform != "cpu" else f"XLA for the CPU, {platform.machine()}"
    keep({"part": "device", "name": name, "platform": device.platform, "jax": jax.__version__, "run": manifest["run"]})
    {"parity": _parity, "throughput": _throughput, "layers": _layers}[part](bundle, manifest, arrays, keep)
    return 0


def _parity(bundle: Path, manifest: dict[str, Any], arrays: Arrays, keep: Callable[..., None]) -> None:
    """The model's probabilities beside those of TensorFlow on the CPU."""
    batch = min(entry["batch"] for entry in manifest["model"])
    expected, tie = arrays["probabilities"], arrays["near_tie"]
    for entry in manifest["model"]:
        if entry["batch"] == batch:
            ask = _module(bundle, entry, arrays)
            rows = arrays[entry["door"]]
            parts = [np.asarray(ask(rows[start : start + batch])[0]) for start in range(0, len(rows), batch)]
            received = np.concatenate(parts)
            difference = np.abs(received - expected).max(axis=1)  # [texts]
            keep(
                {
                    "what": f"{entry['door']}, batch {batch}",
                    "texts": len(rows),
                    "max_abs_diff": float(difference[~tie].max()),
                    "near_ties": int(tie.sum()),
                    "max_abs_diff_of_near_ties": float(difference[tie].max()) if tie.any() else 0.0,
                    "labels_equal": int((received.argmax(axis=1) == expected.argmax(axis=1)).sum()),
                }
            )


def _throughput(bundle: Path, manifest: dict[str, Any], arrays: Arrays, keep: Callable[..., None]) -> None:
    """Texts per second with inputs that are on the device, and from and to the host's memory."""
    import jax

    for entry in manifest["model"]:
        batch = entry["batch"]
        host = np.resize(arrays[entry["door"]], (batch, arrays[entry["door"]].shape[1]))
        started = time.perf_counter()
        ask = _module(bundle, entry, arrays)
        jax.block_until_ready(ask(host))
        compiled = time.perf_counter() - started
        there = jax.device_put(host)
        (on_device,) = seconds_of([partial(_finish, ask, [there])])
        (from_host,) = seconds_of([partial(_fetch, ask, host)])
        keep(
            {
                "door": entry["door"],
                "batch": batch,
                "texts_per_second": batch / on_device,
                "texts_per_second_from_host": batch / from_host,
                "compile_seconds": compiled,
            }
        )


def _layers(bundle: Path, manifest: dict[str, Any], arrays: Arrays, keep: Callable[..., None]) -> None:
    """The Switch layer and the dense one in turns, by size."""
    import jax

    entries = manifest["layers"]
    for switch in (each for each in entries if each["kind"] == "switch"):
        pair = [switch, next(each for each in entries if each["kind"] == "dense" and _same(each, switch))]
        calls: list[Callable[[], Any]] = []
        for entry in pair:
            ask = _module(bundle, entry, arrays)
            given = [jax.device_put(each) for each in draw(entry["shapes"]).values()]
            answer = ask(*given)
            if entry["name"] in arrays:
                off = np.abs(sampled(np.asarray(answer[0])) - arrays[entry["name"]])
                keep({"part": "layer parity", "what": entry["name"], "max_abs_diff": float(off.max())})
            del answer
            calls.append(partial(_finish, ask, given))
        for entry, seconds in zip(pair, seconds_of(calls), strict=True):
            keep({"what": describe(entry), "which": entry["kind"], "milliseconds": 1000 * seconds})
        del calls


def _finish(ask: Callable[..., Any], given: Sequence[Any]) -> None:
    """Ask, and wait for the answer where it is."""
    import jax

    jax.block_until_ready(ask(*given))


def _fetch(ask: Callable[..., Any], given: np.ndarray) -> np.ndarray:
    """Ask with an array of the host's, and bring the answer back."""
    return np.asarray(ask(given)[0])


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("d_model", "d_ff", "experts", "batch", "length", "gradients"))


def describe(layer: dict[str, Any]) -> str:
    """What a layer's row is called.

    >>> describe({"d_model": 256, "experts": 8, "batch": 64, "length": 256, "gradients": True})
    'd=256, E=8, 64 x 256 tokens, with gradients'
    """
    size = f"d={layer['d_model']}, E={layer['experts']}, {layer['batch']} x {layer['length']} tokens"
    return f"{size}, {'with gradients' if layer['gradients'] else 'forward'}"


def _module(bundle: Path, entry: dict[str, Any], arrays: Arrays) -> Callable[..., Any]:
    """A StableHLO module as a function of arrays, with its weights on the device.

    JAX runs what its own `export` made: so an empty function of the same arguments and answers is exported, and the
    module put in its place.
    """
    import dataclasses

    import jax
    from jax import export

    taken = [jax.device_put(arrays[name]) for name in entry["weights"]]
    shapes = list(entry["shapes"].values()) if "shapes" in entry else [[entry["batch"], arrays[entry["door"]].shape[1]]]
    kinds = ["float32"] * len(shapes) if "shapes" in entry else [arrays[entry["door"]].dtype]
    given = [jax.ShapeDtypeStruct(tuple(shape), kind) for shape, kind in zip(shapes, kinds, strict=True)]
    given += [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in taken]

    def empty(*_: Any) -> list[Any]:
        return [jax.numpy.zeros(each["shape"], each["dtype"]) for each in entry["answers"]]

    template = export.export(jax.jit(empty, keep_unused=True), platforms=[export.default_export_platform()])(*given)
    call = jax.jit(dataclasses.replace(template, mlir_module_serialized=(bundle / entry["module"]).read_bytes()).call)
    return lambda *inputs: call(*inputs, *taken)


def seconds_of(
    calls: Sequence[Callable[[], Any]],
    least: int = 5,
    most: int = 30,
    limit: float = 2.0,
    of: Callable[[list[float]], Any] = np.median,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each call, all in turns: the median (or what `of` makes of them), after two rounds that warm up."""
    taken: list[list[float]] = [[] for _ in calls]
    until = time.perf_counter() + limit * len(calls)
    for number in range(most + 2):
        if number >= least + 2 and time.perf_counter() > until:
            break
        for each, call in zip(taken, calls, strict=True):
            started = clock()
            call()
            if number >= 2:
                each.append(clock() - started)
    return [float(of(each)) for each in taken]


def draw(shapes: dict[str, list[int]], seed: int = 0) -> Arrays:
    """The input `x` and weights of a layer, float32: normal, of a deviation that keeps activations near 1."""
    random = np.random.default_rng(seed)
    drawn = {}
    for name, shape in shapes.items():
        scale = 1.0 if name == "x" else 0.0 if name.startswith("b_") else shape[-2] ** -0.5
        drawn[name] = random.standard_normal(shape, np.float32) * np.float32(scale)
    return drawn


def sampled(y: np.ndarray) -> np.ndarray:
    """Some tokens of a layer's answer [batch, length, d_model]: float32 [tokens, d_model]."""
    rows = y.reshape(-1, y.shape[-1])
    return rows[np.linspace(0, len(rows) - 1, min(_SAMPLES, len(rows))).astype(int)]


def _write(results: Path, row: dict[str, Any]) -> None:
    """One more line, on the disk before the next is measured."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(json.dumps(row), flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    """The rows of a file; a last line that was cut off is left out."""
    lines = results.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    from gpu_table import table

    return table(rows)


def _table(results: Path, write: Path | None) -> int:
    made = table(read(results))
    if write is None:
        print(made)
        return 0
    from quality import fill

    page = write.read_text(encoding="utf-8")
    filled = fill(page, {"gpu": made})
    if filled == page:
        print(f"{write} has no markers of the table gpu, or says the same already.", file=sys.stderr)
        return 1
    write.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
