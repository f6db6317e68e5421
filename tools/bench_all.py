"""All of docs/performance.md but the GPU: measures ours and the peers in one run, and guards the committed ratios.

    python tools/bench_all.py --write docs/performance.md     measure, fill the tables, keep the figures beside the page
    python tools/bench_all.py --check                         measure, and compare with the figures that are kept

Peers that are not installed here are found by `--words`: --words "layer=--torch another/bin/python".

Each part is a program of its own (`--only` names them) on one thread, and prints its rows as JSON. A row says what was
measured (`what`), beside what (`ratio_to`), `ratio` of ours to theirs, and both in milliseconds or megabytes. Machines
are noisy and differ, so the check holds ratios, not times: one may be a quarter above the committed one, a slope 0.25.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from bench_growth import slope
from quality import fill

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
SUITES = {
    "layer": "bench_layer.py",
    "training": "bench_training.py",
    "raw-text": "bench_raw_text.py",
    "threads": "bench_threads.py",
    "growth": "bench_growth.py",
}
TABLES = {  # by section: the marker that its table stands behind
    "The layer": "layer",
    "Training": "training",
    "From raw text": "raw-text",
    "Start-up and memory": "start-up",
    "Threads": "threads",
    "Growth": "growth",
}
TOLERANCE = 1.25  # times the committed ratio
SLOPE_TOLERANCE = 0.25
_PACKAGES = ("tensorflow", "onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "scikit-learn", "numpy")
Row = dict[str, Any]


@click.command()
@click.option("--write", "page", type=click.Path(path_type=Path, exists=True), help="The page with markers to fill.")
@click.option("--check", is_flag=True, help="Compare with the figures beside docs/performance.md; 1 if one is worse.")
@click.option("--only", type=click.Choice(list(SUITES)), multiple=True, help="These parts alone; the others stay.")
@click.option("--quick", is_flag=True, help="Small sizes: to see that it runs.")
@click.option(
    "--figures", type=click.Path(path_type=Path), help="Where figures are kept; performance.json unless given."
)
@click.option("--words", multiple=True, metavar="PART=WORDS", help="More for a part's command, as a shell splits it.")
def main(
    page: Path | None,
    check: bool,
    only: tuple[str, ...],
    quick: bool,
    figures: Path | None,
    words: tuple[str, ...],
) -> None:
    """Measure every part that there is."""
    if check and page is not None:
        raise click.UsageError("Received both --write and --check. Expected one of the two.")
    kept = figures or (page or PAGE).with_suffix(".json")
    committed = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"machine": {}, "rows": []}
    if check and not committed["rows"]:
        raise click.ClickException(f"{kept} holds no figures to compare with. Measure with --write first.")
    more = dict(each.partition("=")[::2] for each in words)
    if unknown := sorted(more.keys() - SUITES.keys()):
        raise click.UsageError(f"Received --words for {', '.join(unknown)}. Expected one of {', '.join(SUITES)}.")
    rows: list[Row] = []
    failed = []
    for name in only or SUITES:
        measured = _measure(name, quick, shlex.split(more.get(name, "")))
        if measured is None:
            failed.append(name)
            continue
        rows += measured
        if page is not None:  # at once: what is cut off keeps what was measured
            committed = {"machine": machine(), "rows": merged(committed["rows"], rows)}
            kept.write_text(json.dumps(committed, indent=1) + "\n", encoding="utf-8")
            page.write_text(fill(page.read_text(encoding="utf-8"), tables(**committed)), encoding="utf-8")
    if page is None and not check:
        click.echo("\n\n".join(tables(machine(), rows).values()))
    problems = compare(committed["rows"], rows) if check else []
    for problem in problems:
        click.echo(problem, err=True)
    if failed:
        click.echo(f"Not measured: {', '.join(failed)}.", err=True)
    sys.exit(bool(problems or failed))


def _measure(name: str, quick: bool, more: Sequence[str]) -> list[Row] | None:
    """The rows of one part; None, after a word on stderr, if it fails or is not there."""
    program = Path(__file__).parent / SUITES[name]
    if not program.exists():
        click.echo(f"There is no {program}.", err=True)
        return None
    click.echo(f"Measuring {name}", err=True)
    words = [sys.executable, str(program), "--json", *(["--quick"] if quick else []), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    finished = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    try:
        return list(json.loads(finished.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        click.echo(f"{program} ended with {finished.returncode}, without rows.", err=True)
        return None


def machine() -> dict[str, str]:
    """Where it was measured: processor, cores, how busy it was, and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load, one minute's mean": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "versions": ", ".join(f"{name} {number}" for name, number in found.items()),
    }


def key(row: Row) -> tuple[str, str, str]:
    """What makes two rows the same comparison."""
    return row["section"], row["what"], row.get("ratio_to", "")


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The new rows, and the old ones of sections that were not measured."""
    sections = {row["section"] for row in new}
    return [row for row in old if row["section"] not in sections] + list(new)


def compare(committed: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """What is worse than committed, a line for each; and what is no longer measured in the sections that were."""
    before = {key(row): row for row in committed}
    problems = []
    for row in rows:
        old, name = before.pop(key(row), None), " / ".join(filter(None, key(row)))
        if old is None:
            continue
        if row.get("ratio") and old.get("ratio") and row["ratio"] > TOLERANCE * old["ratio"]:
            problems.append(f"{name}: {row['ratio']:.2f}x, and {old['ratio']:.2f}x was committed")
        if "slope" in row and row["slope"] > old["slope"] + SLOPE_TOLERANCE:
            problems.append(f"{name}: slope {row['slope']:.2f}, and {old['slope']:.2f} was committed")
    sections = {row["section"] for row in rows}
    gone = [each for each in before if each[0] in sections]
    return problems + [f"{' / '.join(filter(None, each))}: committed, and not measured now" for each in gone]


def tables(machine: dict[str, str], rows: Sequence[Row]) -> dict[str, str]:
    """Markdown by marker, for the sections that have rows."""
    lines = ["| measured on | |", "|---|---|", *(f"| {name} | {value} |" for name, value in machine.items())]
    made = {"machine": "\n".join(lines)}
    for section, name in TABLES.items():
        own = [row for row in rows if row["section"] == section]
        if own:
            made[name] = growth_table(own) if section == "Growth" else table(own)
    return made


def table(rows: Sequence[Row]) -> str:
    """Comparisons, ratios first."""
    lines = ["| ours / theirs | what | beside | ours | theirs | |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"**{row['ratio']:.2f}x**" if row.get("ratio") else ""
        cells = [
            ratio,
            row["what"],
            row.get("ratio_to", ""),
            _amount(row, ""),
            _amount(row, "peer_"),
            row.get("note", ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _amount(row: Row, whose: str) -> str:
    """Milliseconds or megabytes, in three digits.

    >>> _amount({"milliseconds": 0.01234}, ""), _amount({"peer_megabytes": 56.1}, "peer_"), _amount({}, "")
    ('0.0123 ms', '56.1 MB', '')
    """
    for name, unit in (("milliseconds", "ms"), ("megabytes", "MB")):
        value = row.get(whose + name)
        if value is not None:
            return f"{_digits(value)} {unit}"
    return ""


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def growth_table(rows: Sequence[Row]) -> str:
    """Slopes first: that over all sizes, and that of the last step, where what does not grow counts least."""
    lines = ["| slope | of the last step | what grows | milliseconds by size |", "|---|---|---|---|"]
    for row in rows:
        last = slope(row["sizes"][-2:], row["milliseconds"][-2:])
        spent = [f"{size:,}: {_digits(ms)}" for size, ms in zip(row["sizes"], row["milliseconds"], strict=True)]
        lines.append(f"| **{row['slope']:.2f}** | {last:.2f} | {row['what']} | {'; '.join(spent)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
