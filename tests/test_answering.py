"""Answers stream in order, each with the digits that give its float back; what cannot be read is marked, not lost."""

import gzip
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch_tf.artifacts import base as predict
from switch_tf.artifacts.base import answer, describe
from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.saved_model import saved_model_versions
from switch_tf.data import json_rows, rows
from switch_tf.data.streams import Line, check_line, open_lines
from switch_tf.errors import ArgumentError, DataError, ModelError, RunError
from switch_tf.runs.rejection import Rejection

LABELS = ["a", "b", "c"]


class Lengths:
    """A model whose answers tell the length of the text; it remembers how many texts it was asked at a time."""

    runtime = "a count"
    rejection: Rejection | None = None
    checked = True

    def __init__(self) -> None:
        self.labels = ["short", "long"]
        self.asked: list[int] = []

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        self.asked.append(len(texts))
        return np.array([[1 / 2 ** len(text), 1 - 1 / 2 ** len(text)] for text in texts], np.float32)

    def tokenize(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        return np.array([[len(text)] for text in texts], np.int32)


class TestDescribe:
    def test_it_names_the_most_probable_label(self) -> None:
        row = describe(np.array([0.25, 0.625, 0.125], np.float32), LABELS)
        assert row == {"label": "b", "score": 0.625, "probabilities": {"a": 0.25, "b": 0.625, "c": 0.125}}
        assert list(row["probabilities"]) == LABELS

    @pytest.mark.parametrize(
        ("top", "shown"), [(1, ["b"]), (2, ["b", "a"]), (3, ["b", "a", "c"]), (9, ["b", "a", "c"])]
    )
    def test_top_shows_the_most_probable_first(self, top: int, shown: list[str]) -> None:
        row = describe(np.array([0.25, 0.625, 0.125], np.float32), LABELS, top)
        assert (row["label"], list(row["probabilities"])) == ("b", shown)

    @pytest.mark.parametrize(("threshold", "label"), [(0.625, "b"), (0.626, "none"), (0.0, "b"), (1.0, "none")])
    def test_with_a_threshold_it_says_whether_the_text_is_rejected(self, threshold: float, label: str) -> None:
        row = describe(np.array([0.25, 0.625, 0.125], np.float32), LABELS, 1, Rejection(threshold, "none"))
        assert row == {
            "label": label,
            "score": 0.625,
            "rejected": label == "none",
            "probabilities": {"b": 0.625},
        }

    def test_the_first_of_equals_wins(self) -> None:
        assert describe(np.array([0.2, 0.4, 0.4], np.float32), LABELS, 1)["label"] == "b"

    def test_numbers_have_the_shortest_digits_that_give_the_same_float32(self) -> None:
        values = np.array([0.1, 1 / 3, 1e-9], np.float32)
        row = json.loads(json.dumps(describe(values, LABELS)))
        assert json.dumps(row["probabilities"]) == '{"a": 0.1, "b": 0.33333334, "c": 1e-09}'
        assert row["score"] == row["probabilities"]["b"]
        random = np.random.default_rng(0).random([1000, 3]).astype(np.float32) ** 8
        for each in random:
            numbers = list(describe(each, LABELS)["probabilities"].values())
            assert np.array(numbers, np.float32).tolist() == each.tolist()
            assert all(len(repr(number)) <= 14 for number in numbers)


def lines_of(content: bytes, name: str = "a.txt", tmp: Path | None = None, **options: Any) -> list[Line]:
    assert tmp is not None
    (tmp / name).write_bytes(content)
    return list(open_lines(str(tmp / name), **options))


class TestLines:
    def test_only_a_line_feed_ends_a_line(self, tmp_path: Path) -> None:
        content = "one\u0085 still\u2028 one\x0b\x0c\x1c\n\ntwo\r\nthree"
        assert lines_of(content.encode(), tmp=tmp_path) == [
            Line(1, "one\u0085 still\u2028 one\x0b\x0c\x1c"),
            Line(2, ""),
            Line(3, "two\r"),
            Line(4, "three"),
        ]
        assert lines_of(b"\n", tmp=tmp_path) == [Line(1, "")]
        assert lines_of(b"a\0b\n", tmp=tmp_path) == [Line(1, "a\0b")]

    def test_a_byte_order_mark_is_no_part_of_the_first_line(self, tmp_path: Path) -> None:
        assert lines_of("\ufeffone\n\ufefftwo".encode(), tmp=tmp_path) == [Line(1, "one"), Line(2, "\ufefftwo")]

    def test_a_line_that_is_not_utf8_is_marked_and_the_others_go_on(self, tmp_path: Path) -> None:
        found = lines_of(b"one\nab\xff\n\xed\xa0\x80\nfour", tmp=tmp_path)
        assert [(line.number, line.text, line.error[:40]) for line in found] == [
            (1, "one", ""),
            (2, "", "Byte 3: 0xff is not UTF-8, which was exp"),
            (3, "", "Byte 1: 0xed is not UTF-8, which was exp"),
            (4, "four", ""),
        ]

    @pytest.mark.parametrize("limit", [2, 7, 8])
    def test_a_line_over_the_limit_is_marked_and_skipped_whole(
        self, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "ROW_LIMIT", limit)
        for size in (limit - 1, limit, limit + 1, limit + 2, 2 * limit, 2 * limit + 1, 5 * limit + 1):
            found = lines_of(b"x" * size + b"\ny", tmp=tmp_path)
            assert [line.number for line in found] == [1, 2] and found[1] == Line(2, "y")
            assert found[0] == Line(1, "x" * size) if size < limit else "over 16 MiB" in found[0].error

    def test_a_table_is_marked_in_place_too(self, tmp_path: Path) -> None:
        content = b'id,text\n1,one\n2\n3,"two, three"\n4,"b" c\n5,na\xefve\n6,four\n'
        found = lines_of(content, "a.csv", tmp_path)
        assert [(line.number, line.text, bool(line.error)) for line in found] == [
            (2, "one", False),
            (3, "", True),
            (4, "two, three", False),
            (5, "", True),
            (6, "", True),
            (7, "four", False),
        ]
        assert found[1].error.startswith("Expected 2 fields as in the header, received 1.")
        assert found[4].error.startswith("Byte 5: 0xef is not UTF-8")

    def test_a_text_that_is_missing_is_one_without_a_word_in_every_format(self, tmp_path: Path) -> None:
        assert lines_of(b"id,text\n1,\n", "a.csv", tmp_path) == [Line(2, "")]
        assert lines_of(b'{"text": null}\n', "a.jsonl", tmp_path) == [Line(1, "")]

    @pytest.mark.parametrize("name", ["a.json.bak", "a.csv.bak", "a.parq", "a.tab", "a.data"])
    def test_an_unknown_extension_is_refused(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has no known extension"):
            lines_of(b"text\none\n", name, tmp_path)

    def test_a_column_needs_a_table(self, tmp_path: Path) -> None:
        for options in ({"text_column": "text"}, {"text_column": "x"}, {"no_header": True}):
            with pytest.raises(ArgumentError, match="needs a table"):
                lines_of(b"one\n", tmp=tmp_path, **options)

    def test_an_archive_may_hold_a_table_whose_column_is_named(self, tmp_path: Path) -> None:
        for name, content in {"a.zip": "id,review\n1,one\n", "b.txt.zip": "one\n"}.items():
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("a.csv" if name == "a.zip" else "b.txt", content)
        assert list(open_lines(str(tmp_path / "a.zip"), "review")) == [Line(2, "one")]
        with pytest.raises(ArgumentError, match="needs a table"):
            open_lines(str(tmp_path / "b.txt.zip"), "text")

    def test_an_empty_file_and_a_folder_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is empty"):
            lines_of(b"", tmp=tmp_path)
        with pytest.raises(DataError, match="is a folder"):
            list(open_lines(str(tmp_path)))

    def test_the_limit_is_16_mebibytes(self, tmp_path: Path) -> None:
        longest = 16_777_216  # its line feed counts
        first, second = lines_of(b"x" * (longest - 1) + b"\n" + b"x" * (longest + 1), tmp=tmp_path)
        assert (len(first.text), first.error) == (longest - 1, "")
        assert second == Line(2, "", "The row is over 16 MiB. Expected one text to classify in each row.")


class TestJson:
    def test_texts_may_hold_line_feeds(self, tmp_path: Path) -> None:
        content = b'\xef\xbb\xbf{"text": "two\\nlines", "other": 1}\n\n  \r\n{"text": "\\ud83d\\ude42"}\r\n'
        assert lines_of(content, "a.jsonl", tmp_path) == [Line(1, "two\nlines"), Line(4, "🙂")]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"{", "Not valid JSON at character 2: "),
            (b"[" * 100_000, "Values are nested too deep."),
            (b"1" * 5000, "Exceeds the limit"),
            (b'"text"', "Expected one JSON object in each line, received a string."),
            (b'{"Text": "a"}', "There is no column 'text'. The columns are: 'Text'."),
            (b'{"text": 1}', "Column 'text': expected a string, received an integer."),
            (b'{"text": "ab\\ud800"}', "Column 'text': character 3 is half of a surrogate pair"),
            (b'{"text": "\xff"}', "Byte 11: 0xff is not UTF-8"),
        ],
    )
    def test_a_line_that_cannot_be_used_is_marked(self, line: bytes, problem: str, tmp_path: Path) -> None:
        before, first, second = lines_of(b'{"text": ""}\n' + line + b'\n{"text": "next"}', "a.jsonl", tmp_path)
        assert (before, second) == (Line(1, ""), Line(3, "next"))
        assert (first.number, first.text, first.error[: len(problem)]) == (2, "", problem)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8),
        block=st.integers(1, 40),
        indent=st.sampled_from([None, 0, 2]),
        ascii_only=st.booleans(),
    )
    def test_an_array_is_read_whatever_the_blocks_it_comes_in(
        self, texts: list[str], block: int, indent: int | None, ascii_only: bool, tmp_path: Path
    ) -> None:
        rows = [{"n": number, "text": text} for number, text in enumerate(texts)]
        content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_rows, "_BLOCK", block)
            assert [line.text for line in lines_of(content, "a.json", tmp_path)] == texts

    @pytest.mark.parametrize(
        "content", [b'[{"text": "a"}', b'[{"text": "a"},]', b'[{"text": "a"} {"text": "b"}]', b'[{"text": "a"}] x']
    )
    def test_a_damaged_array_is_refused_behind_its_last_whole_row(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_bytes(content)
        lines = open_lines(str(tmp_path / "a.json"))
        assert next(lines) == Line(1, "a")
        with pytest.raises(DataError, match=r"a\.json, line 1: not valid JSON: .*Expected an array of JSON objects"):
            list(lines)

    def test_json_lines_named_json_and_an_array_named_jsonl_are_read(self, tmp_path: Path) -> None:
        assert lines_of(b'{"text": "a"}\n{"text": "b"}\n', "a.json", tmp_path) == [Line(1, "a"), Line(2, "b")]
        assert lines_of(b'[\n{"text": "a"},\n{"text": "b"}]\n', "a.jsonl", tmp_path) == [Line(2, "a"), Line(3, "b")]
        with pytest.raises(DataError, match="expected an array of JSON objects"):
            lines_of(b'{"data": [\n{"text": "a"}]}', "a.json", tmp_path)


def test_arguments_that_are_not_utf8_are_marked() -> None:
    assert check_line(3, "\0é🙂") == Line(3, "\0é🙂")
    undecodable = b"ab\xff".decode("utf-8", "surrogateescape")
    assert check_line(2, undecodable) == Line(
        2, "", "Character 3 of the text is half of a surrogate pair or not UTF-8."
    )


class TestAnswer:
    def test_rows_come_in_the_order_of_the_lines(self) -> None:
        lines = [Line(1, "a"), Line(2, "", "bad"), Line(3, ""), Line(4, "", "worse"), Line(5, "abc")]
        rows = list(answer(Lengths(), lines))
        assert [row.get("score", row.get("error")) for row in rows] == [0.5, "bad", 1.0, "worse", 0.875]
        assert rows[1] == {"line": 2, "error": "bad"}
        assert [row.get("label") for row in rows] == ["short", None, "short", None, "long"]

    def test_texts_are_asked_a_batch_at_a_time_and_read_no_earlier(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(predict, "BATCH", 4)
        taken = 0

        def endless() -> Iterator[Line]:
            nonlocal taken
            while True:
                taken += 1
                yield Line(taken, "x" * taken)

        model = Lengths()
        rows = answer(model, endless())
        assert (taken, model.asked) == (0, [])
        next(rows)
        assert (taken, model.asked) == (4, [4])
        for _ in range(4):
            next(rows)
        assert (taken, model.asked) == (8, [4, 4])

    def test_a_batch_without_a_text_asks_nothing(self) -> None:
        model = Lengths()
        assert list(answer(model, [Line(1, "", "bad")])) == [{"line": 1, "error": "bad"}]
        assert list(answer(model, [])) == []
        assert model.asked == []

    def test_top_reaches_the_rows(self) -> None:
        (row,) = answer(Lengths(), [Line(1, "abc")], top=1)
        assert row["probabilities"] == {"long": 0.875}


class TestLoading:
    def test_a_run_answers_alone_as_in_company(self, trained_run: Path) -> None:
        model = load_predictor(trained_run)
        texts = ["a lovely film", "", "a\0b", "dull " * 50, "🙂"]
        together = model.probabilities(texts * 20)
        assert (together.shape, together.dtype) == ((100, 2), np.dtype(np.float32))
        assert np.isfinite(together).all()
        np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-6)
        alone = np.concatenate([model.probabilities([text]) for text in texts])
        np.testing.assert_allclose(together, np.tile(alone, [20, 1]), atol=1e-6)
        assert model.probabilities([]).shape == (0, 2)
        np.testing.assert_array_equal(model.probabilities(["a\0film"]), model.probabilities(["a film"]))
        np.testing.assert_array_equal(
            model.probabilities([b"\xff film"]).argmax(), model.probabilities(["unheard film"]).argmax()
        )

    @pytest.mark.parametrize("kind", ["missing", "file", "empty folder", "folder of something"])
    def test_what_is_no_model_is_refused(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "model"
        if kind == "file":
            path.write_bytes(gzip.compress(b"x"))
        elif kind != "missing":
            (path / ("1" if kind == "folder of something" else "")).mkdir(parents=True)
        problem = "does not exist" if kind == "missing" else "is not a model"
        with pytest.raises(ModelError, match=rf"model {problem}\. Expected a run folder, or what an export wrote"):
            load_predictor(path)

    def test_an_unfinished_run_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "a.unfinished"
        folder.mkdir()
        with pytest.raises(RunError, match=r"is unfinished\. Resume the training of .*/a"):
            load_predictor(folder)

    @pytest.mark.parametrize("content", [b"", b"garbage", bytes(1000)])
    def test_a_damaged_saved_model_is_refused(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(ModelError, match=r"cannot be used as a SavedModel: .*Export it again\."):
            load_predictor(tmp_path)

    def test_the_newest_version_is_the_highest_number(self, tmp_path: Path) -> None:
        for name in ("2", "10", "9x", ".11.abc"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "saved_model.pb").touch()
        (tmp_path / "12").mkdir()
        assert saved_model_versions(tmp_path) == [2, 10]
        assert saved_model_versions(tmp_path / "missing") == []


class TestSavedModel:
    """Of other people, and damaged; ours are asked by the tests of the command line."""

    @staticmethod
    def save(folder: Path, name: str, labels: str | None) -> Path:
        import tensorflow as tf

        module = tf.Module()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=name)])
        def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
            ones = tf.ones([tf.shape(text)[0], 2])
            return {"probabilities": tf.ensure_shape(ones, [None, 2]), "label": text}

        tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
        if labels is not None:
            (folder / "assets" / "labels.json").write_text(labels)
        return folder

    def test_another_signature_is_refused(self, tmp_path: Path) -> None:
        folder = self.save(tmp_path / "m", "words", '["a", "b"]')
        with pytest.raises(
            ModelError, match=r"has the signature \['words'\] -> .*Expected text -> probabilities, label"
        ):
            load_predictor(folder)

    def test_class_names_that_are_missing_or_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        folder = self.save(tmp_path / "m", "text", None)
        with pytest.raises(ModelError, match=r"cannot be used as a SavedModel.*labels\.json"):
            load_predictor(folder)
        for labels, problem in {
            '["a"]': "are fewer than two class names",
            '["a", "b", "c"]': "names 3 classes, and the model has 2",
            '{"a": 1, "b": 2}': "are no list of class names",
            '["a", 2]': "are no list of class names",
            '["a", "b\\n"]': "which is empty or holds a control character",
        }.items():
            (folder / "assets" / "labels.json").write_text(labels)
            with pytest.raises(
                ModelError, match=rf"labels\.json {problem}\. Export|labels\.json have .*{problem}\. Exp"
            ):
                load_predictor(folder)
        (folder / "assets" / "labels.json").write_text('["a", "b"]')
        assert load_predictor(folder).labels == ["a", "b"]
