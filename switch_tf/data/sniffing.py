"""What a file really is, by its first bytes: a name may say .csv and the content be gzip, Excel or a page of HTML.

>>> recognise(bytes.fromhex("1f8b0800")).what
'gzip'
>>> recognise("label,text\\n".encode("utf-16")).what
'UTF-16 text'
>>> recognise(b"label,text\\npos,a film\\n") is None
True
"""

import re
from typing import NamedTuple

from switch_tf.data.source import Source

HEAD = 2**16  # bytes that are looked at
_HALF = "UTF-16 text"


class Content(NamedTuple):
    """What a file holds, and what to do about it: NAME stands for its name without its last extension."""

    what: str
    remedy: str


_UNPACK = "Name it NAME.csv{0} (or with the extension of what is inside) or unpack it"
_EXCEL = Content("an Excel workbook", "Name it NAME.xlsx, or save it as CSV in UTF-8")
_BY_FIRST_BYTES = (
    (b"\x1f\x8b", Content("gzip", _UNPACK.format(".gz"))),
    (b"\xfd7zXZ\0", Content("xz", _UNPACK.format(".xz"))),
    (b"BZh", Content("bzip2", _UNPACK.format(".bz2"))),
    (b"\x28\xb5\x2f\xfd", Content("zstd", _UNPACK.format(".zst"))),
    (b"PK\x03\x04", Content("a zip archive", _UNPACK.format(".zip"))),
    (b"PK\x05\x06", Content("an empty zip archive", "Fetch it again")),
    (b"PAR1", Content("parquet", "Name it NAME.parquet")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Content("an old or encrypted Excel file", "Save it as CSV in UTF-8")),
    (b"\x04\x22\x4d\x18", Content("lz4", "Unpack it")),
    (b"\x89PNG\r\n", Content("a picture", "Write the texts into a table first")),
    (b"\xff\xd8\xff", Content("a picture", "Write the texts into a table first")),
    (b"\x80\x02", Content("a pickle of Python", "Write it as CSV or parquet")),
    (b"\x80\x03", Content("a pickle of Python", "Write it as CSV or parquet")),
    (b"\x80\x04\x95", Content("a pickle of Python", "Write it as CSV or parquet")),
    (b"\x80\x05\x95", Content("a pickle of Python", "Write it as CSV or parquet")),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", "Unpack it")),
    (b"Rar!\x1a\x07", Content("a RAR archive", "Unpack it")),
    (b"%PDF-", Content("a PDF document", "Extract its texts into a table first")),
    (b"{\\rtf", Content("an RTF document", "Save it as CSV in UTF-8")),
    (b"SQLite format 3\0", Content("an SQLite database", "Export the table as CSV")),
    (b"ARROW1", Content("Arrow or Feather", "Write it as parquet")),
    (b"ORC", Content("ORC", "Write it as parquet")),
    (b"Obj\x01", Content("Avro", "Write it as parquet")),
    (b"\x89HDF\r\n\x1a\n", Content("HDF5", "Write it as parquet")),
    (b"\x93NUMPY", Content("a NumPy array", "Write it as CSV or parquet")),
    (b"version https://git-lfs.github.com/spec/", Content("a Git LFS pointer", "Fetch the data: `git lfs pull`")),
    (b"\xff\xfe\0\0", Content("UTF-32 text", "Convert it with `iconv -f utf-32 -t utf-8`")),
    (b"\0\0\xfe\xff", Content("UTF-32 text", "Convert it with `iconv -f utf-32 -t utf-8`")),
    (b"\xff\xfe", Content(_HALF, "Convert it with `iconv -f utf-16 -t utf-8`")),
    (b"\xfe\xff", Content(_HALF, "Convert it with `iconv -f utf-16 -t utf-8`")),
)
_WEAK = (
    "bzip2",
    "ORC",
    "parquet",
    "Arrow or Feather",
)  # signatures of letters alone: what follows has to bear them out
_HTML = re.compile(
    rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head)\b[^>]*>[ \t]*(\r|\n|<|$)", re.IGNORECASE | re.DOTALL
)
_XML = re.compile(rb"\s*<\?xml\b")
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


def recognise(head: bytes, lines: bool = False) -> Content | None:
    """What begins with `head`, if it is something that is known not to be UTF-8 text, or not the data.

    Among `lines` of text a page of HTML may be a text: it is a page if nothing but its first tag is in the first line.
    """
    for start, content in _BY_FIRST_BYTES:
        if head.startswith(start) and not (content.what in _WEAK and not _is_binary(head)):
            return _EXCEL if content.what == "a zip archive" and _is_workbook(head) else content
    if len(head) > 262 and head[257:262] == b"ustar":
        return Content("a tar archive", "Unpack it")
    plain = head.removeprefix(b"\xef\xbb\xbf")
    page = _HTML.match(plain)
    if page and not (lines and page[3] == b"<"):
        return Content(
            "an HTML page", "It is not the data but a page about it (a login, an error?): fetch the raw file"
        )
    if _XML.match(plain) and not lines:
        return Content("XML", "Turn it into a table first")
    return _wide(head) or _binary(head)


def as_compression(head: bytes) -> str:
    """The extension that the compression of `head` has, such as ".gz"; "" for what is not compressed."""
    kinds = {"gzip": ".gz", "xz": ".xz", "bzip2": ".bz2", "zstd": ".zst", "a zip archive": ".zip"}
    found = recognise(head)
    if found is _EXCEL:
        return ".zip"
    return kinds.get(found.what, "") if found else ""


def remedy(content: Content, path: Source) -> str:
    """What to do with this file."""
    return content.remedy.replace("NAME", path.name.removesuffix(path.suffix) if path.suffix else path.name)


def ends_lines_with_cr(head: bytes) -> bool:
    """Whether lines end in a carriage return alone, as on the first Macs and in some exports of Excel."""
    return b"\n" not in head and b"\r" in head.rstrip(b"\r")


def _is_workbook(head: bytes) -> bool:
    return b"xl/" in head or b"[Content_Types].xml" in head


def _is_binary(head: bytes) -> bool:
    return not _is_utf8(head[:1024]) or bool(_CONTROL.search(head[:1024]))


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character that was cut
    return True


def _wide(head: bytes) -> Content | None:
    """Text of two (or four) bytes a character without a byte order mark: every second byte is NUL, or nearly."""
    pairs = len(head) // 2
    if pairs < 4:
        return None
    even, odd = head[: 2 * pairs : 2], head[1 : 2 * pairs : 2]
    zeros = head.count(0)
    if min(even.count(0), odd.count(0)) * 3 > pairs and 10 * pairs > 6 * zeros > 7 * pairs:
        return Content("UTF-32 text", "Convert it with `iconv -f utf-32le -t utf-8`")
    for name, high, low in (("utf-16le", odd, even), ("utf-16be", even, odd)):
        if low.count(0) == 0 and _are_high_bytes(high, low, head):
            return Content(_HALF, f"Convert it with `iconv -f {name} -t utf-8`")
    return None


def _are_high_bytes(high: bytes, low: bytes, head: bytes) -> bool:
    # Latin text has a NUL for nearly every character, Cyrillic one for each space; a few NULs may be in any text.
    pairs, zeros = len(high), high.count(0)
    if zeros * 4 >= pairs * 3 or (pairs >= 32 and zeros * 8 >= pairs):
        return True
    breaks = [high[position] for position, byte in enumerate(low) if byte == 10]
    return bool(breaks) and not any(breaks) and _is_binary(head)


def _binary(head: bytes) -> Content | None:
    strange = head.count(0) + len(_CONTROL.findall(head))
    if len(head) >= 64 and strange * (3 if _is_utf8(head) else 20) > len(head):
        return Content("not text (bytes of no character, such as NULs)", "Fetch or write it again")
    return None
