"""Shapes that files come in: delimiters, line ends, no header, several text columns, archives, workbooks, fastText."""

import bz2
import io
import json
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_sniffing import workbook, zipped

from switch_tf.data.examples import Examples, read_examples
from switch_tf.errors import ArgumentError, DataError

EXPECTED = [("a good, long film", "pos"), ("bad; awful", "neg")]


def read(folder: Path, name: str, content: bytes | str, **options: object) -> Examples:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_examples(path, **options)  # type: ignore[arg-type]


def rows(examples: Examples) -> list[tuple[str, str]]:
    return list(zip(examples.texts.to_pylist(), examples.labels.to_pylist(), strict=True))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_delimiters_and_line_ends_are_recognised(
    name: str, end: str, delimiter: str, mark: str, tmp_path: Path
) -> None:
    lines = [["label", "text"], *([label, f'"{text}"'] for text, label in EXPECTED)]
    content = mark + "".join(delimiter.join(line) + end for line in lines)
    expected = EXPECTED if (name, delimiter) != ("a.tsv", "\t") else [(f'"{text}"', label) for text, label in EXPECTED]
    assert rows(read(tmp_path, name, content)) == expected


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_a_first_line_that_names_the_delimiter_is_obeyed(first: str, tmp_path: Path) -> None:
    examples = read(tmp_path, "a.csv", f"{first}\nlabel;text\npos;one, two\n")
    assert (rows(examples), examples.location(0)[-6:]) == ([("one, two", "pos")], "line 3")


def test_a_delimiter_is_not_guessed_where_the_header_does_not_tell_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'text'. The columns are: 'stars', 'review'") as caught:
        read(tmp_path, "a.csv", "stars;review\n5;good\n")
    assert caught.value.argument == "text_column"
    found = read(tmp_path, "a.csv", "stars;review\n5;good\n", text_column="review", label_column="stars")
    assert rows(found) == [("good", "5")] and found.notes == ("fields are separated by ';'",)
    assert rows(read(tmp_path, "a.csv", "label,text,a;b\nx,one;two,c\n")) == [("one;two", "x")]


@pytest.mark.parametrize("lines", [["pos", "neg"], ["neg", "pos"]])
def test_two_columns_without_a_header_are_told_apart(lines: list[str], tmp_path: Path) -> None:
    pairs = [(lines[n % 2], f"film number {n}") for n in range(6)]
    for order in (1, -1):
        for delimiter in ",;\t":
            content = "".join(delimiter.join(pair[::order]) + "\n" for pair in pairs)
            found = read(tmp_path, "a.csv", content, no_header=True)
            assert rows(found) == [(text, label) for label, text in pairs]
            assert found.location(0).endswith("line 1")


def test_columns_without_a_header_are_named_by_number(tmp_path: Path) -> None:
    content = '3,"Title, one",Body\n4,Two,\n'
    found = read(tmp_path, "a.csv", content, no_header=True, label_column="1", text_column="2,3")
    assert rows(found) == [("Title, one Body", "3"), ("Two", "4")]
    with pytest.raises(DataError, match=r"cannot be told apart. Name them by number"):
        read(tmp_path, "a.csv", content, no_header=True)
    with pytest.raises(DataError, match="cannot be told apart"):
        read(tmp_path, "a.csv", "a,b\nc,d\n", no_header=True)


def test_a_header_read_as_data_is_refused(tmp_path: Path) -> None:
    content = "label,text\n" + "".join(f"pos,{n} films\nneg,{n} films more\n" for n in range(4))
    for options in ({}, {"label_column": "1", "text_column": "2"}):
        with pytest.raises(DataError, match=r"line 1: the row is a header, not data.*leave no_header out"):
            read(tmp_path, "a.csv", content, no_header=True, **options)


@pytest.mark.parametrize("header", ["label,text", "\ufefflabel,text", "text,label", "Label, TEXT"])
def test_a_header_that_is_repeated_is_refused_where_it_stands(header: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 3: the row repeats the header"):
        read(tmp_path, "a.csv", f"label,text\npos,one\n{header}\nneg,two\n")
    found = read(tmp_path, "a.csv", f"label,text\npos,one\n{header}\nneg,two\n", skip_bad=True)
    assert (len(found), found.skipped) == (2, 1) and "line 3" in found.first_skipped
    rows = [{"label": "pos", "text": "one"}, {"label": "label", "text": "text"}]
    with pytest.raises(DataError, match=r"line 2: the row repeats the header"):
        read(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def test_several_text_columns_are_joined_by_a_space_in_every_format(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", "title,body,label\nOne,two,x\n,three,y\n"),
        ("a.jsonl", '{"title": "One", "body": "two", "label": "x"}\n{"title": null, "body": "three", "label": "y"}\n'),
        ("a.xlsx", workbook([["title", "body", "label"], ["One", "two", "x"], [None, "three", "y"]])),
    ):
        assert rows(read(tmp_path, name, content, text_column="title,body")) == [("One two", "x"), ("three", "y")]
    assert rows(read(tmp_path, "b.csv", '"title,body",label\nOne,x\n', text_column="title,body")) == [("One", "x")]
    with pytest.raises(DataError, match="there is no column 'nosuch'"):
        read(tmp_path, "a.csv", "title,body,label\nOne,two,x\n", text_column="title,nosuch")


def test_archives_of_one_file_are_read_and_others_refused(tmp_path: Path) -> None:
    content = b"label,text\npos,one\nneg,two\n"
    expected = [("one", "pos"), ("two", "neg")]
    assert rows(read(tmp_path, "a.csv.bz2", bz2.compress(content))) == expected
    assert rows(read(tmp_path, "a.csv.zip", zipped(any=content))) == expected
    assert rows(read(tmp_path, "a.zip", zipped(inner__csv=content))) == expected
    assert rows(read(tmp_path, "a.zip", zipped(inner__txt=b"__label__pos one\n__label__neg two\n"))) == expected
    with pytest.raises(DataError, match=r"holds 2 files: 'a\.csv', 'b\.csv'. Expected one"):
        read(tmp_path, "a.zip", zipped(a__csv=content, b__csv=content))
    with pytest.raises(DataError, match="has no known extension"):
        read(tmp_path, "a.zip", zipped(inner__bin=content))
    with pytest.raises(DataError, match=r"is damaged.*`unzip -t`"):
        read(tmp_path, "a.csv.zip", zipped(any=content)[:-30])


def test_workbooks(tmp_path: Path) -> None:
    table: list[list[object]] = [["label", "text"], ["pos", "one"], [], [7, "two"], [True, None]]
    found = read(tmp_path, "a.xlsx", workbook([["notes"]], table))
    assert rows(found) == [("one", "pos"), ("two", "7"), ("", "true")]
    assert found.location(1).endswith("row 4") and found.notes == ("of 2 sheets, 'sheet 1' is read",)
    with pytest.raises(DataError, match="has 2 sheets with such rows"):
        read(tmp_path, "a.xlsx", workbook(table, table))
    with pytest.raises(DataError, match=r"row 2, column 'text': expected a string, received an integer"):
        read(tmp_path, "a.xlsx", workbook([["label", "text"], ["x", 5]]))
    with pytest.raises(DataError, match=r"row 1: there is no column 'text'"):
        read(tmp_path, "a.xlsx", workbook([["label", "words"], ["x", "5"]]))
    with pytest.raises(DataError, match="is damaged"):
        read(tmp_path, "a.xlsx", workbook(table)[:-40])


def test_a_workbook_without_its_reader_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"whose reader is not installed. Install it .the extra `excel`: openpyxl."):
        read(tmp_path, "a.xlsx", workbook_bytes)


book = io.BytesIO()
openpyxl.Workbook().save(book)
workbook_bytes = book.getvalue()


def test_fasttext_lines(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.txt", "__label__pos a good film\n__label__neg , bad\n")
    assert rows(examples) == [("a good film", "pos"), (", bad", "neg")]
    with pytest.raises(
        DataError, match=r"line 2: expected one label, __label__NAME, before the text, received 2 labels"
    ):
        read(tmp_path, "a.txt", "__label__pos a\n__label__x __label__y b\n")
    with pytest.raises(DataError, match=r"line 2: expected one label.*received none"):
        read(tmp_path, "a.txt", "__label__pos a\nb\n")
    assert read(tmp_path, "a.txt", "__label__pos a\nb\n__label__neg c\n", skip_bad=True).skipped == 1
    with pytest.raises(ArgumentError, match="text_column needs a table"):
        read(tmp_path, "a.txt", "__label__pos a\n", text_column="x")


def test_bad_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    content = 'label,text\npos,one\n,two\nneg,"th"ree\nneg,four\n\xff,five\n'.encode("latin-1")
    with pytest.raises(DataError, match="line 3, column 'label': expected a label, received an empty one"):
        read(tmp_path, "a.csv", content)
    found = read(tmp_path, "a.csv", content, skip_bad=True)
    assert rows(found) == [("one", "pos"), ("four", "neg")]
    assert found.skipped == 3 and found.first_skipped.startswith(f"{tmp_path / 'a.csv'}, line 3, column 'label'")
    with pytest.raises(DataError, match="has no rows of data"):
        read(tmp_path, "b.csv", "label,text\n,a\n", skip_bad=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [("reviews", {"text_column": "x"}), ("reviews", {"label_column": "x"}), ("folder", {"text_column": "x"})],
)
def test_columns_that_nothing_has_are_refused(name: str, options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "folder" / "pos").mkdir(parents=True)
    (tmp_path / "folder" / "pos" / "1.txt").write_text("a")
    with pytest.raises(ArgumentError, match="needs a table"):
        read_examples(name if name == "reviews" else tmp_path / name, **options)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
)
def test_quoted_texts_come_back_whole_with_any_delimiter(texts: list[str], delimiter: str, tmp_path: Path) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    content = f"label{delimiter}text\n" + "".join(f"x{delimiter}{text}\n" for text in quoted)
    assert read(tmp_path, "a.csv", content).texts.to_pylist() == texts
