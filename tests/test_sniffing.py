"""What a file really is: each kind of wrong content is named, and no text is mistaken for one."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.data.examples import read_examples
from switch_tf.data.sniffing import as_compression, ends_lines_with_cr, recognise
from switch_tf.data.streams import open_lines
from switch_tf.errors import DataError

ROWS = "label,text\n" + "".join(f"pos,a good film {n}\nneg,a bad film {n}\n" for n in range(20))
RUSSIAN = "label,text\n" + "pos,очень хорошо и весело\nneg,плохо и скучно\n" * 20
CHINESE = "label,text\n" + "pos,这部电影很好看\nneg,这部电影不好看\n" * 20


def workbook(*sheets: Sequence[Sequence[object]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet {number}")
        for row in rows:
            sheet.append(list(row))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in files.items():
            archive.writestr(name.replace("__", "."), each)
    return content.getvalue()


def zstd_file(path: Path, content: bytes) -> bytes:
    with pa.CompressedOutputStream(pa.OSFile(str(path), "w"), "zstd") as stream:
        stream.write(content)
    return path.read_bytes()


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), sink)
    return sink.getvalue().to_pybytes()


CONTENT = {
    "gzip": (gzip.compress(ROWS.encode()), "holds gzip", "data.csv.gz"),
    "xz": (lzma.compress(ROWS.encode()), "holds xz", "data.csv.xz"),
    "bzip2": (bz2.compress(ROWS.encode()), "holds bzip2", "data.csv.bz2"),
    "zip": (zipped(data__csv=ROWS.encode()), "holds a zip archive", "data.csv.zip"),
    "excel": (workbook([["label", "text"]]), "holds an Excel workbook", "data.xlsx"),
    "old excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old or encrypted Excel", "Save it as CSV"),
    "parquet": (parquet(), "holds parquet", "data.parquet"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html>\n<html><head>", "holds an HTML page", "fetch the raw file"),
    "html in capitals": (b"<HTML><BODY>404", "holds an HTML page", "fetch the raw file"),
    "xml": (b"<?xml version='1.0'?><rss>", "holds XML", "table"),
    "pdf": (b"%PDF-1.7\n", "holds a PDF document", "Extract"),
    "sqlite": (b"SQLite format 3\0" + bytes(50), "holds an SQLite database", "Export"),
    "utf-16": (ROWS.encode("utf-16"), "holds UTF-16 text", "iconv -f utf-16 -t"),
    "utf-16le": (ROWS.encode("utf-16-le"), "holds UTF-16 text", "iconv -f utf-16le"),
    "utf-16be": (ROWS.encode("utf-16-be"), "holds UTF-16 text", "iconv -f utf-16be"),
    "utf-16le in Russian": (RUSSIAN.encode("utf-16-le"), "holds UTF-16 text", "iconv -f utf-16le"),
    "utf-16be in Chinese": (CHINESE.encode("utf-16-be"), "holds UTF-16 text", "iconv -f utf-16be"),
    "utf-32": (ROWS.encode("utf-32"), "holds UTF-32 text", "iconv -f utf-32"),
    "utf-32le": (ROWS.encode("utf-32-le"), "holds UTF-32 text", "iconv -f utf-32"),
    "lz4": (b"\x04\x22\x4d\x18" + bytes(30), "holds lz4", "Unpack"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(30), "holds a picture", "into a table"),
    "a pickle": (b"\x80\x04\x95" + bytes(30), "holds a pickle", "CSV or parquet"),
    "zeros": (bytes(1000), "holds not text", "again"),
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("extension", ["csv", "jsonl", "json", "tsv", "txt"])
def test_content_that_is_not_what_the_name_says_is_named_with_its_remedy(
    name: str, extension: str, tmp_path: Path
) -> None:
    content, what, remedy = CONTENT[name]
    if extension == "txt" and name in ("xml", "html in capitals"):
        return  # one of many lines of text may well begin so
    path = tmp_path / f"data.{extension}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert what in str(caught.value) and remedy in str(caught.value)
    assert "cp1252" not in str(caught.value)


def test_zstd_is_named_and_read(tmp_path: Path) -> None:
    content = zstd_file(tmp_path / "a.zst", ROWS.encode())
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"holds zstd.*Name it a\.csv\.zst"):
        read_examples(tmp_path / "a.csv")
    (tmp_path / "b.csv.zst").write_bytes(content)
    assert len(read_examples(tmp_path / "b.csv.zst")) == 40
    (tmp_path / "c.csv.zst").write_bytes(content[:-7])
    with pytest.raises(DataError, match="cannot be read: Truncated compressed stream"):
        read_examples(tmp_path / "c.csv.zst")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\r\0"), max_size=300))
def test_utf8_text_is_never_taken_for_something_else(text: str) -> None:
    content = text.encode()
    if content.count(0) * 16 > len(content):
        return  # mostly NULs: not text
    found = recognise(content)
    assert found is None or found.what in ("an HTML page", "XML", "a Git LFS pointer"), found


@given(st.sampled_from(["utf-16-le", "utf-16-be"]), st.text(st.characters(codec="ascii", min_codepoint=32), min_size=8))
def test_ascii_in_utf16_is_recognised(encoding: str, text: str) -> None:
    found = recognise(text.encode(encoding))
    assert found is not None and found.what == "UTF-16 text"


@pytest.mark.parametrize(
    "text",
    ["BZh is how it begins", "PAR1S is a city", "ORCs are many", "a\0b\n", "[spam]", "{x}", "PKs", "<b>bold</b>"],
)
def test_texts_that_begin_alike_are_texts(text: str) -> None:
    assert recognise(text.encode(), lines=True) is None


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        ("label:text\npos:a film\n", "Fields seem to be separated by ':'"),
        ("text\x01label\na film\x01pos\n", r"Fields seem to be separated by '\\x01'"),
        ('[{"label": "pos", "text": "a film"}]', "It seems to be JSON: give the file the extension"),
        ('{"label": "pos", "text": "a film"}\n', "It seems to be JSON: give the file the extension"),
        ("star:rating\n", "Name the right one"),
        ("review,stars\n", "Name the right one"),
    ],
)
def test_a_header_that_is_none_has_the_right_remedy(content: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=remedy):
        read_examples(tmp_path / "a.csv")
    with pytest.raises(DataError, match=remedy):
        next(open_lines(str(tmp_path / "a.csv")))


def test_carriage_returns_alone_end_lines_where_there_is_no_line_feed() -> None:
    assert ends_lines_with_cr(b"a\rb\r") and not ends_lines_with_cr(b"a\r\nb") and not ends_lines_with_cr(b"a\r")
    assert as_compression(b"plain") == ""
