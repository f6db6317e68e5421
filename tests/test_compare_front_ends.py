"""The tool behind the table of front-ends: real trainings of a made-up set, and the table made of figures by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import TINY, write_set

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import compare_front_ends
import made_sets

from switch_tf.config import load_config
from switch_tf.data.examples import read_examples
from switch_tf.errors import DataError


def figures(clean: float, misspelt: float) -> dict[str, Any]:
    return {"test_texts": 400, "clean": {"accuracy": clean}, "misspelt": {"accuracy": misspelt}}


def test_the_table_by_hand() -> None:
    measured = {"made": {"words": figures(0.9, 0.5), "plain": figures(0.8, 1.0)}, "other": {"unigram": figures(0.6, 0)}}
    assert compare_front_ends.table(measured).splitlines() == [
        '| set | test texts | words | `lowercase = "unicode"` | wordpiece | unigram | plain |',
        "|---|---|---|---|---|---|---|",
        "| made | as they are | 0.900 ± 0.015 | not run | not run | not run | 0.800 ± 0.020 |",
        "| made | with typos | 0.500 ± 0.025 | not run | not run | not run | 1.000 ± 0.000 |",
        "| other | as they are | not run | not run | not run | 0.600 ± 0.024 | not run |",
        "| other | with typos | not run | not run | not run | 0.000 ± 0.000 | not run |",
    ]


def test_front_ends_are_named_by_the_table_or_by_their_settings() -> None:
    texts = [load_config("auto", None, settings).text for settings in compare_front_ends.FRONT_ENDS.values()]
    assert [(each.tokenizer, each.lowercase) for each in texts] == [
        ("words", "ascii"),
        ("words", "unicode"),
        ("wordpiece", "ascii"),
        ("unigram", "ascii"),
    ]
    assert compare_front_ends.read_front_end("unigram") == ("unigram", ("text.tokenizer=unigram",))
    assert compare_front_ends.read_front_end("a b=x.y=1,x.z=2") == ("a b", ("x.y=1", "x.z=2"))
    refused = CliRunner().invoke(compare_front_ends.main, ["reviews", "--front-end", "unigrams"])
    assert refused.exit_code == 2
    assert "--front-end unigrams: expected NAME=SETTING,..., or one of words, " in refused.output


@pytest.mark.slow
def test_front_ends_are_trained_asked_twice_and_kept(tmp_path: Path) -> None:
    folder, page, results = tmp_path / "made", tmp_path / "page.md", tmp_path / "front_ends.json"
    page.write_text("<!-- table: front-ends -->\n<!-- end of table -->\n")
    write_set(folder)
    small = [word for each in (*TINY, "wide.enabled=true") for word in ("--set", each)]
    words = [f"made={folder}", "--front-end", "words", "--typos", "1", "--results", str(results), *small]
    first = CliRunner().invoke(compare_front_ends.main, [*words, "--write", str(page)])
    assert first.exit_code == 0, first.output
    kept = json.loads(results.read_text())
    measured = kept["made"]["words"]
    assert (measured["test_texts"], measured["typos"], measured["settings"]) == (40, 1.0, [*TINY, "wide.enabled=true"])
    assert 0.75 <= measured["clean"]["accuracy"] <= 1  # every text has a word that tells
    assert measured["misspelt"]["accuracy"] < measured["clean"]["accuracy"]
    assert measured["misspelt"]["unknown"] > measured["clean"]["unknown"] + 0.3
    assert page.read_text().count("| made | with typos | ") == 1
    measured["test_texts"] = 10_000
    results.write_text(json.dumps(kept))
    again = CliRunner().invoke(compare_front_ends.main, words)
    assert "made, words" not in again.output and "± 0.025" not in again.output  # nothing is measured again
    other = CliRunner().invoke(compare_front_ends.main, [f"made={tmp_path / 'none'}", *words[1:], "--typos", "0.5"])
    assert "made, words" in other.output and isinstance(other.exception, DataError)  # but it is by another setting


def test_sets_are_made_of_words_that_tell(tmp_path: Path) -> None:
    made_sets.write(tmp_path)
    for name, language in made_sets.LANGUAGES.items():
        training, test = (read_examples(str(tmp_path / name / f"{part}.tsv.xz")) for part in ("train", "test"))
        texts = [*training.texts.to_pylist(), *test.texts.to_pylist()]
        labels = [*training.labels.to_pylist(), *test.labels.to_pylist()]
        assert (len(training), len(test), len(set(texts))) == (160, 400, 560)
        assert labels == ["good", "bad"] * 280
        for text, label in zip(texts, labels, strict=True):
            told = [word in text.lower() for word in getattr(language, label).split()]
            assert sum(told) == 1 and len(text.split()) == (5 if name == "russian" else 1)
    assert any(text != text.lower() and text != text.upper() for text in texts)
