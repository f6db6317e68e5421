"""What is told of the exchange: two real processes measured, and a line of the table by hand."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import bench_exchange
from bench_exchange import CASES, Case, Figures, measure

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_two_processes_answer_as_one_and_send_what_the_formula_says() -> None:
    cases = [replace(case, texts=8, width=16, steps=3) for case in CASES if case.workers == 2][:3]
    assert [case.router for case in cases] == ["top1", "top2", "expert_choice"]
    for case, figures in zip(cases, measure(cases), strict=True):
        assert figures.answer <= 1e-6 and figures.gradient <= 1e-5
        assert figures.put == pytest.approx(case.expected, rel=0.1)
        assert figures.wire >= figures.put  # the interface of all programs here: it has seen ours at least


def test_the_bytes_by_hand() -> None:
    """Four ways, 3 texts of 8 tokens for each of 2 workers, 1.5 slots a token, 10 wide, 4 bytes, half of it at home."""
    case = Case(workers=2, texts=6, length=8, capacity_factor=1.5, width=10)
    assert case.expected == 4 * 24 * 1.5 * 10 * 4 / 2
    line = bench_exchange._line(case, Figures(put=2880.0, wire=3168.0, answer=1e-7, gradient=2.6e-6))
    assert line == "| 2, 8, top1 | 24, 1.5 | 2,880 | 2,880: 1.000 | 3,168: 1.100 | 1e-07, 3e-06 |"


def test_the_page_has_a_line_for_each_case() -> None:
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    lines = page.split(bench_exchange.START)[1].split(bench_exchange.END)[0].strip().split("\n")
    assert len(lines) == 2 + len(CASES)
    for case, line in zip(CASES, lines[2:], strict=True):
        assert line.startswith(f"| {case.workers}, {case.experts}, {case.router} |")
        assert f"{case.expected:,.0f}" in line


def test_a_table_is_put_where_the_old_one_was(tmp_path: Path) -> None:
    page = tmp_path / bench_exchange.PAGE
    page.write_text(f"before\n{bench_exchange.START}\n| old |\n\n{bench_exchange.END}\nafter\n", "utf-8")
    bench_exchange.write(tmp_path, "| new |\n")
    assert page.read_text("utf-8") == f"before\n{bench_exchange.START}\n| new |\n\n{bench_exchange.END}\nafter\n"
