"""What is told of the data before training: figures counted by hand, and warnings where nothing can be learnt."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from test_examples import examples_of

from switch_tf.data.survey import survey
from switch_tf.reporting.data_survey import survey_lines
from switch_tf.text.from_strings import KerasText
from switch_tf.text.plain_pieces import PlainPieces
from switch_tf.text.spec import TextSpec


def surveyed(training: list[tuple[str, str]], validation: list[tuple[str, str]], **spec: object) -> dict[str, Any]:
    text = TextSpec(**spec)  # type: ignore[arg-type]
    words = sorted({word for each, _ in training for word in each.lower().split()})
    labels = sorted({label for _, label in training})
    vocabulary = words[: text.vocabulary_size - 2]
    parts = {"training": examples_of(training), "validation": examples_of(validation)}
    return survey(parts, labels, text, vocabulary, "label")


def test_figures_are_those_counted_by_hand() -> None:
    training = [
        ("A good film", "pos"),
        ("a GOOD film!", "pos"),
        ("a bad film", "neg"),
        ("", "neg"),
        ("one two three four", "neg"),
    ]
    report = surveyed(
        training, [("a bad day", "neg"), ("a bad, bad day", "pos"), ("unheard", "pos")], sequence_length=3
    )
    assert report["examples"] == {"training": 5, "validation": 3}
    assert report["labels"] == {"neg": 4, "pos": 4}
    assert report["longer_than_sequence_length"] == 2 / 8
    assert report["words_behind_sequence_length"] == pytest.approx(2 / 21)
    assert report["unknown_words_on_validation"] == pytest.approx(2 / 7)
    assert (report["texts_empty"], report["texts_without_a_word"]) == (1, 1)
    assert (report["texts_without_a_known_word"], report["validation_texts_without_a_known_word"]) == (2, 1)
    assert (report["duplicates"], report["contradicting"]) == (1, 0)
    json.dumps(report, allow_nan=False)


def test_what_training_texts_say_behind_l_alone_is_unknown_on_validation() -> None:
    training = [("one two three rare", "pos"), ("one two", "neg"), ("rare one two x", "neg")]
    assert surveyed(training[:2], [("rare", "pos")], sequence_length=3)["unknown_words_on_validation"] == 1.0
    assert surveyed(training, [("rare", "pos")], sequence_length=3)["unknown_words_on_validation"] == 0.0


def test_contradictions_are_errors_that_no_model_avoids() -> None:
    same = [("the same text", "pos")] * 3 + [("The same text.", "neg")] * 2
    report = surveyed([*same, ("other", "neg")], [("other", "neg")])
    assert (report["duplicates"], report["contradicting"], report["indistinguishable"]) == (4, 2, 2)
    assert any("2 texts (28.6%) read as another of a different label" in each for each in report["warnings"])


def test_a_signal_behind_l_is_told_with_the_setting_that_reads_it() -> None:
    rows = [(" ".join(["header"] * 20 + ["good" if n % 2 else "bad", f"n{n}"]), "pn"[n % 2]) for n in range(40)]
    report = surveyed(rows[:30], rows[30:], sequence_length=16)
    assert report["indistinguishable"] == 20
    assert any("cannot learn" in each and "above 0.500" in each for each in report["warnings"])
    assert any("text.sequence_length=32" in each for each in report["warnings"])
    assert surveyed(rows[:30], rows[30:], sequence_length=32)["warnings"] == []


@pytest.mark.parametrize("letters", ["好棒喜欢精彩不错推荐", "これはとてもいい", "ดีมากและสนุก"])
def test_texts_without_spaces_are_told(letters: str) -> None:
    draw = random.Random(0)
    rows = [("".join(draw.choice(letters) for _ in range(15)), "pn"[n % 2]) for n in range(60)]
    report = surveyed(rows[:50], rows[50:])
    assert report["texts_without_spaces"] > 50
    assert any("cannot learn" in each and "text.tokenizer=wordpiece" in each for each in report["warnings"])
    assert any("text.lowercase=unicode" in each for each in report["warnings"])
    assert not any("spaces" in each for each in surveyed(rows, rows, lowercase="unicode")["warnings"])


@pytest.mark.parametrize("text", ["我好喜欢 12", "ดีมาก ok", "好看的电影"])
def test_short_texts_without_spaces_are_told_too(text: str) -> None:
    rows = [(f"{text}{n % 4}", "pn"[n % 2]) for n in range(40)]
    report = surveyed(rows, rows)
    assert report["texts_without_spaces"] == (0 if " " in text else 80)


@pytest.mark.parametrize(
    "text",
    [
        "a good and long film",
        "очень хороший фильм",
        "영화가 정말 좋았어요",
        "फिल्म बहुत अच्छी थी",
        "فيلم جيد جدا",
        "好 的",
        "我 喜欢 这部 电影",
    ],
)
def test_texts_with_spaces_are_not(text: str) -> None:
    rows = [(f"{text} {n % 4}", "pn"[n % 2]) for n in range(40)]
    assert surveyed(rows, rows)["texts_without_spaces"] == 0


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([(f"word{n} ok", "urgent" if n < 2 else "normal") for n in range(200)], "train.class_weights=balanced"),
        ([(f"ХОРОШО ПЛОХО {n % 7}", "pn"[n % 2]) for n in range(40)], "beyond ASCII"),
        ([("" if n % 3 == 0 else f"w{n % 5} x", "pn"[n % 2]) for n in range(60)], "have no word"),
        ([("nan" if n % 3 == 0 else f"w{n % 5} x", "pn"[n % 2]) for n in range(60)], "read nan, null or None"),
        ([(f"w{n % 9}", f"id {n}") for n in range(60)], "looks like one of texts or numbers"),
        (
            [(f"w{n % 9}", "nan" if n % 9 == 0 else "pn"[n % 2]) for n in range(60)],
            "read like a missing one: 'nan' (9)",
        ),
        ([(f"w{n % 9}", "once" if n == 0 else "pn"[n % 2]) for n in range(60)], "1 label of one example"),
    ],
)
def test_each_doubt_is_told(rows: list[tuple[str, str]], word: str) -> None:
    assert any(word in each for each in surveyed(rows, rows[1:21])["warnings"])


def test_words_out_of_vocabulary_are_told_with_what_helps() -> None:
    rows = [(" ".join(f"w{n}x{k}" for k in range(5)), "pn"[n % 2]) for n in range(40)]
    warnings = surveyed(rows[:30], rows[30:], vocabulary_size=20)["warnings"]
    assert any(
        "100.0% of the words of validation are out of vocabulary. Raise text.vocabulary_size (20)" in w
        for w in warnings
    )


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    standardize=st.sampled_from(["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"]),
)
def test_words_are_read_as_the_models_front_end_reads_them(text: str, standardize: str) -> None:
    spec = TextSpec(sequence_length=50, standardize=standardize)  # type: ignore[arg-type]
    ids = KerasText(spec, ["film"])(pa.array([text]).to_numpy(zero_copy_only=False)).numpy()[0]
    parts = {"training": examples_of([(text, "x")]), "validation": examples_of([(text, "y")])}
    report = survey(parts, ["x", "y"], spec, ["film"], "label")
    assert report["words_per_text"]["median"] == (ids > 0).sum()
    assert report["unknown_words_on_validation"] == pytest.approx((ids == 1).sum() / max((ids > 0).sum(), 1))


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_words_by_unicode_are_read_as_the_models_front_end_reads_them(text: str) -> None:
    spec = TextSpec(sequence_length=50, lowercase="unicode")
    ids = PlainPieces(spec, ["film"]).ids([text.encode()])[0]
    parts = {"training": examples_of([(text, "x")]), "validation": examples_of([(text, "y")])}
    report = survey(parts, ["x", "y"], spec, ["film"], "label")
    assert report["words_per_text"]["median"] == (ids > 0).sum()
    assert report["unknown_words_on_validation"] == pytest.approx((ids == 1).sum() / max((ids > 0).sum(), 1))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80), min_size=2, max_size=30, unique=True
    )
)
def test_the_lines_fit_80_columns_whatever_the_labels(labels: list[str]) -> None:
    rows = [(f"a {number}", label) for number, label in enumerate(labels)]
    lines = survey_lines(surveyed(rows, rows))
    assert all(
        cell_len(line) <= 80 and line.isprintable()
        for line in lines
        if "WARNING" not in line[:8] and line[:4] == "    "
    )
    assert all(cell_len(line) <= 80 for line in lines)


def test_many_labels_show_the_most_and_the_least_frequent() -> None:
    rows = [(f"w{n}", f"label{n}") for n in range(50) for _ in range(n + 1)]
    lines = survey_lines(surveyed(rows, rows[:10]))
    assert lines[1] == "50 labels:"
    assert [line.split()[0] for line in lines[2:11]] == [f"label{n}" for n in (49, 48, 47, 46)] + ["..."] + [
        line.split()[0] for line in lines[7:11]
    ]
    assert "    ... 42 more ..." in lines


def test_words_that_validation_alone_has_are_unknown_there_though_the_vocabulary_has_them() -> None:
    spec = TextSpec(sequence_length=5)
    parts = {"training": examples_of([("a film", "x"), ("a plot", "y")]), "validation": examples_of([("a cast", "x")])}
    report = survey(parts, ["x", "y"], spec, ["a", "film", "plot", "cast"], "label")
    assert report["unknown_words_on_validation"] == 0.5
