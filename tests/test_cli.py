"""The command line is a contract: names, exit codes, JSON alone on stdout, and errors that say what to do next."""

import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import NEL_WORD, ask, made_up_rows, tiny_arguments, write_tsv

from switch_tf.artifacts.base import Answers
from switch_tf.data.rows import Wanted
from switch_tf.data.tables import read_rows

TEXTS = ["a lovely film", f"{NEL_WORD} plot, dull", ""]


def rows_of(out: str) -> list[dict[str, Any]]:
    """Every line of stdout as JSON."""
    assert out.endswith("\n")
    return [json.loads(line) for line in out[:-1].split("\n")]


@pytest.fixture(scope="module")
def saved_model(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The run as a SavedModel, and what exporting it said."""
    output = tmp_path_factory.mktemp("export") / "saved_model"
    answer = ask("export", trained_run, "--format", "saved_model", "--output", output, "--json")
    assert answer.code == 0, answer.err
    return output, json.loads(answer.out)


class TestTrain:
    def test_json_alone_stands_on_stdout(self, data_folder: Path, tmp_path: Path) -> None:
        words = ["train", data_folder / "made.tsv", "--test", data_folder / "made-test.tsv", "--output", tmp_path / "r"]
        answer = ask(*words, "--epochs", "1", "--seed", "7", "--json", *tiny_arguments())
        assert answer.code == 0, answer.err
        figures = json.loads(answer.out)
        assert figures.pop("run") == str(tmp_path / "r")
        assert figures.pop("survey") == json.loads((tmp_path / "r" / "data.json").read_text())["survey"]
        assert "2 labels:" in answer.err and "out of vocabulary" in answer.err
        assert figures == json.loads((tmp_path / "r" / "metrics.json").read_text())
        assert "\n  1/1  " in answer.err
        settings = (tmp_path / "r" / "config.toml").read_text()
        assert "epochs = 1\n" in settings and "seed = 7\n" in settings

    def test_without_it_the_figures_and_the_next_step_are_shown(
        self, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run takes its name from the data, and is not trained here but found trained."""
        from switch_tf.training import together

        def trained(request: Any, config: Any, output: Path, progress: object, resume: bool, *_: Any, **__: Any) -> Any:
            assert (request.data, config.train.epochs, output, resume) == ("made.tsv", 3, Path("runs/made"), False)
            output.mkdir(parents=True)
            figures = {"n": 7, "accuracy": 0.5, "macro_f1": 0.25, "log_loss": 0.125}
            (output / "metrics.json").write_text(json.dumps({"validation": figures}))
            return type("Run", (), {"path": output})

        monkeypatch.setattr(together, "train", trained)
        monkeypatch.chdir(tmp_path)
        answer = ask("train", "made.tsv", *tiny_arguments())
        assert answer.code == 0, answer.err
        assert "Training on made.tsv; the run will be in runs/made\n" in answer.err
        assert "validation" in answer.err and "0.2500" in answer.err
        assert "Next: switch-tf predict runs/made 'Your text here.'\n" in answer.err

    def test_quiet_leaves_nothing_but_the_answer_and_the_next_step_is_quoted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from switch_tf.training import together

        def trained(_request: Any, _config: Any, _output: Path, progress: Any, *_: Any, **__: Any) -> Any:
            progress.start_epoch(1, 1, 1)
            (tmp_path / "metrics.json").write_text(json.dumps({"validation": {"n": 1}}))
            return type("Run", (), {"path": tmp_path, "data": {"survey": {"notes": []}}})

        monkeypatch.setattr(together, "train", trained)
        monkeypatch.chdir(tmp_path)
        write_tsv(tmp_path / "made.tsv", made_up_rows(4))
        for words in (["--quiet", "train"], ["train", "--quiet"]):
            answer = ask(*words, "made.tsv", "--preset", "tiny", "--json")
            assert (answer.code, answer.err) == (0, "")
            assert json.loads(answer.out) == {
                "run": str(tmp_path),
                "validation": {"n": 1},
                "survey": {"notes": []},
            }

        from switch_tf.cli.shared import command_line

        expected = "switch-tf predict 'my run' 'It'\"'\"'s good.'"
        assert command_line("predict", Path("my run"), "It's good.") == expected


class TestEvaluate:
    def test_json_is_what_training_measured(self, trained_run: Path, data_folder: Path) -> None:
        answer = ask("evaluate", trained_run, data_folder / "made-test.tsv", "--json")
        assert answer.code == 0, answer.err
        assert json.loads(answer.out) == json.loads((trained_run / "metrics.json").read_text())["test"]

    @pytest.mark.slow
    def test_a_saved_model_has_the_figures_of_its_run(
        self, saved_model: tuple[Path, Any], trained_run: Path, data_folder: Path
    ) -> None:
        data = data_folder / "made-test.tsv"
        answer = ask("evaluate", saved_model[0], data, "--json")
        assert answer.code == 0, answer.err
        figures, expected = json.loads(answer.out), json.loads(ask("evaluate", trained_run, data, "--json").out)
        assert figures.pop("log_loss") == pytest.approx(expected.pop("log_loss"), rel=1e-6)
        assert figures == expected

    def test_tables_hold_the_figures(self, trained_run: Path, data_folder: Path) -> None:
        answer = ask("evaluate", trained_run, data_folder / "made-test.tsv")
        figures = json.loads((trained_run / "metrics.json").read_text())["test"]
        assert answer.code == 0, answer.err
        assert f"{figures['accuracy']:.4f}" in answer.out
        assert f"{figures['per_label']['good']['recall']:.4f}" in answer.out

    def test_an_unknown_label_ends_with_1(self, trained_run: Path, tmp_path: Path) -> None:
        answer = ask("evaluate", trained_run, write_tsv(tmp_path / "a.tsv", [("a", "good"), ("b", "so-so")]), "--json")
        assert (answer.code, answer.out) == (1, "")
        assert "a.tsv, line 3: received the label 'so-so'. Expected one of 'bad', 'good'" in answer.err


class TestPredict:
    @pytest.fixture
    def expected(self, trained_run: Path) -> list[dict[str, Any]]:
        answer = ask("predict", trained_run, "--json", "--", *TEXTS)
        assert answer.code == 0, answer.err
        return rows_of(answer.out)

    def test_arguments_are_answered_in_order(self, expected: list[dict[str, Any]]) -> None:
        assert len(expected) == len(TEXTS)
        for row in expected:
            assert list(row) == ["label", "score", "probabilities"]
            assert list(row["probabilities"]) == ["bad", "good"]
            assert row["score"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize(
        "name", ["a.txt", "a", "a.txt.gz", "a.txt.xz", "a.JSONL", "a.ndjson.gz", "a.csv", "a.CSV", "a.tsv.XZ"]
    )
    def test_files_of_every_kind_give_the_same_answers(
        self, name: str, expected: list[dict[str, Any]], trained_run: Path, tmp_path: Path
    ) -> None:
        kind = name.lower()
        if ".csv" in kind:
            content = "text,label\n" + "".join(f'"{text}",x\n' for text in TEXTS)
        elif ".tsv" in kind:
            content = "label\ttext\n" + "".join(f"x\t{text}\n" for text in TEXTS)
        elif "json" in kind:
            content = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
        else:
            content = "\ufeff" + "".join(f"{text}\r\n" for text in TEXTS)
        packers: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress}
        pack = packers.get(kind[-2:], bytes)
        (tmp_path / name).write_bytes(pack(content.encode()))
        answer = ask("predict", trained_run, "--input", tmp_path / name, "--json")
        assert (answer.code, rows_of(answer.out)) == (0, expected)

    @pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
    def test_answers_stand_beside_their_rows_in_a_file(
        self, kind: str, expected: list[dict[str, Any]], trained_run: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text("id,text,label\n" + "".join(f'{i},"{t}",x\n' for i, t in enumerate(TEXTS)))
        output = tmp_path / f"out.{kind}"
        answer = ask("predict", trained_run, "--input", tmp_path / "a.csv", "--output", output, "--json")
        assert (answer.code, rows_of(answer.out)) == (0, [{"output": str(output), "rows": 3, "errors": 0}])
        found = list(read_rows(output, Wanted(label="predicted_label", keep=True)))
        assert [(row.text, row.label) for row in found] == [
            (text, row["label"]) for text, row in zip(TEXTS, expected, strict=True)
        ]
        assert found[0].cells is not None and list(found[0].cells)[:3] == ["id", "text", "label"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["a", "--text-column", "x"], "Received --text-column without --input"),
            (["a", "--no-header"], "Received --no-header without --input"),
            (["a", "--output", "x.txt"], "Expected a name in .csv, .jsonl, .parquet. On the command line: --output."),
            (["--input", "a.txt", "--text-column", "text"], "text_column needs a table"),
            (["--input", "a.jsonl", "--no-header"], "no_header needs a table (csv, tsv, xlsx)"),
        ],
    )
    def test_an_option_that_cannot_take_effect_ends_with_2(
        self, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a.txt").write_text("a\n")
        (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
        answer = ask("predict", "MODEL", *words)
        assert (answer.code, answer.out) == (2, "") and message in answer.err

    def test_a_text_that_begins_with_a_minus_is_told_its_way(self) -> None:
        answer = ask("predict", "MODEL", "-5 stars, awful")
        assert answer.code == 2 and "A text that begins with - goes behind --" in answer.err

    def test_another_column_is_read_where_it_is_named(
        self, expected: list[dict[str, Any]], trained_run: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"words": text}) + "\n" for text in TEXTS))
        answer = ask("predict", trained_run, "--input", tmp_path / "a.jsonl", "--text-column", "words", "--json")
        assert (answer.code, rows_of(answer.out)) == (0, expected)

    def test_stdin_is_read_and_what_cannot_be_decoded_is_marked_in_its_place(
        self, expected: list[dict[str, Any]], trained_run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = f"{TEXTS[0]}\nab\xff\n".encode("latin-1") + f"{TEXTS[1]}\n\n".encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        answer = ask("predict", trained_run, "--input", "-", "--json")
        assert answer.code == 1
        first, marked, *others = rows_of(answer.out)
        assert [first, *others] == expected
        assert marked["line"] == 2 and marked["error"].startswith("Byte 3: 0xff is not UTF-8")
        assert answer.err == "Error: 1 line(s) could not be read; each is marked in its place.\n"

    def test_an_argument_that_is_not_utf8_is_marked(self, trained_run: Path) -> None:
        answer = ask("predict", trained_run, b"\xff".decode("utf-8", "surrogateescape"), "--json")
        assert (answer.code, rows_of(answer.out)[0]["line"]) == (1, 1)

    def test_top_keeps_the_most_probable(self, trained_run: Path) -> None:
        (row,) = rows_of(ask("predict", trained_run, TEXTS[0], "--top", "1", "--json").out)
        assert list(row["probabilities"]) == [row["label"]]

    def test_readable_lines_hold_label_and_score(self, expected: list[dict[str, Any]], trained_run: Path) -> None:
        answer = ask("predict", trained_run, *TEXTS)
        lines = answer.out.splitlines()
        assert answer.code == 0 and len(lines) == 3
        for line, row in zip(lines, expected, strict=True):
            other = "good" if row["label"] == "bad" else "bad"
            assert line == f"{row['label']}  {row['score']:.4f}  ({other} {row['probabilities'][other]:.4f})"

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("a.txt.gz", gzip.compress(b"one\ntwo\n" * 1000)[:-12], "is damaged or not what its extension says"),
            ("a.txt.gz", b"plain\n", "is damaged or not what its extension says"),
            ("a.txt.xz", lzma.compress(b"one\ntwo\n" * 1000)[:-12], "is damaged or not what its extension says"),
            ("a.csv.bak", b"text\na\n", "has no known extension"),
            ("a.txt", "one\ntwo\n".encode("utf-16"), "holds UTF-16 text"),
            ("a.txt.xz", b"plain\n", "is damaged or not what its extension says"),
            ("a.jsonl.gz", gzip.compress(b"{}")[:-1], "is damaged or not what its extension says"),
            ("a.csv", b"words\na\n", "there is no column 'text'"),
            ("a.csv", b"", "is empty"),
            ("a.parquet", b"PAR1", "is damaged or not parquet"),
            ("missing.txt", None, "There is no file"),
            ("missing.csv", None, "There is no file"),
        ],
        ids=[
            "cut",
            "plain",
            "cut xz",
            "unknown",
            "wide",
            "plain xz",
            "cut jsonl",
            "column",
            "empty",
            "parquet",
            "missing",
            "missing csv",
        ],
    )
    def test_a_file_that_cannot_be_read_ends_with_1(
        self, name: str, content: bytes | None, problem: str, trained_run: Path, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        answer = ask("predict", trained_run, "--input", tmp_path / name, "--json")
        assert answer.code == 1
        assert f"{tmp_path / name} {problem}" in answer.err or (problem in answer.err and name in answer.err)
        assert "Traceback" not in answer.err

    @pytest.mark.slow
    def test_a_run_and_its_saved_model_give_the_same_json(
        self, trained_run: Path, saved_model: tuple[Path, Any], tmp_path: Path
    ) -> None:
        texts = [text for text, _ in made_up_rows(50, seed=3)] + TEXTS
        (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
        outputs = [
            ask("predict", model, "--input", tmp_path / "a.txt", "--json")
            for model in (trained_run, saved_model[0], saved_model[0] / "1")
        ]
        assert [each.code for each in outputs] == [0, 0, 0]
        first, *others = [rows_of(each.out) for each in outputs]
        assert len(first) == 53
        for other in others:
            assert other == first


class TestExport:
    def test_json_says_what_was_compared_and_where_it_is(self, saved_model: tuple[Path, dict[str, Any]]) -> None:
        output, said = saved_model
        assert said["ok"] and [each["door"] for each in said["artifacts"]] == ["text", "bytes"]
        for artifact in said["artifacts"]:
            assert artifact["path"] == str(output / "1")
            assert artifact["ids_equal"] == artifact["texts"] == artifact["labels_equal"] > 256
            assert artifact["max_abs_diff"] <= 1e-5
            assert {"routing_ties", "batch_invariance"} <= set(artifact)
        beside = ["README.md", "batching_params.pbtxt", "docker-compose.yml", "models.config"]
        assert sorted(path.name for path in output.iterdir()) == ["1", *beside]

    def test_an_export_that_answers_otherwise_ends_with_3_and_is_not_kept(
        self, run_copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from switch_tf.export.proof import bounds
        from switch_tf.export.saved_model import build as savedmodel_export

        monkeypatch.setattr(bounds, "PROBABILITY_BOUND", -1.0)

        class Shortcut:
            """Answers as the export would, without a process of its own."""

            door, size, precision, admits_invalid_utf8 = "text", 1, "float32", True

            def __init__(self, folder: Path, path: str, byte_length: int, words: Any):
                assert (folder / "saved_model.pb").is_file()
                self.path = path

            def bytes_runner(self) -> Any:
                return self

            def tokenize(self, texts: Any) -> Any:
                return []

            def named_labels(self) -> Any:
                return {}

            def named_rejections(self) -> Any:
                return {}

            def parts(self) -> Any:
                return []

            def answer(self, texts: Any, batch_sizes: Any) -> Any:
                import tensorflow as tf

                from switch_tf.models.text_classifier import load_classifier
                from switch_tf.runs.folder import open_run

                model = load_classifier(open_run(run_copy))
                probabilities = model.probabilities(texts)
                ids = model.tokenize(tf.constant(list(texts), tf.string))["ids"].numpy()
                labels = [model.labels[i] for i in probabilities.argmax(axis=1)]
                return [Answers(ids, probabilities, labels) for _ in batch_sizes]

        monkeypatch.setattr(savedmodel_export, "SavedModelRunner", Shortcut)
        answer = ask("export", run_copy, "--format", "saved_model", "--json")
        assert (answer.code, answer.out) == (3, "")
        assert "does not answer as the trained model does, and was not kept" in answer.err
        assert not (run_copy / "export").exists()
