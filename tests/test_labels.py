"""Labels that a person reads as one are refused with both spellings; booleans have one spelling in every format."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_examples import examples_of
from test_sniffing import workbook

from switch_tf.data.examples import as_spelled, encode_labels, fingerprint, label_names, read_examples
from switch_tf.data.labels import doubtful_labels, look_alike_key, spelled
from switch_tf.errors import DataError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pos", "pos "),
        ("pos", " pos"),
        ("pos", "pos\u00a0"),
        ("very good", "very\u00a0good"),
        ("very good", "very  good"),
        ("pos", "po\u200bs"),
        ("pos", "\ufeffpos"),
        ("pos", "pos\u00ad"),
        ("pos", "pos\u2060"),
        ("caf\u00e9", "cafe\u0301"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\u2764", "\u2764\ufe0f"),
        ("pos", "p\u043es"),
        ("a-b", "a\u2011b"),
        ("it's", "it\u2019s"),
        ("pos", "\uff50\uff4f\uff53"),
        ("fine", "\ufb01ne"),
    ],
)
def test_look_alikes_are_refused_with_both_places_and_spellings(one: str, other: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"label\ttext\n{one}\ta\nneg\tb\n{other}\tc\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        label_names(read_examples(path))
    message = str(caught.value)
    assert "looks like the label" in message
    assert f"{path}, line 2" in message and f"{path}, line 4" in message
    assert spelled(one) in message and spelled(other) in message and spelled(one) != spelled(other)


@given(st.text(min_size=1, max_size=8), st.sampled_from(["\u200b", "\ufeff", "\u00ad", "\u200d"]), st.integers(0, 8))
def test_an_invisible_character_anywhere_makes_a_look_alike(label: str, invisible: str, place: int) -> None:
    changed = label[:place] + invisible + label[place:]
    assume(unicodedata.normalize("NFC", changed).replace(invisible, "") == unicodedata.normalize("NFC", label))
    assert look_alike_key(changed) == look_alike_key(label)


@given(st.text(max_size=12))
def test_both_normal_forms_have_one_key_and_a_key_is_its_own(label: str) -> None:
    keys = {look_alike_key(unicodedata.normalize(form, label)) for form in ("NFC", "NFD")}
    assert len(keys) == 1
    spelled(label).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("pair", [("pos", "POS"), ("a", "b"), ("e", "\u00e9"), ("1", "2"), ("good", "go od")])
def test_what_can_be_told_apart_is_no_look_alike(pair: tuple[str, str]) -> None:
    assert label_names(examples_of([("x", pair[0]), ("y", pair[1])])) == sorted(pair)


def test_an_unknown_label_that_looks_like_a_known_one_is_refused_with_both() -> None:
    with pytest.raises(DataError, match=r"received the label 'pos\\xa0', which looks like 'pos' but is another"):
        encode_labels(examples_of([("x", "pos\u00a0")]), ["neg", "pos"])


class TestDoubts:
    @pytest.mark.parametrize("name", ["nan", "NaN", "NA", "None", "null", "#N/A", "n/a", "<NA>", "NULL"])
    def test_labels_that_stand_for_none_are_told_with_their_count(self, name: str) -> None:
        (warning,) = doubtful_labels({"pos": 5, name: 3}, "label")
        assert warning.startswith(f"labels read like a missing one: {name!r} (3).")

    def test_case_numbers_spaces_and_headers_are_told(self) -> None:
        (warning,) = doubtful_labels({"pos": 5, "Pos": 1, "neg": 2}, "label")
        assert warning.startswith("labels differ in letter case alone: 'pos' (5), 'Pos' (1).")
        (warning,) = doubtful_labels({"1": 5, "1.0": 1}, "label")
        assert warning.startswith("labels are the same number: '1' (5), '1.0' (1).")
        (warning,) = doubtful_labels({" pos": 5, "neg": 1}, "label")
        assert warning.startswith("labels hold what cannot be seen, such as spaces at an end: ' pos' (5).")
        (warning,) = doubtful_labels({"label": 1, "neg": 9}, "label")
        assert warning.startswith("a label is called as its column: 'label' (1).")
        assert doubtful_labels({"pos": 1, "neg": 2, "тест": 3}, "label") == []


class TestBooleans:
    @staticmethod
    def written(folder: Path) -> list[Path]:
        """The same four rows as each writer of tables puts them."""
        truths = [True, False, False, True]
        texts = [f"text {number}" for number in range(4)]
        files = {
            "json.jsonl": "".join(
                f'{{"text": "{text}", "label": {str(truth).lower()}}}\n'
                for text, truth in zip(texts, truths, strict=True)
            ),
            **{
                f"{spelling}.csv": "text,label\n"
                + "".join(
                    f"{text},{getattr(str(truth), spelling)()}\n" for text, truth in zip(texts, truths, strict=True)
                )
                for spelling in ("lower", "upper", "title")
            },
        }
        for name, content in files.items():
            (folder / name).write_text(content)
        pq.write_table(pa.table({"text": texts, "label": truths}), folder / "a.parquet")
        rows: list[list[object]] = [
            ["text", "label"],
            *([text, truth] for text, truth in zip(texts, truths, strict=True)),
        ]
        (folder / "a.xlsx").write_bytes(workbook(rows))
        return [*(folder / name for name in files), folder / "a.parquet", folder / "a.xlsx"]

    def test_they_are_one_label_in_every_format(self, tmp_path: Path) -> None:
        for path in self.written(tmp_path):
            examples = read_examples(path)
            assert examples.labels.to_pylist() == ["true", "false", "false", "true"], path
            assert bool(examples.notes) == (path.name in ("upper.csv", "title.csv"))

    def test_runs_of_earlier_releases_say_true_with_a_capital(self, tmp_path: Path) -> None:
        old = examples_of([(f"text {n}", name) for n, name in enumerate(["True", "False", "False", "True"])])
        for path in self.written(tmp_path):
            examples = read_examples(path)
            assert encode_labels(examples, ["False", "True"]).tolist() == [1, 0, 0, 1]
            assert fingerprint(as_spelled(examples, ["False", "True"])) == fingerprint(old)

    def test_other_labels_beside_them_leave_them_as_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,label\na,True\nb,Mostly true\n")
        assert read_examples(tmp_path / "a.csv").labels.to_pylist() == ["True", "Mostly true"]
