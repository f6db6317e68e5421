"""Answers stream in order, each with the digits that give its float back; what cannot be read is marked, not lost."""

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from switch_tf.artifacts import base as predict
from switch_tf.artifacts.base import answer, describe
from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.saved_model import saved_model_versions
from switch_tf.data import streams
from switch_tf.data.streams import Line, check_line, read_json_lines, read_lines
from switch_tf.errors import ModelError, RunError

LABELS = ["a", "b", "c"]


class Lengths:
    """A model whose answers tell the length of the text; it remembers how many texts it was asked at a time."""

    runtime = "a count"

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


def lines_of(content: bytes) -> list[Line]:
    return list(read_lines(io.BytesIO(content)))


class TestReadLines:
    def test_only_a_line_feed_ends_a_line(self) -> None:
        content = "one\u0085 still\u2028 one\x0b\x0c\x1c\n\ntwo\r\nthree"
        assert lines_of(content.encode()) == [
            Line(1, "one\u0085 still\u2028 one\x0b\x0c\x1c"),
            Line(2, ""),
            Line(3, "two\r"),
            Line(4, "three"),
        ]
        assert lines_of(b"") == []
        assert lines_of(b"\n") == [Line(1, "")]
        assert lines_of(b"a\0b\n") == [Line(1, "a\0b")]

    def test_a_byte_order_mark_is_no_part_of_the_first_line(self) -> None:
        assert lines_of("\ufeffone\n\ufefftwo".encode()) == [Line(1, "one"), Line(2, "\ufefftwo")]

    def test_a_line_that_is_not_utf8_is_marked_and_the_others_go_on(self) -> None:
        assert lines_of(b"one\nab\xff\n\xed\xa0\x80\nfour") == [
            Line(1, "one"),
            Line(2, "", "Byte 3 of the line is not UTF-8."),
            Line(3, "", "Byte 1 of the line is not UTF-8."),
            Line(4, "four"),
        ]

    @pytest.mark.parametrize("limit", [1, 7, 8])
    def test_a_line_over_the_limit_is_marked_and_skipped_whole(
        self, limit: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "LINE_LIMIT", limit)
        for size in (limit - 1, limit, limit + 1, limit + 2, 2 * limit, 2 * limit + 1, 5 * limit + 1):
            expected = Line(1, "x" * size) if size <= limit else Line(1, "", f"The line has over {limit} bytes.")
            assert lines_of(b"x" * size + b"\ny") == [expected, Line(2, "y")]
            assert lines_of(b"x" * size) == ([expected] if size else [])

    def test_the_limit_is_16_mebibytes(self) -> None:
        longest = 16_777_216
        first, second = read_lines(io.BytesIO(b"x" * longest + b"\n" + b"x" * (longest + 1)))
        assert (len(first.text), first.error) == (longest, "")
        assert second == Line(2, "", "The line has over 16777216 bytes.")


class TestReadJsonLines:
    def test_texts_may_hold_line_feeds(self) -> None:
        content = b'\xef\xbb\xbf{"text": "two\\nlines", "other": 1}\n\n  \r\n{"text": "\\ud83d\\ude42"}\r\n'
        assert list(read_json_lines(io.BytesIO(content), "text")) == [Line(1, "two\nlines"), Line(4, "🙂")]

    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            (b"{", "The line is not JSON: "),
            (b"[" * 100_000, "The line is not JSON: "),
            (b"1" * 5000, "The line is not JSON: "),
            (b'"text"', "The line is not an object with a string under 'text'."),
            (b'{"Text": "a"}', "The line is not an object with a string under 'text'."),
            (b'{"text": 1}', "The line is not an object with a string under 'text'."),
            (b'{"text": "ab\\ud800"}', "Character 3 of the text is half of a surrogate pair"),
            (b'{"text": "\xff"}', "Byte 11 of the line is not UTF-8."),
        ],
    )
    def test_a_line_that_cannot_be_used_is_marked(self, line: bytes, problem: str) -> None:
        first, second = read_json_lines(io.BytesIO(line + b'\n{"text": "next"}'), "text")
        assert (first.number, first.text, first.error[: len(problem)]) == (1, "", problem)
        assert second == Line(2, "next")


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
        for labels in ('["a"]', '["a", "b", "c"]', '{"a": 1, "b": 2}', '["a", 2]'):
            (folder / "assets" / "labels.json").write_text(labels)
            with pytest.raises(ModelError, match=r"labels\.json does not name its 2 classes\. Export it again\."):
                load_predictor(folder)
        (folder / "assets" / "labels.json").write_text('["a", "b"]')
        assert load_predictor(folder).labels == ["a", "b"]
