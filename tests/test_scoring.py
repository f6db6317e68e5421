"""Batch scoring with a real file and real processes: every row once, in order, whatever is killed, and refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import _do_without, ask, export_file, made_up_rows

from switch_tf.artifacts.opening import load_predictor
from switch_tf.data.examples import read_examples
from switch_tf.errors import DataError, ModelError, RunError, SwitchTFError
from switch_tf.runs.folder import open_run
from switch_tf.serving import pool
from switch_tf.serving.job import ScoringOptions, _work_for, open_input, score_files

pytestmark = pytest.mark.slow

ROWS = 240


class Notes:
    """A `switch_tf.serving.job.Progress` that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.parts: list[tuple[int, bool]] = []
        self.share = 0.0

    def begin(self, workers: int) -> None:
        self.notes.append(f"{workers} processes")

    def part(self, rows: int, share: float, is_new: bool) -> None:
        self.parts.append((rows, is_new))
        self.share += share

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def model(trained_run: Path, trained_proof: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = export_file("onnx", open_run(trained_run), trained_proof, tmp_path_factory.mktemp("model") / "model.onnx")
    return Path(path)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parquet files of 120 rows each."""
    folder = tmp_path_factory.mktemp("texts")
    rows = made_up_rows(ROWS, seed=3)
    for number in range(2):
        some = range(number * ROWS // 2, (number + 1) * ROWS // 2)
        table = pa.table({"id": list(some), "text": [rows[i][0] for i in some], "label": [rows[i][1] for i in some]})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=50)
    return folder


def score(model: Path, source: Path | str, output: Path | str, **options: Any) -> tuple[dict[str, Any], Notes]:
    notes = Notes()
    chosen = ScoringOptions(**{"workers": 1, "rows_per_part": 30, **options})
    said = score_files(model, str(source), str(output), chosen, notes, lambda: load_predictor(model, 1))
    return said, notes


@pytest.fixture(scope="module")
def undisturbed(model: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "out"
    said, notes = score(model, texts, folder, all_probabilities=True)
    assert {name: said[name] for name in ("rows", "errors", "parts", "new_parts")} == {
        "rows": ROWS,
        "errors": 0,
        "parts": 8,
        "new_parts": 8,
    }
    assert notes.share == pytest.approx(1.0)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "_job.json"}


def test_every_row_is_answered_as_the_model_answers_it(undisturbed: Path, model: Path, texts: Path) -> None:
    given, found = pq.read_table(texts), pq.read_table(undisturbed)
    assert found.select(given.schema.names).equals(given)
    assert found.schema.names[3:] == [
        f"predicted_{name}" for name in ("label", "score", "probability_bad", "probability_good", "error")
    ]
    predictor = load_predictor(model, 1)
    expected = predictor.probabilities(given["text"].to_pylist())
    assert found["predicted_probability_good"].to_numpy() == pytest.approx(expected[:, 1], abs=1e-6)
    assert found["predicted_label"].to_pylist() == [predictor.labels[i] for i in expected.argmax(axis=1)]
    assert sorted(path.name for path in undisturbed.parent.iterdir()) == ["out"]


def test_a_complete_job_has_nothing_to_do(undisturbed: Path, model: Path, texts: Path) -> None:
    before = contents(undisturbed)
    said, notes = score(model, texts, undisturbed, all_probabilities=True)
    assert (said["new_parts"], said["rows"]) == (0, ROWS)
    assert notes.notes == [f"{undisturbed} is complete: nothing is left to do."]
    assert contents(undisturbed) == before


@pytest.mark.parametrize("cut_off", [True, False])
def test_only_what_is_missing_is_done(
    cut_off: bool, undisturbed: Path, model: Path, texts: Path, tmp_path: Path
) -> None:
    """What a kill kept from being written, or what was removed from a job that had come to its end."""
    shutil.copytree(undisturbed, tmp_path / "out")
    for name in ("part-000001.parquet", "part-000006.parquet", *(["_SUCCESS"] if cut_off else [])):
        (tmp_path / "out" / name).unlink()
    kept = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir() if path.name != "_SUCCESS"}
    said, notes = score(model, texts, tmp_path / "out", all_probabilities=True, workers=2)
    assert (said["parts"], said["new_parts"]) == (8, 2)
    assert sorted(notes.parts) == [(30, False)] * 6 + [(30, True)] * 2 and notes.share == pytest.approx(1.0)
    assert contents(tmp_path / "out") == contents(undisturbed)
    assert {name: (tmp_path / "out" / name).stat().st_ino for name in kept} == kept


@pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")
def test_a_pool_process_and_then_the_parent_are_killed(model: Path, texts: Path, tmp_path: Path) -> None:
    """Then the job goes on, and its files are those of a job that was left alone."""
    many = tmp_path / "many.jsonl"
    rows = [row for seed in range(40) for row in made_up_rows(500, seed)]
    many.write_text("".join(f"{json.dumps({'text': text, 'n': n})}\n" for n, (text, _) in enumerate(rows)))
    words = [sys.executable, "-m", "switch_tf", "predict", str(model), "--input", str(many), "--rows-per-part", "200"]
    words += ["--workers", "2", "--json", "--output"]
    whole = subprocess.run([*words, str(tmp_path / "whole") + "/"], capture_output=True, text=True, check=True)
    assert json.loads(whole.stdout)["parts"] == 100
    folder = tmp_path / "killed"
    job = subprocess.Popen([*words, f"{folder}/"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_parts(folder, 3)
    workers = spawned(job.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    wait_for_parts(folder, 12)
    others = spawned(job.pid)
    job.kill()
    _, err = job.communicate()
    assert "A process died" in err
    before = len(list(folder.glob("part-*")))
    assert 12 <= before < 100 and not (folder / "_SUCCESS").exists()
    wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in others))  # none outlives the parent
    again = subprocess.run([*words, f"{folder}/"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["new_parts"] == 100 - before
    assert contents(folder) == contents(tmp_path / "whole")
    found = [
        json.loads(line) for path in sorted(folder.glob("part-*")) for line in path.read_text("utf-8").split("\n")[:-1]
    ]
    assert [row["n"] for row in found] == list(range(len(rows)))
    assert [row["text"] for row in found] == [text for text, _ in rows]


def spawned(parent: int) -> list[int]:
    """The processes of a pool."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [each for each in map(int, children) if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def wait_for_parts(folder: Path, count: int) -> None:
    wait_until(lambda: len(list(folder.glob("part-*"))) >= count)


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_part_that_processes_keep_dying_of_is_named(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_begin", _die)
    with pytest.raises(RunError, match=r"Processes died 3 times that were given rows 1 to 30 of .*0\.parquet"):
        score(model, texts, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_job.json"]


def _die(*_: Any) -> None:
    os._exit(9)


def test_another_model_input_or_option_is_refused(undisturbed: Path, model: Path, texts: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="another job: it has other options"):
        score(model, texts, undisturbed)
    with pytest.raises(RunError, match="another job: it has another input"):
        score(model, texts / "0.parquet", undisturbed, all_probabilities=True)
    assert "_SUCCESS" in contents(undisturbed)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another model")
    options = ScoringOptions(workers=1, rows_per_part=30, all_probabilities=True)
    with pytest.raises(RunError, match="another job: it has another model"):
        score_files(other, str(texts), str(undisturbed), options, Notes(), lambda: load_predictor(model, 1))


@pytest.mark.parametrize("other", [{"rows_per_part": 31}, {"format": "csv"}, {"text_column": "label"}])
def test_each_option_that_parts_depend_on_is_refused_where_it_differs(
    other: dict[str, Any], undisturbed: Path, model: Path, texts: Path
) -> None:
    with pytest.raises(RunError, match="another job: it has other options"):
        score(model, texts, undisturbed, all_probabilities=True, **other)


def test_a_model_that_is_changed_meanwhile_is_not_asked(
    model: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = _work_for(model, open_input(str(texts), "out", ScoringOptions()), ScoringOptions(), load_predictor(model, 1))
    monkeypatch.setattr(pool, "_work", replace(work, digest="another"), raising=False)
    with pytest.raises(ModelError, match="was changed while it answered"):
        pool._model.__wrapped__()


def test_a_process_has_one_thread_unless_more_are_asked_for(trained_run: Path, model: Path, texts: Path) -> None:
    """Of a run folder TensorFlow has its own way."""
    loaded = load_predictor(model, 1)
    there = open_input(str(texts), "out", ScoringOptions())
    found = [_work_for(model, there, ScoringOptions(threads=threads), loaded).threads for threads in (None, 2)]
    assert (found, _work_for(trained_run, there, ScoringOptions(), loaded).threads) == ([1, 2], None)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("none/*.parquet", {}, DataError, "No file is meant by"),
        ("0.parquet", {"text_column": "review"}, DataError, "there is no column 'review'"),
        ("0.parquet", {"text_column": "id"}, DataError, "column 'id': expected strings, received int64"),
        ("0.parquet", {"no_header": True}, SwitchTFError, "no_header needs a table"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    source: str, options: dict[str, Any], error: type[Exception], message: str, model: Path, texts: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        score(model, texts / source, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_may_hold_a_table_whose_column_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "id,review\n1,one\n")
    assert open_input(str(tmp_path / "a.zip"), "out", ScoringOptions("review")).tables.texts == ["review"]
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(SwitchTFError, match="text_column needs a table"):
        open_input(str(tmp_path / "a.txt"), "out", ScoringOptions("text"))


def test_answers_do_not_go_among_the_texts(model: Path, texts: Path) -> None:
    with pytest.raises(DataError, match="Write the answers to another folder"):
        score(model, texts / "*.parquet", texts)
    missing = model.with_name("none.onnx")
    with pytest.raises(ModelError, match="does not exist"):
        score_files(missing, str(texts), f"{texts}-out", ScoringOptions(), Notes(), lambda: load_predictor(missing))


def test_a_file_that_changes_meanwhile_ends_the_job(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("text\none\ntwo\n")

    class Changing(Notes):
        def begin(self, workers: int) -> None:
            source.write_text("text\none\ntwo\nthree\n")

    with pytest.raises(DataError, match="was changed while it was read"):
        score_files(
            model,
            str(source),
            str(tmp_path / "out"),
            ScoringOptions(workers=1),
            Changing(),
            lambda: load_predictor(model, 1),
        )
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_the_processes_load_no_tensorflow(model: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from switch_tf.serving import pool
from switch_tf.serving.answering import beside
from switch_tf.serving.model_digest import digest_of
path = Path({str(model)!r})
added = beside(["text"], ["a", "b"], None, False)
pool._work = pool.Work(path, digest_of(path), 1, "auto", ("text",), added, "csv", frozenset())
import pyarrow as pa
sink = pa.BufferOutputStream()
table = pa.table({{"text": ["a film"], "error": pa.nulls(1, pa.string())}})
with pa.ipc.new_stream(sink, table.schema) as writer:
    writer.write_table(table)
print(pool._answer(sink.getvalue().to_pybytes()).decode())
sys.exit(bool({{"tensorflow", "tf_keras", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith('"text","label","score","error"\n"a film",')


def test_files_of_other_file_systems(model: Path, tmp_path: Path) -> None:
    try:
        from fsspec.implementations.memory import MemoryFileSystem
    except ImportError:
        _do_without("fsspec")
    system = MemoryFileSystem()
    try:
        system.pipe_file("/texts/b.csv", b"text,n\nsecond,2\n")
        system.pipe_file("/texts/a.csv", b"text,n\nfirst,1\n")
        said, _ = score(model, "memory://texts/*.csv", "memory://answers")
        names = [str(name) for name in system.ls("/answers", detail=False)]
        assert names == [f"/answers/{name}" for name in ("_SUCCESS", "_job.json", "part-000000.csv", "part-000001.csv")]
        assert (said["rows"], said["new_parts"]) == (2, 2)
        assert system.cat_file(names[3]).decode().startswith('"text","n","label","score","error"\n"second","2","')
        assert score(model, "memory://texts/", "memory://answers/")[0]["new_parts"] == 0
        system.pipe_file("/texts/a.csv", b"text,n\nother,1\n")
        with pytest.raises(RunError, match="another input"):
            score(model, "memory://texts", "memory://answers")
    finally:
        system.rm("/texts", recursive=True)
        system.rm("/answers", recursive=True)


class TestCommand:
    def test_it_says_what_it_did(self, model: Path, texts: Path, tmp_path: Path) -> None:
        output = tmp_path / "out"
        words = ["predict", model, "--input", texts / "0.parquet", "--output", output, "--workers", 1]
        answer = ask(*words, "--output-format", "csv", "--json")
        said = json.loads(answer.out)
        assert (answer.code, said.pop("seconds") > 0) == (0, True)
        assert said == {"output": str(output), "rows": 120, "errors": 0, "parts": 1, "new_parts": 1}
        assert "Answering with 1 process\n" in answer.err
        answer = ask(*words, "--output-format", "csv")
        assert (answer.code, answer.out) == (0, f"Wrote 120 answers to {output}, 0 of 1 parts now\n")
        answer = ask(*words)
        assert answer.code == 1 and "another job: it has other options" in answer.err

    def test_a_row_that_cannot_be_read_is_marked_and_the_code_is_1(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"text,n\na film,1\ncaf\xe9,2\n,3\n")
        words = ["predict", model, "--input", tmp_path / "a.csv", "--output", f"{tmp_path}/out/", "--workers", 1]
        answer = ask(*words, "--output-format", "jsonl")
        assert answer.code == 1 and "1 line(s) could not be read" in answer.err
        rows = [json.loads(line) for line in (tmp_path / "out" / "part-000000.jsonl").read_text().splitlines()]
        assert [(row["n"], row["label"] is None, bool(row["error"])) for row in rows] == [
            ("1", False, False),
            ("2", True, True),
            ("3", False, False),
        ]
        answer = ask(*words, "--output-format", "jsonl")
        assert answer.code == 1 and "is complete" in answer.err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["a text", "--output", "out/"], "Expected files by --input"),
            (["--input", "-", "--output", "out/"], "Expected files by --input"),
            (["--input", "a.csv", "--output", "out/", "--top", "2"], "no --top"),
            (["--input", "a.csv", "--output", "a.jsonl", "--workers", "2"], "Received --workers without a folder"),
            (["--input", "a.csv", "--output-format", "csv"], "Received --output-format without a folder"),
            (["--input", "a.csv", "--output", "out/", "--master", "local"], "--master without --engine spark"),
            (
                ["--input", "a.csv", "--output", "out/", "--engine", "spark", "--workers", "2"],
                "Received --workers with --engine spark",
            ),
        ],
    )
    def test_words_that_do_not_fit_together_end_with_2(self, words: list[str], message: str, model: Path) -> None:
        answer = ask("predict", model, *words)
        assert answer.code == 2 and message in answer.err

    def test_a_run_folder_answers_too(self, trained_run: Path, model: Path, texts: Path, tmp_path: Path) -> None:
        words = ["predict", trained_run, "--input", texts / "0.parquet", "--workers", 1, "--quiet"]
        assert ask(*words, "--output", tmp_path / "run").code == 0
        assert ask("predict", model, *words[2:], "--output", tmp_path / "file").code == 0
        one, other = (pq.read_table(tmp_path / name) for name in ("run", "file"))
        assert one["predicted_label"].equals(other["predicted_label"])
        assert one["predicted_score"].to_numpy() == pytest.approx(other["predicted_score"].to_numpy(), abs=1e-5)
        assert len(read_examples(str(texts / "0.parquet"))) == one.num_rows
