"""Every file format reads the same rows, and whatever cannot be read is refused with file, line and column."""

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switch_tf.data import delimited, folders, json_rows, opening
from switch_tf.data import rows as readers
from switch_tf.data.examples import Examples, iter_texts, read_examples
from switch_tf.errors import DataError

# Texts in which naive readers trip: separators of other formats, U+0085 and U+2028, NUL, nothing, four-byte UTF-8.
TEXTS = ["plain", 'with, comma and "quotes"', "next\x85line\u2028separator", "a\0b", "", "naïve 🙂", " padded "]
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg", "très bien"]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def as_csv(texts: list[str], labels: list[str]) -> bytes:
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    rows = [f"{label},{text}\r\n" for label, text in zip(labels, quoted, strict=True)]
    return ("label,text\r\n" + "".join(rows)).encode()


def as_tsv(texts: list[str], labels: list[str]) -> bytes:
    return "".join(
        f"{label}\t{text}\n" for label, text in zip(["label", *labels], ["text", *texts], strict=True)
    ).encode()


def as_jsonl(texts: list[str], labels: list[str]) -> bytes:
    rows = [{"id": 1, "text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(texts: list[str], labels: list[str]) -> bytes:
    return parquet(label=pa.array(labels), other=pa.array([0.5] * len(texts)), text=pa.array(texts))


def parquet(**columns: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


WRITERS = {".csv": as_csv, ".tsv": as_tsv, ".jsonl": as_jsonl, ".ndjson": as_jsonl, ".parquet": as_parquet}


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def rows(examples: Examples) -> list[tuple[str, str]]:
    return list(zip(examples.texts.to_pylist(), examples.labels.to_pylist(), strict=True))


def refusal(data: str | Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_examples(data, **options)
    assert caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_reads_the_same_rows(tmp_path: Path, suffix: str, compression: str) -> None:
    content = COMPRESS[compression](WRITERS[suffix](TEXTS, LABELS))
    path = write(tmp_path, f"Train.v1{suffix}{compression}".upper(), content)
    examples = read_examples(path)
    assert rows(examples) == list(zip(TEXTS, LABELS, strict=True))
    assert (examples.texts.type, examples.labels.type) == (pa.large_string(), pa.string())
    assert list(iter_texts(path)) == TEXTS
    first = {".parquet": "row 1", ".jsonl": "line 1", ".ndjson": "line 1"}.get(suffix, "line 2")
    assert examples.location(0) == f"{path}, {first}"


@pytest.mark.parametrize("suffix", WRITERS)
def test_columns_are_found_by_name(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, "swapped" + suffix, WRITERS[suffix](["a", "b"], ["x", "y"]))
    examples = read_examples(str(path), text_column="label", label_column="text")
    assert rows(examples) == [("x", "a"), ("y", "b")]
    assert list(iter_texts(path, "label")) == ["x", "y"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_byte_order_mark_is_skipped_at_the_start_alone(tmp_path: Path, suffix: str) -> None:
    content = WRITERS[suffix](["\ufeffkept", "b"], ["x", "y"])
    path = write(tmp_path, "bom" + suffix, b"\xef\xbb\xbf" + content)
    assert rows(read_examples(path)) == [("\ufeffkept", "x"), ("b", "y")]


def test_csv_keeps_line_breaks_inside_quotes_and_counts_the_line_where_a_row_starts(tmp_path: Path) -> None:
    content = b'text,label\n"one\ntwo\r\nthree",x\n\n"say ""so""",y\nlast,z'
    examples = read_examples(write(tmp_path, "a.csv", content))
    assert rows(examples) == [("one\ntwo\r\nthree", "x"), ('say "so"', "y"), ("last", "z")]
    assert [examples.location(index)[-6:] for index in range(3)] == ["line 2", "line 6", "line 7"]


def test_csv_reads_texts_over_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    text = "word " * 100_000
    examples = read_examples(write(tmp_path, "long.csv", f"text,label\n{text},x\nshort,y\n".encode()))
    assert rows(examples) == [(text, "x"), ("short", "y")]


def test_tsv_has_no_quoting(tmp_path: Path) -> None:
    examples = read_examples(write(tmp_path, "a.tsv", b'text\tlabel\n"open\tx\nit\'s "so"\ty\n'))
    assert rows(examples) == [('"open', "x"), ('it\'s "so"', "y")]


def test_tsv_drops_carriage_returns_only_if_its_header_has_one(tmp_path: Path) -> None:
    with_header = write(tmp_path, "crlf.tsv", b"label\ttext\r\nx\tone\r\ny\ttwo\r\r\n\r\nz\tthree")
    assert rows(read_examples(with_header)) == [("one", "x"), ("two\r", "y"), ("three", "z")]
    without = write(tmp_path, "lf.tsv", b"label\ttext\nx\tone\r\ny\ttwo\n")
    assert rows(read_examples(without)) == [("one\r", "x"), ("two", "y")]


def test_blank_lines_are_passed_over_except_as_the_text_of_a_single_column(tmp_path: Path) -> None:
    examples = read_examples(write(tmp_path, "a.tsv", b"label\ttext\n\nx\tone\n\n"))
    assert (rows(examples), examples.location(0)[-6:]) == ([("one", "x")], "line 3")
    examples = read_examples(write(tmp_path, "a.jsonl", b'\n{"text": "one", "label": "x"}\r\n \t\r\n'))
    assert (rows(examples), examples.location(0)[-6:]) == ([("one", "x")], "line 2")
    assert list(iter_texts(write(tmp_path, "texts.tsv", b"text\none\n\ntwo\n"))) == ["one", "", "two"]


def test_labels_may_be_integers_and_booleans(tmp_path: Path) -> None:
    lines = b'{"text": "a", "label": 1}\n{"text": "b", "label": false}\n{"text": "c", "label": "1"}\n'
    assert read_examples(write(tmp_path, "a.jsonl", lines)).labels.to_pylist() == ["1", "false", "1"]
    columns = {"int": pa.array([0, -7]), "bool": pa.array([True, False])}
    columns["category"] = pa.array(["x", "y"]).dictionary_encode()
    columns["view"] = pa.array(["v", "w"], type=pa.string_view())
    path = write(tmp_path, "a.parquet", parquet(**{"a.text": pa.array(["a", "b"])}, **columns))
    found = {name: read_examples(path, text_column="a.text", label_column=name).labels.to_pylist() for name in columns}
    assert found == {"int": ["0", "-7"], "bool": ["true", "false"], "category": ["x", "y"], "view": ["v", "w"]}


def test_labels_may_have_200_characters(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", f"text\tlabel\na\t{'x' * 200}\n".encode())
    assert read_examples(path).labels.to_pylist() == ["x" * 200]


def test_parquet_rows_are_counted_across_batches_and_row_groups(tmp_path: Path) -> None:
    labels = ["x"] * 2500 + [""]
    pq.write_table(pa.table({"text": ["t"] * 2501, "label": labels}), tmp_path / "a.parquet", row_group_size=700)
    assert f"{tmp_path / 'a.parquet'}, row 2501, column 'label': expected a label" in refusal(tmp_path / "a.parquet")


def test_texts_alone_need_no_labels(tmp_path: Path) -> None:
    assert list(iter_texts(write(tmp_path, "a.csv", b'id,review\n1,"one, two"\n2,\n'), "review")) == ["one, two", ""]
    assert list(iter_texts(write(tmp_path, "a.jsonl", b'{"text": "one"}\n{"text": "two", "label": null}\n'))) == [
        "one",
        "two",
    ]


def test_texts_stream(tmp_path: Path) -> None:
    texts = iter_texts(write(tmp_path, "a.tsv", b"text\none\ntwo\tcolumns\n"))
    assert next(texts) == "one"
    with pytest.raises(DataError, match="line 3"):
        next(texts)


NO_COLUMN = "there is no column 'text'. The columns are: 'label', 'review'. Name the right one: text_column."
LONG = b"x" * (16 * 2**20)
REFUSED = {
    # Tables and their headers.
    ("empty.csv", b""): ["is empty"],
    ("empty.tsv.gz", b""): ["is empty"],
    ("packed.tsv.xz", lzma.compress(b"")): ["line 1", "The columns are: none"],
    ("blank.jsonl", b"\n\n"): ["has no rows of data"],
    ("header.csv", b"label,text\n"): ["has no rows of data"],
    ("header.tsv", b"label\ttext"): ["has no rows of data"],
    ("header.parquet", as_parquet([], [])): ["has no rows of data"],
    ("column.csv", b"label,review\nx,a\n"): ["line 1", NO_COLUMN],
    ("column.tsv", b"label\treview\nx\ta\n"): ["line 1", NO_COLUMN],
    ("column.jsonl", b'{"label": "x", "review": "a"}\n'): ["line 1", NO_COLUMN],
    ("column.parquet", parquet(label=pa.array(["x"]), review=pa.array(["a"]))): [NO_COLUMN],
    ("late.jsonl", b'{"label": "x", "text": "a"}\n{"text": "b"}\n'): ["line 2", "no column 'label'", "label_column"],
    ("twice.csv", b"text,label,text\na,x,b\n"): ["line 1", "column 'text' stands there more than once"],
    ("twice.jsonl", b'{"text": "a", "label": "x", "label": "y"}\n'): ["line 1", "column 'label' stands there more"],
    # Fields.
    ("few.csv", b"text,label\na,x\nb\n"): ["line 3", "expected 2 fields as in the header, received 1"],
    ("many.tsv", b"label\ttext\nx\ta\tb\n"): ["line 2", "expected 2 fields as in the header, received 3"],
    ("quote.csv", b'text,label\na,x\n"b" c,y\n'): ["line 3", "',' expected after '\"'", "in quotes"],
    ("open.csv", b'text,label\na,x\n"b,y\nc,z\n'): ["line 3", "unexpected end of data"],
    # Values.
    ("number.jsonl", b'{"text": 1.5, "label": "x"}'): ["column 'text'", "received a number"],
    ("nested.jsonl", b'{"text": {"a": 1}, "label": "x"}'): ["column 'text'", "received an object"],
    ("array.jsonl", b'{"text": ["a"], "label": "x"}'): ["column 'text'", "received an array"],
    ("label.jsonl", b'{"text": "a", "label": 0.5}'): ["line 1, column 'label'", "received a number"],
    ("nothing.jsonl", b'{"text": "a", "label": null}'): ["line 1, column 'label'", "received null"],
    ("surrogate.jsonl", b'{"text": "ab\\ud800", "label": "x"}'): ["column 'text'", "character 3 is half of a surrog"],
    ("digits.jsonl", b'{"text": "a", "label": ' + b"1" * 5000 + b"}"): ["line 1", "4300 digits", "as a string"],
    ("label.csv", b"text,label\na,x\nb,\n"): ["line 3, column 'label'", "expected a label, received an empty one"],
    ("label.tsv", b"text\tlabel\na\t \n"): ["line 2, column 'label'", "expected a label, received an empty one"],
    ("lines.csv", b'text,label\na,"x\ny"\n'): ["line 2, column 'label'", "expected a label of one line", r"'x\ny'"],
    ("swapped.tsv", b"text\tlabel\na\t" + b"b" * 201 + b"\n"): ["line 2, column 'label'", "at most 200 characters"],
    ("nulls.parquet", parquet(text=pa.array(["a"]), label=pa.nulls(1))): ["row 1, column 'label'", "received null"],
    ("integer.parquet", parquet(text=pa.array([1]), label=pa.array(["x"]))): [
        "row 1, column 'text'",
        "received an integer",
    ],
    ("float.parquet", parquet(text=pa.array(["a"]), label=pa.array([0.5]))): ["column 'label'", "received double"],
    ("binary.parquet", parquet(text=pa.array([b"a"]), label=pa.array(["x"]))): ["column 'text'", "received binary"],
    # JSON.
    ("array.ndjson", b'["a", "x"]\n'): ["line 1", "expected one JSON object in each line, received an array"],
    ("broken.jsonl", b'{"text": "a", "label": "x"}\n{"text": \n'): ["line 2", "not valid JSON at character 1"],
    ("deep.jsonl", b'{"text": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"): ["line 1", "nested too deep"],
    # Bytes.
    ("latin.csv", b"text,label\na,x\nna\xefve,y\n"): ["line 3, byte 3: 0xef is not", "`iconv -f cp1252 -t utf-8`"],
    ("latin.tsv", b"\xef\xbb\xbftext\xe9\tlabel\na\tx\n"): ["line 1, byte 8: 0xe9 is not UTF-8", "iconv"],
    ("cut.jsonl.gz", gzip.compress(b'{"text": "a", "label": "x"}\n{"\xf0\x9f')): [
        "line 2, byte 3: 0xf0 is not",
        "iconv",
    ],
    ("wide.csv", "text,label\na,x\n".encode("utf-16")): ["holds UTF-16 text, not CSV", "`iconv -f utf-16 -t utf-8`"],
    ("string.parquet", parquet(text=pa.array([b"a", b"\xff"]).view(pa.string()), label=pa.array(["x", "y"]))): [
        "row 2",
        "not UTF-8",
    ],
    # Size.
    ("long.tsv", b"text\tlabel\na\tx\n" + LONG + b"\tx\n"): ["line 3", "over 16 MiB"],
    ("long.csv", b'text,label\na,x\n"b,y\n' + (b"c" * 2**20 + b"\n") * 17): [
        "line 3",
        "over 16 MiB",
        "Is a quote left open?",
    ],
    ("long.jsonl.xz", lzma.compress(LONG + b" ", preset=0)): ["line 1", "over 16 MiB"],
    ("long.parquet", parquet(text=pa.array([LONG.decode() + "x"]), label=pa.array(["x"]))): [
        "row 1, column 'text'",
        "over 16 MiB",
    ],
    # Damage.
    ("cut.tsv.gz", gzip.compress(as_tsv(["a"] * 9, ["x"] * 9))[:-9]): ["is damaged", "ended before", "gzip -t"],
    ("flipped.tsv.gz", gzip.compress(b"x")[:-8] + bytes(8)): ["is damaged", "CRC check failed"],
    ("plain.csv.gz", b"text,label\na,x\n"): [
        "is damaged",
        "does not begin as .gz files do. It holds plain text: name it plain.csv.",
    ],
    ("block.csv.gz", gzip.compress(b"")[:10] + b"\xff" * 9): ["is damaged", "invalid block type"],
    ("cut.tsv.xz", lzma.compress(as_tsv(["a"], ["x"]))[:-9]): ["is damaged", "ended before", "xz -t"],
    ("plain.csv.xz", b"text,label\na,x\n"): [
        "is damaged",
        "does not begin as .xz files do. It holds plain text: name it plain.csv.",
    ],
    ("plain.parquet", b"text,label\na,x\n"): ["is damaged or not parquet"],
    ("name.parquet", parquet(TEXT=pa.array(["a"])).replace(b"TEXT", b"T\xffXT")): ["is damaged or not parquet"],
    ("footer.parquet", as_parquet(["a"], ["x"])[:-40] + bytes(32) + b"\x20\0\0\0PAR1"): ["cannot be read", "undamaged"],
    ("cut.parquet", as_parquet(TEXTS, LABELS)[:-20]): ["is damaged or not parquet"],
    # Names.
    ("data.txt", b"text,label\na,x\n"): ["holds texts, one a line, without labels", "__label__NAME", "csv, tsv"],
    ("data.csv.bak", b"text,label\na,x\n"): [
        "has no known extension",
        ".csv, .tsv, .jsonl, .ndjson, .json, .parq",
        ".xz",
    ],
    ("data.csv.zip", b"PK"): ["is damaged", "does not begin as .zip files do"],
    ("data.gz", gzip.compress(b"text,label\na,x\n")): ["has no known extension"],
    ("data", b"text,label\na,x\n"): ["holds texts, one a line, without labels"],
}


@pytest.mark.parametrize(("file", "expected"), REFUSED.items(), ids=[name for name, _ in REFUSED])
def test_refused_files(tmp_path: Path, file: tuple[str, bytes], expected: list[str]) -> None:
    path = write(tmp_path, *file)
    message = refusal(path)
    assert message.startswith(f"{path}")
    assert len(message) < 600
    for part in expected:
        assert part in message


def limit_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (readers, delimited, folders, json_rows):
        monkeypatch.setattr(module, "ROW_LIMIT", 64)


@pytest.mark.parametrize("row", ["a.tsv: TEXT\tx\n", 'a.csv: "TEXT",x\n', 'a.jsonl: {"text": "TEXT", "label": "x"}\n'])
def test_a_row_of_the_greatest_length_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    name, row = row.split(": ", 1)
    header = {"a.tsv": "text\tlabel\n", "a.csv": "text,label\n"}.get(name, "")
    limit_rows(monkeypatch)
    text = "word\n" * 20 if name == "a.csv" else "x" * 100
    text = text[: 64 - len(row) + len("TEXT")]
    assert rows(read_examples(write(tmp_path, name, (header + row.replace("TEXT", text)).encode()))) == [(text, "x")]
    assert "over 16 MiB" in refusal(write(tmp_path, name, (header + row.replace("TEXT", text + ".")).encode()))


def test_a_text_of_the_greatest_length_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_rows(monkeypatch)
    write(tmp_path, "x/1.txt", b"t" * 64)
    assert read_examples(tmp_path).texts.to_pylist() == ["t" * 64]
    assert len(read_examples(write(tmp_path, "a.parquet", as_parquet(["t" * 64], ["x"])))) == 1
    assert "over 16 MiB" in refusal(write(tmp_path, "a.parquet", as_parquet(["t" * 65], ["x"])))


def test_duplicate_columns_of_parquet(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"], ["x"]], names=["text", "text", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "column 'text' stands there more than once" in refusal(tmp_path / "a.parquet")


def test_columns_nobody_asked_for_may_stand_twice(tmp_path: Path) -> None:
    assert rows(read_examples(write(tmp_path, "a.csv", b",,text,label\n1,2,a,x\n"))) == [("a", "x")]


def test_one_column_is_not_both(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"text,label\na,x\n")
    assert "Column 'text' is named as text and as label" in refusal(path, label_column="text")


def test_compressed_parquet_is_unpacked_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.parquet.gz", gzip.compress(as_parquet(["a"], ["x"])))
    monkeypatch.setattr(opening, "_SEEKABLE_LIMIT", 100)
    assert f"{path} unpacks to over" in refusal(path)


def test_damaged_bytes_anywhere_are_refused_or_read(tmp_path: Path) -> None:
    """No flipped byte ends in another exception than a refusal."""
    for suffix, compression in [(".parquet", ""), (".tsv", ".gz"), (".tsv", ".xz"), (".jsonl", ""), (".csv", "")]:
        content = COMPRESS[compression](WRITERS[suffix](TEXTS, LABELS))
        for position in range(0, len(content), max(1, len(content) // 60)):
            damaged = bytearray(content)
            damaged[position] ^= 0x55
            path = write(tmp_path, f"a{suffix}{compression}", bytes(damaged))
            try:
                read_examples(path)
            except DataError as error:
                assert str(path) in str(error)


def test_missing_file(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none.csv")
    assert f"There is no {tmp_path / 'none.csv'}. Expected a .csv, .tsv, .jsonl" in message
    assert "an embedded set: reviews" in message
    with pytest.raises(DataError, match=r"There is no file .*none\.csv"):
        list(iter_texts(tmp_path / "none.csv"))
    assert "File name too long" in refusal("a text, not a path " * 100)


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "pos/1.txt", b"text")
    table = write(tmp_path, "a.csv", b"text,label\na,x\n")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:  # modes do not stop a superuser, who may run the tests
        patch.setattr(Path, "open", denied)
        assert f"{table} cannot be read: permission denied" in refusal(table)
        assert f"{path} cannot be read: permission denied" in refusal(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", denied)
        assert f"{tmp_path} cannot be read: permission denied" in refusal(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", denied)
        assert f"{table} cannot be read: permission denied" in refusal(table)
