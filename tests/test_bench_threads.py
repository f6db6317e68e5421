"""The benchmark of threads and processes, on a real file."""

from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.mark.slow
def test_it_times_one_core_and_two_in_both_ways(
    monkeypatch: pytest.MonkeyPatch, trained_run: Path, data_folder: Path
) -> None:
    monkeypatch.syspath_prepend(TOOLS)
    import bench_threads

    rows = bench_threads.measure(trained_run, str(data_folder / "made-test.tsv"), rounds=1, seconds=0.05, cores=2)
    assert [row["what"] for row in rows] == [
        "made: ONNX, 1 process, 2 threads each",
        "made: ONNX, 2 processes, 1 thread each",
        "made: LiteRT, 1 process, 2 threads each",
        "made: LiteRT, 2 processes, 1 thread each",
    ]
    for row in rows:
        assert row["ratio_to"] == "1 process, 1 thread each"
        assert row["ratio"] == pytest.approx(row["milliseconds"] / row["peer_milliseconds"])  # a single round
