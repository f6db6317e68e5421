"""Kinds of faults that people met elsewhere, through the command line: each ends in a clear word, never in a guess."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer, ask, made_up_rows, tiny_arguments, write_tsv

TABLE = "label,text\n" + "".join(f"{label},{text}\n" for text, label in made_up_rows(40))


def trained(folder: Path, data: str | bytes, name: str = "a.csv", *words: str) -> Answer:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return ask("train", folder / name, "--output", folder / "r", *tiny_arguments("train.epochs=1"), *words)


@pytest.mark.parametrize("name", ["a.csv.bak", "a.parq", "a.tab", "a.data", "a.json5"])
def test_a_name_that_says_nothing_is_refused_by_all_three(name: str, trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TABLE)
    for words in (["predict", trained_run, "--input"], ["evaluate", trained_run], ["train"]):
        answer = ask(*words, tmp_path / name)
        assert (answer.code, answer.out) == (1, "") and "has no known extension. Expected a .csv" in answer.err


def test_an_array_is_read_by_all_three(trained_run: Path, tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in made_up_rows(40)]
    content = json.dumps(rows, indent=1)
    assert trained(tmp_path, content, "a.json").code == 0
    assert json.loads(ask("evaluate", trained_run, tmp_path / "a.json", "--json").out)["n"] == 40
    assert len(ask("predict", trained_run, "--input", tmp_path / "a.json", "--json").out.splitlines()) == 40


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_two_bytes_is_refused_by_all_three_with_its_remedy(
    encoding: str, trained_run: Path, tmp_path: Path
) -> None:
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_bytes(TABLE.encode(encoding))
        for words in (["predict", trained_run, "--input"], ["evaluate", trained_run], ["train"]):
            answer = ask(*words, tmp_path / name)
            assert (answer.code, answer.out) == (1, "") and f"`iconv -f {encoding[:6]}" in answer.err, answer


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "RUN", "reviews", "--text-column", "review"],
        ["evaluate", "RUN", "reviews", "--no-header"],
        ["train", "reviews", "--label-column", "stars"],
        ["verify", "RUN", "--data", "reviews", "--text-column", "review"],
        ["verify", "RUN", "--text-column", "review"],
        ["predict", "RUN", "a text", "--text-column", "review"],
    ],
)
def test_a_column_where_there_is_none_is_a_usage_error(words: list[str], trained_run: Path) -> None:
    answer = ask(*(trained_run if word == "RUN" else word for word in words))
    assert (answer.code, answer.out) == (2, "") and "--" in answer.err


def test_doubtful_labels_are_told_and_stand_in_the_run(tmp_path: Path) -> None:
    lines = TABLE.split("\n")[:-1]
    lines[1:6] = [f"NaN,{line.split(',')[1]}" for line in lines[1:6]]
    answer = trained(tmp_path, "\n".join(lines) + "\n", "a.csv", "--json")
    assert answer.code == 0, answer.err
    assert "WARNING: labels read like a missing one: 'NaN' (5)" in answer.err
    kept = json.loads((tmp_path / "r" / "data.json").read_text())["survey"]
    assert kept == json.loads(answer.out)["survey"] and kept["labels"]["NaN"] == 5
    assert all(len(line) <= 80 for line in answer.err.splitlines() if line.startswith(("WARNING", "  ")))


def test_missing_texts_are_told_alike_in_csv_and_json(tmp_path: Path) -> None:
    rows = [(None if n % 3 == 0 else text, label) for n, (text, label) in enumerate(made_up_rows(42))]
    contents = {
        "a.csv": "label,text\n" + "".join(f"{label},{text or ''}\n" for text, label in rows),
        "b.jsonl": "".join(json.dumps({"label": label, "text": text}) + "\n" for text, label in rows),
    }
    told: list[Any] = []
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        answer = trained(tmp_path / name, content, name, "--json")
        assert "WARNING: 14 texts (33.3%) have no word, 14 of them are empty" in " ".join(answer.err.split())
        told.append(json.loads(answer.out)["survey"])
    assert told[0] == told[1]


def test_a_label_that_is_never_answered_is_told(tmp_path: Path) -> None:
    rows = [(f"word{n} film", "rare" if n % 20 == 0 else "common") for n in range(100)]
    answer = trained(tmp_path, write_tsv(tmp_path / "x.tsv", rows).read_bytes(), "a.tsv")
    assert answer.code == 0, answer.err
    assert "WARNING: labels are uneven: 'rare' has 5 of 100 examples." in answer.err
    assert "no validation text of 1 of the labels was answered right ('rare')" in " ".join(answer.err.split())
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["never_right"] == ["rare"]


def test_the_printed_command_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my runs; it's"
    folder.mkdir()
    answer = trained(folder, TABLE)
    command = next(line for line in answer.err.splitlines() if line.startswith("Next: ")).removeprefix("Next: ")
    words = shlex.split(command)
    assert words == ["switch-tf", "predict", str(folder / "r"), "Your text here."]
    assert ask(*words[1:]).code == 0


def test_skipped_rows_are_counted_in_train_and_evaluate(trained_run: Path, tmp_path: Path) -> None:
    content = TABLE + "good\n,no label\n"
    assert trained(tmp_path, content).code == 1
    answer = trained(tmp_path, content, "a.csv", "--skip-bad")
    assert answer.code == 0 and "skipped: 2 rows that cannot be used" in answer.err
    answer = ask("evaluate", trained_run, tmp_path / "a.csv", "--skip-bad", "--json")
    assert json.loads(answer.out)["n"] == 40 and "Left out 2 rows" in answer.err


def test_the_page_says_what_runtimes_make_of_missing_values_and_capitals() -> None:
    page = " ".join((Path(__file__).parents[1] / "README.md").read_text("utf-8").split())
    for said in ('"None"', '"nan"', "BigInt", "ASCII only"):
        assert said in page
    assert "lower-casing ASCII alone" in ask("train", "--help").out
