"""Examples know their texts, labels and origin; splits keep duplicates together; the embedded set is what it says."""

import hashlib
import importlib.util
import io
import lzma
import re
import string
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.data import examples as data
from switch_tf.data.examples import (
    EMBEDDED,
    Examples,
    encode_labels,
    fingerprint,
    label_names,
    read_examples,
    split_validation,
)
from switch_tf.errors import DataError

ROOT = Path(__file__).parent.parent


def examples_of(rows: list[tuple[str, str]], chunks: int = 1) -> Examples:
    """Examples of (text, label) rows, their place the row's number, in several Arrow chunks."""
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    cuts = [*range(0, len(rows), max(1, len(rows) // chunks)), len(rows)]

    def column(values: list[Any], kind: pa.DataType) -> pa.ChunkedArray:
        return pa.chunked_array([values[start:end] for start, end in pairwise(cuts)], type=kind)

    places = column(list(range(len(rows))), pa.int64())
    return Examples(column(texts, pa.large_string()), column(labels, pa.string()), "made.tsv", places, "row")


def rows_of(examples: Examples) -> list[tuple[str, str]]:
    return list(zip(examples.texts.to_pylist(), examples.labels.to_pylist(), strict=True))


def reading(text: str) -> tuple[str, ...]:
    """What the model reads of a text, written down independently of the code under test."""
    kept = "".join(character for character in text if character not in string.punctuation)
    lowered = re.sub("[A-Z]", lambda letter: chr(ord(letter[0]) + 32), kept)
    return tuple(word for word in re.split("[\x00\t\n\x0b\x0c\r ]", lowered) if word)


class TestExamples:
    def test_batches_hold_every_text_once_in_order(self) -> None:
        texts = [f"text {number} é🙂\0" for number in range(10)]
        examples = examples_of([(text, "x") for text in texts], chunks=3)
        batches = list(examples.text_batches(4))
        assert [(batch.dtype, batch.shape) for batch in batches] == [(np.dtype(object), (size,)) for size in (4, 4, 2)]
        assert [text for batch in batches for text in batch] == texts
        assert all(type(text) is str for batch in batches for text in batch)
        assert list(examples.take(np.array([], np.int64)).text_batches(4)) == []

    def test_take_follows_the_indices_with_labels_and_places(self) -> None:
        examples = examples_of([("a", "x"), ("b", "y"), ("c", "z")], chunks=3).take(np.array([2, 0, 2]))
        assert len(examples) == 3
        assert rows_of(examples) == [("c", "z"), ("a", "x"), ("c", "z")]
        assert [examples.location(index) for index in range(3)] == [f"made.tsv, row {row}" for row in (2, 0, 2)]

    def test_long_files_are_read_in_chunks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.tsv"
        path.write_text("text\tlabel\n" + "".join(f"text {row}\t{row % 2}\n" for row in range(10)), encoding="utf-8")
        monkeypatch.setattr(data, "_CHUNK_ROWS", 4)
        assert [len(chunk) for chunk in read_examples(path).texts.chunks] == [4, 4, 2]
        monkeypatch.setattr(data, "_CHUNK_ROWS", 5)
        assert [len(chunk) for chunk in read_examples(path).texts.chunks] == [5, 5]
        monkeypatch.setattr(data, "_CHUNK_CHARACTERS", 17)
        assert [len(chunk) for chunk in read_examples(path).texts.chunks] == [3, 3, 3, 1]
        monkeypatch.setattr(data, "_CHUNK_CHARACTERS", 18)
        assert [len(chunk) for chunk in read_examples(path).texts.chunks] == [4, 4, 2]
        assert read_examples(path).texts.to_pylist() == [f"text {row}" for row in range(10)]


class TestLabels:
    def test_names_are_sorted_by_code_point(self) -> None:
        assert label_names(examples_of([("a", "é"), ("b", "z"), ("c", "B"), ("d", "10"), ("e", "z")])) == [
            "10",
            "B",
            "z",
            "é",
        ]

    def test_two_labels_are_enough(self) -> None:
        assert label_names(examples_of([("a", "y"), ("b", "x")])) == ["x", "y"]

    def test_one_label_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"made\.tsv has the label 'x' alone\. Expected at least two") as caught:
            label_names(examples_of([("a", "x"), ("b", "x")]))
        assert caught.value.exit_code == 1
        with pytest.raises(DataError, match=r"made\.tsv has no examples"):
            label_names(examples_of([]))

    def test_codes_are_positions(self) -> None:
        codes = encode_labels(examples_of([("a", "y"), ("b", "x"), ("c", "y")], chunks=2), ["x", "unused", "y"])
        assert (codes.dtype, codes.tolist()) == (np.dtype(np.int32), [2, 0, 2])

    def test_unknown_label_is_refused_where_it_stands(self, tmp_path: Path) -> None:
        path = tmp_path / "test.csv"
        path.write_text('text,label\n"two\nlines",x\nb,Y\nc,z\n', encoding="utf-8")
        with pytest.raises(DataError) as caught:
            encode_labels(read_examples(path), ["x", "y"])
        assert caught.value.exit_code == 1
        received = "received the label 'Y', which looks like 'y' but is another"
        assert str(caught.value) == f"{path}, line 4: {received}. Expected one of 'x', 'y'. Correct it or train on it."
        with pytest.raises(DataError, match=r"'18', '19'\. Correct"):
            encode_labels(read_examples(path), [str(number) for number in range(20)])
        with pytest.raises(DataError, match=r"'18', '19', \.\.\.\. Correct"):
            encode_labels(read_examples(path), [str(number) for number in range(21)])


TEXTS = st.text(alphabet="aAbé!. \t\n\0\x85", max_size=4)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from("xyz")), max_size=40)
SHARES = st.floats(0.01, 0.89)


class TestSplit:
    @settings(max_examples=200, deadline=None)
    @given(rows=ROWS, share=SHARES, seed=st.integers(0, 2**31 - 1), chunks=st.integers(1, 3))
    def test_properties(self, rows: list[tuple[str, str]], share: float, seed: int, chunks: int) -> None:
        examples = examples_of(rows, chunks)
        label_of: dict[tuple[str, ...], str] = {}
        for text, label in rows:
            label_of.setdefault(reading(text), label)
        groups = Counter(label_of.values())
        splittable = [label for label, count in groups.items() if count >= 2]
        if not splittable:
            with pytest.raises(DataError, match=r"made\.tsv: no label has two different texts"):
                split_validation(examples, share, seed)
            return
        try:
            parts = split_validation(examples, share, seed)
        except DataError:
            assert len({(reading(text), label) for text, label in rows}) > len(label_of), "only contradictions excuse"
            return
        training, validation = ([place.as_py() for place in part.places] for part in parts)

        # Nothing is lost, and both sides keep the order of the rows.
        assert sorted(training + validation) == list(range(len(rows)))
        assert training == sorted(training) and validation == sorted(validation)
        assert [rows_of(part) for part in parts] == [[rows[row] for row in side] for side in (training, validation)]
        # No group stands on both sides, and every label is trained on.
        read = [{reading(rows[row][0]) for row in side} for side in (training, validation)]
        assert not read[0] & read[1]
        assert {rows[row][1] for row in training} == {label for _, label in rows}
        # The same seed draws the same rows.
        assert [rows_of(part) for part in split_validation(examples, share, seed)] == [rows_of(part) for part in parts]
        if len({(reading(text), label) for text, label in rows}) > len(label_of):
            return  # rows of a group disagree: what follows is promised for groups of one label
        # Every label with two groups has one in validation, a label with one group has none.
        assert {rows[row][1] for row in validation} == set(splittable)
        # Validation has its share of the groups, one each for a label at least.
        total = sum(groups[label] for label in splittable)
        wanted = min(max(round(share * total), len(splittable)), total - len(splittable))
        assert abs(len(read[1]) - wanted) < len(splittable)

    def test_share_is_kept_label_by_label(self) -> None:
        examples = examples_of([(f"word{row}", "rare" if row % 10 == 0 else "common") for row in range(1000)])
        training, validation = split_validation(examples, 0.2, seed=3)
        assert Counter(validation.labels.to_pylist()) == {"common": 180, "rare": 20}
        assert len(training) == 800

    def test_another_seed_draws_other_rows(self) -> None:
        examples = examples_of([(f"word{row}", "xy"[row % 2]) for row in range(100)])
        drawn = {tuple(split_validation(examples, 0.2, seed)[1].places.to_pylist()) for seed in range(5)}
        assert len(drawn) == 5

    def test_size_is_raised_until_each_label_is_validated(self) -> None:
        rows = [(f"word{row}", f"label{row % 30}") for row in range(90)] + [("alone", "single")]
        training, validation = split_validation(examples_of(rows), 0.01, seed=0)
        assert set(validation.labels.to_pylist()) == {f"label{number}" for number in range(30)}
        assert set(training.labels.to_pylist()) == {label for _, label in rows}

    @pytest.mark.parametrize("seed", range(20))
    def test_rare_labels_stand_on_both_sides(self, seed: int) -> None:
        rows = [(f"word{row}", "common") for row in range(500)] + [("one", "rare"), ("two", "rare")]
        for share in (0.1, 0.85):
            for part in split_validation(examples_of(rows), share, seed):
                assert part.labels.to_pylist().count("rare") == 1

    @pytest.mark.parametrize("seed", range(10))
    def test_a_label_seen_only_in_contradictions_is_trained_on(self, seed: int) -> None:
        rows = [(f"word{row}", "common") for row in range(8)] + [("Word0!", "doubted"), ("word1 ", "doubted")]
        training, validation = split_validation(examples_of(rows), 0.8, seed)
        assert "doubted" in training.labels.to_pylist()
        assert len(validation) > 0

    def test_same_reading_is_one_group(self) -> None:
        same = ["Don't stop", "dont\x0bSTOP", "dont - stop!", "\0dont\0stop\r\n"]
        other = ["don t stop", "dont\x85stop", "dont\xa0stop", "dönt stop", "DÖNT STOP", "dontstop"]
        rows = [(text, "x") for text in same + other]
        for seed in range(10):
            sides = [set(part.texts.to_pylist()) for part in split_validation(examples_of(rows), 0.4, seed)]
            assert any(side.issuperset(same) for side in sides)
        held_out = [split_validation(examples_of(rows), 0.4, seed)[1].texts.to_pylist() for seed in range(40)]
        for text in other:
            alone = [texts for texts in held_out if text in texts and not set(texts) & set(same)]
            assert alone, f"{text!r} was never apart from {same[0]!r}"

    @pytest.mark.parametrize("rows", [[], [("a", "x"), ("b", "y")], [("a", "x"), ("A!", "x"), ("b", "y")]])
    def test_nothing_to_split_is_refused(self, rows: list[tuple[str, str]]) -> None:
        with pytest.raises(DataError, match=r"made\.tsv: no label has two different texts.* Expected several texts"):
            split_validation(examples_of(rows), 0.5, seed=0)

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
    def test_share_is_a_proper_part(self, share: float) -> None:
        with pytest.raises(ValueError, match="between 0 and 1"):
            split_validation(examples_of([("a", "x"), ("b", "x")]), share, seed=0)


class TestFingerprint:
    def test_value_is_that_of_lengths_and_bytes(self) -> None:
        fed = b"\1" + bytes(7) + b"x" + b"\2" + bytes(7) + "é".encode()
        assert fingerprint(examples_of([("é", "x")])) == hashlib.sha256(fed).hexdigest()

    def test_chunks_and_source_do_not_matter(self) -> None:
        rows = [(f"text {row}", "xy"[row % 2]) for row in range(50)]
        assert fingerprint(examples_of(rows)) == fingerprint(examples_of(rows, chunks=7))

    def test_order_borders_and_labels_matter(self) -> None:
        variants = [
            [("ab", "x"), ("c", "y")],
            [("a", "x"), ("bc", "y")],
            [("c", "y"), ("ab", "x")],
            [("ab", "y"), ("c", "x")],
            [("ab", "x")],
            [("x", "ab"), ("y", "c")],
        ]
        assert len({fingerprint(examples_of(rows)) for rows in variants}) == len(variants)


class TestEmbedded:
    def test_counts(self) -> None:
        assert EMBEDDED == ("reviews",)
        parts = {split: read_examples("reviews", split=split) for split in ("train", "test")}
        counts = {split: Counter(part.labels.to_pylist()) for split, part in parts.items()}
        assert counts == {"train": {"pos": 5735, "neg": 5364}, "test": {"pos": 1011, "neg": 947}}
        assert parts["train"].location(1) == "reviews/train.tsv.xz, line 3"
        assert not any({"\t", "\n", "\r"} & set(text) for part in parts.values() for text in part.texts.to_pylist())

    def test_no_text_stands_in_both_parts(self) -> None:
        train, test = (
            {reading(text) for text in read_examples("reviews", split=split).texts.to_pylist()}
            for split in ("train", "test")
        )
        assert not train & test

    def test_notice_names_origin_citation_licence_and_changes(self) -> None:
        notice = (ROOT / "switch_tf/datasets/reviews/NOTICE.txt").read_text(encoding="utf-8")
        for part in (
            "vaderSentiment 3.3.2",
            "Hutto, C.J. & Gilbert, E.E. (2014)",
            "What was changed",
            "(c) 2016 C.J. Hutto",
            "The above copyright notice and this permission notice shall be included in all\ncopies",
        ):
            assert part in notice

    def test_unknown_split(self) -> None:
        with pytest.raises(DataError, match=r"'reviews' has no split 'dev'\. Expected 'train' or 'test'"):
            read_examples("reviews", split="dev")

    def test_a_path_of_the_same_name_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert len(read_examples("reviews")) == 11_099
        for label in ("good", "bad"):
            (tmp_path / "reviews" / label).mkdir(parents=True)
            (tmp_path / "reviews" / label / "1.txt").write_text(label, encoding="utf-8")
        assert rows_of(read_examples("reviews")) == [("bad", "bad"), ("good", "good")]


@pytest.fixture(scope="module")
def build_reviews() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build_reviews", ROOT / "tools" / "build_reviews.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    """An archive laid out as the real one, of 40 movie snippets and a few others."""
    movies = "".join(f"{row}\t{2.5 if row % 2 else -1}\tfilm{row}\r\n" for row in range(40))
    products = "1_1\t0.49\tweak\r\n1_2\t-0.5\tbad\tone\r\n1_3\t0.5\tna\x85ïve\r\n\r\n1_4\t3\tFilm1!"
    inner = {
        "top/amazonReviewSnippets_GroundTruth.txt": products.encode(),
        "top/movieReviewSnippets_GroundTruth.txt": movies.encode(),
    }
    path = tmp_path / "sdist.tar.gz"
    archive = packed(inner)
    path.write_bytes(
        packed({"v/LICENSE.txt": b"Licence\r\ntext", "v/additional_resources/hutto_ICWSM_2014.tar.gz": archive})
    )
    return path


class TestBuildReviews:
    def test_clear_ratings_are_labelled(self, build_reviews: ModuleType, sdist: Path) -> None:
        rows = rows_of(build_reviews.read_snippets(sdist))
        assert rows[:2] == [("film0", "neg"), ("film1", "pos")]
        assert rows[40:] == [("bad one", "neg"), ("na\x85ïve", "pos"), ("Film1!", "pos")]

    def test_build_writes_the_same_readable_tables_each_time(
        self, build_reviews: ModuleType, sdist: Path, tmp_path: Path
    ) -> None:
        outputs = [tmp_path / "a", tmp_path / "b"]
        summaries = [build_reviews.build(sdist, output) for output in outputs]
        assert "train.tsv.xz: 37 rows, 19 positive, " in summaries[0][0]
        assert "test.tsv.xz: 6 rows, 3 positive, " in summaries[0][1]
        files = ["NOTICE.txt", "test.tsv.xz", "train.tsv.xz"]
        assert sorted(path.name for path in outputs[0].iterdir()) == files
        for name in files:
            assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()
        assert lzma.decompress((outputs[0] / "train.tsv.xz").read_bytes()).startswith(b"label\ttext\npos\tfilm1\n")
        parts = [read_examples(outputs[0] / f"{split}.tsv.xz") for split in ("train", "test")]
        assert sorted(rows_of(parts[0]) + rows_of(parts[1])) == sorted(rows_of(build_reviews.read_snippets(sdist)))
        together = [{"film1", "Film1!"} <= set(part.texts.to_pylist()) for part in parts]
        assert sorted(together) == [False, True]
        assert (outputs[0] / "NOTICE.txt").read_text(encoding="utf-8").endswith("-----\nLicence\ntext\n")

    def test_another_archive_is_refused(
        self, build_reviews: ModuleType, sdist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert build_reviews.main([str(sdist), "--output", str(tmp_path / "out")]) == 1
        assert f"Expected {build_reviews.SHA256}" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        sdist.write_bytes(packed({"v/LICENSE.txt": b"alone"}))
        with pytest.raises(FileNotFoundError, match="hutto_ICWSM_2014"):
            build_reviews.read_snippets(sdist)

    def test_help(self, build_reviews: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            build_reviews.main(["--help"])
        assert caught.value.code == 0
        assert "vaderSentiment 3.3.2" in capsys.readouterr().out
