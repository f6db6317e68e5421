"""Writes a `TextSpec` down as an ONNX graph of standard operators, so that an ONNX model reads strings by itself.

The graph gives the ids of `switch_tf.text.from_strings.KerasText`, bit for bit, in every ONNX Runtime from 1.18 on,
browsers included. ONNX has no operator that replaces one character by another, but one that splits strings at a
character (StringSplit) and one that joins two (StringConcat). Both together replace: see `_replace`. To pay for an
operator once a batch and not once a text, the texts are first joined to one line:

    text    ["It's GOOD", "No!\\tNo"]            string [batch]
    rows    ["It's GOOD", "No!\\tNo", ""]        string [batch + 1]: the last one makes an empty batch work
    spaces  ["It's GOOD", "No! No", ""]         no other white space is left
    lower   ["it's good", "no! no", ""]
    line    ["it's good|no! no||"]              string [1]: | stands for the row end, a newline
    strip   ["its good|no no||"]
    words   [["its", "good"], ["no", "no"]]     string [batch, most words of a text]
    ids     [[1, 27, 0, 0], [14, 14, 0, 0]]     int32 [batch, L]

Sources: https://onnx.ai/onnx/operators (opset 20, ai.onnx.ml 2). Two habits of ONNX Runtime shape the graph:
StringSplit without a delimiter splits at U+0020 only, and StringNormalizer lowers more than ASCII on some platforms.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from switch_tf.export.onnx_file.graph import Graph, info
from switch_tf.text.spec import FIRST_WORD_ID, PADDING, TextSpec
from switch_tf.text.vocabulary import check_vocabulary

OPSETS = {"": 20, "ai.onnx.ml": 2}
IR_VERSION = 9

_ROW_END = "\n"  # of a line; no row holds one once `_whitespace_to_spaces` is done
# Its row end until then. No beginning of it is an ending of it, so it is found even beside text that looks like it.
_LONG_ROW_END = "\f" + "\v" * 255
_PUNCTUATION = (".,", "'\"-()", "!?:;&", "</>", "#$%*+=@[\\]^_`{|}~")  # in groups too, frequent ones first
_RADIX = 3  # strings joined at a time: two take longer in large batches, four make the graph larger for no gain
_LAST = 2**63 - 1

# Ranges of non-ASCII characters that no platform's towlower() changes, so that StringNormalizer may see them.
_CASELESS = (
    *((0x80, 0xBF), (0xD7, 0xD7), (0xDF, 0xFF), (0x300, 0x36F), (0x590, 0x109F), (0x1100, 0x11FF), (0x2000, 0x20CF)),
    *((0x2190, 0x245F), (0x2500, 0x2BFF), (0x3000, 0xA63F), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFE6F)),
    *((0xFF00, 0xFF20), (0xFF3B, 0xFFEF), (0x1F000, 0x1FAFF), (0x20000, 0x3FFFF)),
)


def build_text_front_end(spec: TextSpec, vocabulary: Sequence[str]) -> onnx.ModelProto:
    """A model from `text`, string [batch], to `ids`, int32 [batch, spec.sequence_length]; the batch may be 0.

    Every name but `text` and `ids` begins with "text/", so that `onnx.compose.merge_models` needs no prefix.

    Raises:
        DataError: the vocabulary is not one that a `TextSpec` allows; see `check_vocabulary`.
    """
    check_vocabulary(spec, vocabulary)
    graph = Graph()
    rows = graph.op("Concat", "text", graph.strings(""), axis=0)  # [batch + 1]
    rows = _whitespace_to_spaces(graph.stage("spaces"), rows)
    if spec.standardize in ("lower", "lower_and_strip_punctuation"):
        rows = _lower(graph.stage("lower"), rows)
    if spec.standardize in ("strip_punctuation", "lower_and_strip_punctuation"):
        rows = _strip_punctuation(graph.stage("strip"), rows)
    rows = graph.slice(rows, 0, -1)  # [batch]
    words = _split_on_spaces(graph.stage("words"), rows, spec.sequence_length)  # [batch, most words of a text]
    ids = _look_up(graph.stage("ids"), words, vocabulary)
    _pad(graph.stage("pad"), ids, spec.sequence_length)  # [batch, sequence_length]
    return _model(graph, spec.sequence_length)


def _whitespace_to_spaces(graph: Graph, rows: str) -> str:
    """Every kind of white space becomes a space: string [n] -> string [n].

    Most batches hold no other kind, and cost one look. The rest goes through a line as well, but its row ends must
    differ from all that a text may hold: they are long, and a text that holds one itself is cut there first. (A short
    row end would do for that too. But for a text of a million of them, `parts` would be n million strings.)
    """

    def through_a_line(graph: Graph) -> str:
        parts = graph.op("StringConcat", graph.split(rows, delimiter=_LONG_ROW_END), graph.strings(" "))  # [n, m]
        column = graph.op("Concat", graph.op("Shape", rows), graph.ints(1), axis=0)
        ends = graph.op("Expand", graph.strings(_LONG_ROW_END), column)  # [n, 1]
        line = _join(graph, graph.op("Reshape", graph.op("Concat", parts, ends, axis=1), graph.ints(-1)))  # [1]
        line = _replace_each(graph, line, "\n", " ")
        line = _replace_each(graph, line, "\t\r\0", " ")
        line = _join_rows(graph, _split_rows(graph, line, _LONG_ROW_END))
        line = _replace_each(graph, line, "\v\f", " ")
        return _split_rows(graph, line)

    only_spaces = _all(graph, _match(graph, rows, _none_of("\n\t\r\0\v\f")))
    return graph.choose(only_spaces, lambda graph: graph.op("Identity", rows), through_a_line)


def _lower(graph: Graph, rows: str) -> str:
    """A-Z become a-z and nothing else changes: string [n] -> string [n].

    StringNormalizer does it at once for texts where it can do nothing else; the other texts go letter by letter.
    """
    easy = _match(graph, rows, _ascii_or_caseless())  # bool [n]
    empty = graph.strings("")
    lowered = graph.op(
        "StringNormalizer",
        graph.op("Where", easy, rows, empty),
        case_change_action="LOWER",
        is_case_sensitive=1,
        locale="C",  # slim containers lack the default, en_US
    )

    def add_others(graph: Graph) -> str:
        line = _join_rows(graph, graph.op("Where", easy, empty, rows))
        for letter in string.ascii_uppercase:
            line = _replace(graph, line, letter, letter.lower())
        return graph.op("StringConcat", lowered, _split_rows(graph, line))

    return graph.choose(_all(graph, easy), lambda graph: graph.op("Identity", lowered), add_others)


def _strip_punctuation(graph: Graph, rows: str) -> str:
    """`string.punctuation` vanishes, so that "don't" becomes "dont": string [n] -> string [n]."""
    line = _join_rows(graph, rows)
    for characters in _PUNCTUATION:
        line = _replace_each(graph, line, characters, "")
    return _split_rows(graph, line)


def _split_on_spaces(graph: Graph, rows: str, length: int) -> str:
    """At most `length` words of each row, "" behind the last: string [batch] -> string [batch, most words of a row]."""
    words = graph.split(rows, maxsplit=length)  # a column behind the last word holds the text that was not split
    return graph.slice(words, 0, length, axis=1)


def _look_up(graph: Graph, words: str, vocabulary: Sequence[str]) -> str:
    """Words to ids, 0 for "" and 1 for words out of vocabulary: string [batch, n] -> int32 [batch, n]."""
    ids = graph.op(
        "LabelEncoder",
        words,
        keys_strings=[PADDING, *vocabulary],
        values_int64s=[0, *range(FIRST_WORD_ID, FIRST_WORD_ID + len(vocabulary))],
        default_int64=1,
    )
    return graph.op("Cast", ids, to=TensorProto.INT32)


def _pad(graph: Graph, ids: str, length: int) -> str:
    """Ids filled up with 0, under the name `ids`: int32 [batch, n <= length] -> int32 [batch, length]."""
    missing = graph.op("Sub", graph.ints(length), graph.op("Shape", ids, start=1))
    return graph.op("Pad", ids, graph.op("Concat", graph.ints(0, 0, 0), missing, axis=0), output="ids")


def _join_rows(graph: Graph, rows: str) -> str:
    """Rows to one line, each followed by a row end: string [n] -> string [1]."""
    return _join(graph, graph.op("StringConcat", rows, graph.strings(_ROW_END)))


def _split_rows(graph: Graph, line: str, row_end: str = _ROW_END) -> str:
    """The rows of a line, without what stands behind the last row end: string [1] -> string [n]."""
    return graph.slice(_split(graph, line, row_end), 0, -1)


def _replace_each(graph: Graph, line: str, characters: str, new: str) -> str:
    """Each of `characters` becomes `new`; where there are none, that costs one look: string [1] -> string [1]."""

    def replace(graph: Graph) -> str:
        replaced = line
        for character in characters:
            replaced = _replace(graph, replaced, character, new)
        return replaced

    untouched = _match(graph, line, _none_of(characters))  # bool [1]
    return graph.choose(untouched, lambda graph: graph.op("Identity", line), replace)


def _replace(graph: Graph, line: str, old: str, new: str) -> str:
    """`old` becomes `new`, with one more `new` at the end, behind the last row end: string [1] -> string [1]."""
    parts = _split(graph, line, old)
    return _join(graph, graph.op("StringConcat", parts, graph.strings(new)) if new else parts)


def _split(graph: Graph, line: str, delimiter: str) -> str:
    """The parts of a line, which must not be empty: string [1] -> string [n]."""
    return graph.op("Squeeze", graph.split(line, delimiter=delimiter), graph.ints(0))


def _join(graph: Graph, parts: str) -> str:
    """All parts in one string, three neighbours at a time until one is left: string [n >= 1] -> string [1]."""

    def join_neighbours(body: Graph, number: str, parts: str) -> tuple[str, str]:
        padded = body.op("Concat", parts, body.strings(*[""] * (_RADIX - 1)), axis=0)  # [n + 2]
        joined = ""
        for first in range(_RADIX):
            window_end = first + 1 - _RADIX or _LAST  # every window is n long, so that all third parts are as many
            every_third = body.slice(padded, first, window_end, step=_RADIX)  # [ceil(n / 3)]
            joined = body.op("StringConcat", joined, every_third) if joined else every_third
        return _several(body, joined), joined

    return graph.loop("", _several(graph, parts), parts, join_neighbours)


def _several(graph: Graph, parts: str) -> str:
    return graph.op("Greater", graph.op("Size", parts), graph.scalar(1))  # bool []


def _match(graph: Graph, strings: str, pattern: str) -> str:
    return graph.op("RegexFullMatch", strings, pattern=pattern)  # bool, one for each string


def _none_of(characters: str) -> str:
    """The pattern of strings without any of these ASCII characters."""
    return "[^" + "".join(f"\\x{ord(character):02x}" for character in characters) + "]*"


def _ascii_or_caseless() -> str:
    """The pattern of strings in which only A-Z have another lower case."""
    return "[\\x00-\\x7f" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _CASELESS) + "]*"


def _all(graph: Graph, flags: str) -> str:
    smallest = graph.op("ReduceMin", graph.op("Cast", flags, to=TensorProto.INT32), keepdims=0)
    return graph.op("Cast", smallest, to=TensorProto.BOOL)  # bool []


def _model(graph: Graph, length: int) -> onnx.ModelProto:
    text, ids = info("text", TensorProto.STRING, "batch"), info("ids", TensorProto.INT32, "batch", length)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "text_front_end", [text], [ids], list(graph.constants.values())),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="switch-tf",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
