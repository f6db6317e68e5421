"""Reads the pieces of a WordPiece tokenizer that others made: a vocab.txt, or a tokenizer.json of the same kind.

What a file asks for beyond that is refused by name, not passed over: other kinds of model, other normalizing, tokens
added to the pieces. Whether capitals and accents are kept, settings say: a tokenizer.json is held against them by its
normalizer, a vocab.txt by the letters of its pieces.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from switch_tf.errors import ConfigError, DataError
from switch_tf.files import read_bytes
from switch_tf.text.characters import read_characters
from switch_tf.text.plain_pieces import CONTINUES, PieceTable
from switch_tf.text.spec import OUT_OF_VOCABULARY, TextSpec
from switch_tf.text.unicode_characters import characters_of

_SIZE_LIMIT = 64 * 2**20  # bytes: far above a million pieces
_SPECIAL = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]")  # ids of these are ours, or no text's
_FEWEST_READABLE = 0.75  # of the pieces
_MOST_LOST = 0.05  # of the pieces: with capitals or accents that texts have no more; of cased ones about a half
_MOST_CAPITALS = 0.01  # of the pieces, where others than cased vocabularies have none
_KIND = "only BERT tokenizers are supported"
_EXPECTED: dict[str, dict[str, Any]] = {
    "model": {"type": "WordPiece", "unk_token": OUT_OF_VOCABULARY, "continuing_subword_prefix": CONTINUES}
    | {"max_input_chars_per_word": 100},
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}
_SETTINGS: dict[tuple[bool, bool], dict[str, str | bool]] = {  # by `TextSpec.folding`
    (True, True): {"lowercase": "ascii", "strip_accents": False},
    (True, False): {"lowercase": "unicode", "strip_accents": False},
    (False, False): {"lowercase": "none", "strip_accents": False},
    (False, True): {"lowercase": "none", "strip_accents": True},
}
_DOES = {
    (True, True): "lower-cases and strips accents",
    (True, False): "lower-cases and keeps accents",
    (False, False): "keeps capitals and accents",
    (False, True): "keeps capitals and strips accents",
}


def read_pieces(spec: TextSpec) -> list[str]:
    """The pieces of `spec.vocabulary_file` that texts can be read as, in the order of the file.

    Raises:
        ConfigError: it cannot be read, has other contents, or asks for what the tokenizer or the settings do not do.
    """
    path = Path(spec.vocabulary_file or "")
    try:
        text = read_bytes(path, _SIZE_LIMIT).decode("utf-8-sig")
        in_json = path.suffix.lower() == ".json"
        listed = _listed_in_json(json.loads(text), spec) if in_json else _listed(text)
        pieces = [piece for piece in listed if not _SPECIAL.fullmatch(piece)]
        if not in_json:
            _check_letters(spec, pieces)
        table = PieceTable(spec, pieces)
        _check_readable(table, pieces)
    except (OSError, ValueError, RecursionError, DataError) as error:
        said = str(error).removesuffix(".")
        raise ConfigError(f"text.vocabulary_file = {str(path)!r}: {said}.", "settings") from error
    return [piece for piece in pieces if table.reads(piece)]


def _check_letters(spec: TextSpec, pieces: Sequence[str]) -> None:
    """
    Raises:
        ValueError: the pieces have letters that texts lose by the settings, or no capitals where texts keep theirs.
    """
    bare = [piece.removeprefix(CONTINUES) for piece in pieces]
    lowers, _ = spec.folding
    if not lowers and any(each != each.title() for each in bare) and not any(map(_has_capitals, bare)):
        raise ValueError(
            f"none of its {len(pieces)} pieces has a capital, and with text.lowercase = 'none' a word that has one "
            "would be unknown. Set text.lowercase = 'ascii', or take a cased vocabulary"
        )
    cased = read_characters(spec.tokenizer_rules, lowercase=False, strip_accents=False)
    read = characters_of(spec)
    lost = [each for each in bare if cased.is_word(each) and not read.is_word(each)]
    capitals = lowers and sum(map(_has_capitals, lost)) > _MOST_CAPITALS * len(pieces)
    if capitals or len(lost) > _MOST_LOST * len(pieces):
        wanted = "it is a cased vocabulary" if capitals else "it is one that keeps accents"
        raise ValueError(
            f"of its {len(pieces)} pieces {len(lost)} have letters that no text has as it is read, such as "
            f"{lost[0]!r}: {wanted}. {_to_set(spec, (lowers and not capitals, False))}"
        )


def _has_capitals(piece: str) -> bool:
    return piece != piece.lower()


def _check_readable(table: PieceTable, pieces: Sequence[str]) -> None:
    """
    Raises:
        ValueError: too few are read at all; what stands apart is not counted where it has a ## for nothing.
    """
    other = [each for each in pieces if not table.characters.is_word(each.removeprefix(CONTINUES))]
    if len(other) > (1 - _FEWEST_READABLE) * len(pieces):
        raise ValueError(
            f"of its {len(pieces)} pieces {len(other)} are none that a text is read as, such as {other[0]!r}. Expected "
            "a WordPiece vocabulary, one piece a line"
        )


def _to_set(spec: TextSpec, folding: tuple[bool, bool], own_library: bool = False) -> str:
    """What has to be set to read so, and is not; empty where nothing has.

    Args:
        own_library: whether the rules have to be those of `tokenizers`.
    """
    lowers, strips = folding
    rules = "hf_bert" if own_library or lowers != strips else spec.tokenizer_rules
    wanted = {"tokenizer_rules": rules, **({} if spec.folding == folding else _SETTINGS[folding])}
    missing = [(name, value) for name, value in wanted.items() if getattr(spec, name) != value]
    told = [f"text.{name} = {repr(value) if isinstance(value, str) else str(value).lower()}" for name, value in missing]
    return f"Set {' and '.join(told)}" if told else ""


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
    _check_folding(described["normalizer"], spec)
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


def _check_folding(normalizer: dict[str, Any], spec: TextSpec) -> None:
    """
    Raises:
        ValueError: it keeps other letters than the settings do, or these name other rules.
    """
    lowers, strips = normalizer.get("lowercase"), normalizer.get("strip_accents")
    if not isinstance(lowers, bool) or not isinstance(strips, bool | None):
        raise ValueError(
            f"its normalizer has lowercase = {lowers!r} and strip_accents = {strips!r}. Expected true or false, or of "
            "strip_accents null"
        )
    folding = lowers, lowers if strips is None else strips
    to_set = _to_set(spec, folding, own_library=True)
    if to_set:
        raise ValueError(f"its normalizer {_DOES[folding]}, by the rules of its own library. {to_set}")
