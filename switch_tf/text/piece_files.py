"""Reads the pieces of a WordPiece tokenizer that others made: a vocab.txt, or a tokenizer.json of the same kind.

What a file asks for beyond that is refused by name, not passed over: other kinds of model, other normalizing, cased
vocabularies, tokens added to the pieces.
"""

import json
import re
from pathlib import Path
from typing import Any

from switch_tf.errors import ConfigError, DataError
from switch_tf.files import read_bytes
from switch_tf.text.plain_pieces import CONTINUES, PieceTable
from switch_tf.text.spec import OUT_OF_VOCABULARY, TextSpec

_SIZE_LIMIT = 64 * 2**20  # bytes: far above a million pieces
_SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]")  # ids of these are ours, or no text's
_FEWEST_READABLE = 0.75  # of the pieces; of cased vocabularies, about a half
_KIND = "only uncased BERT tokenizers are supported"
_EXPECTED: dict[str, dict[str, Any]] = {
    "model": {"type": "WordPiece", "unk_token": OUT_OF_VOCABULARY, "continuing_subword_prefix": CONTINUES}
    | {"max_input_chars_per_word": 100},
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}


def read_pieces(spec: TextSpec) -> list[str]:
    """The pieces of `spec.vocabulary_file` that texts can be read as, in the order of the file.

    Raises:
        ConfigError: it cannot be read, has other contents, or asks for what the tokenizer does not do.
    """
    path = Path(spec.vocabulary_file or "")
    try:
        text = read_bytes(path, _SIZE_LIMIT).decode("utf-8-sig")
        listed = _listed_in_json(json.loads(text), spec) if path.suffix.lower() == ".json" else _listed(text)
        pieces = [piece for piece in listed if not _SPECIAL.fullmatch(piece)]
        table = PieceTable(spec, pieces)
    except (OSError, ValueError, RecursionError, DataError) as error:
        said = str(error).removesuffix(".")
        raise ConfigError(f"text.vocabulary_file = {str(path)!r}: {said}.", "settings") from error
    if len(table) < _FEWEST_READABLE * len(pieces):
        raise ConfigError(
            f"text.vocabulary_file = {str(path)!r}: of its {len(pieces)} pieces {len(pieces) - len(table)} have "
            "capitals, accents or other characters that no text has once it is lower-cased. Expected an uncased "
            "vocabulary.",
            "settings",
        )
    return [piece for piece in pieces if table.reads(piece)]


def _listed(text: str) -> list[str]:
    """The pieces of a vocab.txt, one a line, which line feeds alone end."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _listed_in_json(described: Any, spec: TextSpec) -> list[str]:
    """The pieces of a tokenizer.json by their ids.

    Raises:
        ValueError: it describes another tokenizer, and how it differs.
    """
    if not isinstance(described, dict):
        raise ValueError("it is no tokenizer.json, which is a JSON object.")
    for part, expected in _EXPECTED.items():
        received = described.get(part)
        received = received if isinstance(received, dict) else {}
        for name, value in expected.items():
            if received.get(name) != value:
                raise ValueError(f"its {part} has {name} = {received.get(name)!r}. Expected {value!r}: {_KIND}.")
    if described["normalizer"].get("strip_accents") not in (None, True):
        raise ValueError(f"its normalizer keeps accents. Expected strip_accents = true: {_KIND}.")
    if spec.tokenizer_rules != "hf_bert":
        raise ValueError("it is read by the rules of its own library. Set text.tokenizer_rules = 'hf_bert'.")
    added = described.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(each, dict) for each in added):
        raise ValueError("its added_tokens are no list of tokens.")
    other = [each.get("content") for each in added if not _SPECIAL.fullmatch(str(each.get("content")))]
    if other:
        raise ValueError(f"it adds the token {other[0]!r} to its pieces, which is not supported. Remove it.")
    numbers = described["model"].get("vocab")
    if not isinstance(numbers, dict) or not all(type(number) is int for number in numbers.values()):
        raise ValueError("its model has no vocab of pieces and their ids.")
    return sorted(numbers, key=numbers.__getitem__)
