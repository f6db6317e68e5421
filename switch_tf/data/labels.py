"""Labels that a person reads as one and a program as two, and labels that stand for a missing one.

>>> look_alike_key("pos\\u00a0") == look_alike_key(" pos")
True
>>> look_alike_key("cafe\\u0301") == look_alike_key("caf\\u00e9")
True
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from switch_tf.errors import DataError

BOOLEANS = ("true", "false")
_MISSING = frozenset(["nan", "null", "na", "n/a", "#n/a", "#na", "none", "nil", "<na>", "nat", "undefined", "missing"])
_INVISIBLE = ("Cf", "Cc", "Zl", "Zp")  # Unicode's formatting and control characters, and separators of lines
_SAME_SHAPE = str.maketrans(
    # Cyrillic and Greek letters, dashes and quotes that look like ASCII ones in most fonts.
    "АВЕЅІЈКМНОРСТХаеіјорсухѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο‐‑‒–−’‘“”",  # noqa: RUF001
    "ABESIJKMHOPCTXaeijopcyxsABEZHIKMNOPTYXo-----''\"\"",
)


def look_alike_key(label: str) -> str:
    """What is left of a label for the eye: composed, no invisible characters, single spaces, letters by their shape."""
    composed = unicodedata.normalize("NFC", label)
    spaced = " ".join(composed.split())
    seen = "".join(each for each in spaced if unicodedata.category(each) not in _INVISIBLE and not _is_selector(each))
    return " ".join(seen.split()).translate(_SAME_SHAPE)


def refuse_look_alikes(names: Iterable[str], locate: Callable[[str], str]) -> None:
    """Refuse labels that look like each other; letters of another width and ligatures are what they stand for.

    Args:
        locate: where a label stands first, such as "train.csv, line 3".

    Raises:
        DataError: it names both spellings and where they stand.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(look_alike_key(unicodedata.normalize("NFKC", name)), name)
        if other != name:
            raise DataError(
                f"{locate(name)}: the label {spelled(name)} looks like the label {spelled(other)} ({locate(other)}), "
                "but is another. Write both alike, or tell them apart by a letter."
            )


def unlike(label: str, known: Sequence[str]) -> str | None:
    """The known label that an unknown one looks like, but for letter case too."""
    keys = {look_alike_key(each).casefold(): each for each in known}
    return keys.get(look_alike_key(label).casefold())


def spelled(label: str) -> str:
    r"""A label in quotes; what cannot be seen or told apart is written out: 'caf\xe9', 'pos\u200b'."""
    return (
        ascii(label) if look_alike_key(label) != label or unicodedata.normalize("NFD", label) != label else repr(label)
    )


def spell_booleans(labels: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str]:
    """Labels that are all booleans, in JSON's spelling, and a word on what was changed.

    The same data as csv holds True and False if pandas wrote it, TRUE and FALSE if Excel did.
    """
    names = labels.unique().to_pylist()
    if not names or not all(name in ("true", "false", "True", "False", "TRUE", "FALSE") for name in names):
        return labels, ""
    other = sorted(name for name in names if name not in BOOLEANS)
    if not other:
        return labels, ""
    return pc.utf8_lower(labels), f"labels {', '.join(other)} are written as in JSON: true, false"


def respell(labels: pa.ChunkedArray, known: Sequence[str]) -> pa.ChunkedArray:
    """Labels with booleans spelled as in `known`, where that has them in one spelling."""
    spellings = {name.lower(): name for name in known if name.lower() in BOOLEANS}
    if not spellings or len([name for name in known if name.lower() in BOOLEANS]) != len(spellings):
        return labels
    for name in labels.unique().to_pylist():
        wanted = spellings.get(name.lower())
        if wanted is not None and name not in known:
            labels = pc.if_else(pc.equal(labels, name), wanted, labels)
    return labels


def doubtful_labels(counts: Mapping[str, int], label_column: str) -> list[str]:
    """Warnings about labels that may be right: letter case alone, names for what is missing, numbers of one value."""
    warnings = []
    for names in _groups(counts, str.casefold):
        warnings.append(f"labels differ in letter case alone: {_counted(names, counts)}. Are they one?")
    for names in _groups(counts, _number):
        warnings.append(f"labels are the same number: {_counted(names, counts)}. Are they one?")
    missing = [name for name in counts if name.strip().casefold() in _MISSING]
    if missing:
        warnings.append(f"labels read like a missing one: {_counted(missing, counts)}. Is it a class, or no label?")
    unseen = [name for name in counts if look_alike_key(name) != name and name.translate(_SAME_SHAPE) == name]
    if unseen:
        warnings.append(f"labels hold what cannot be seen, such as spaces at an end: {_counted(unseen, counts)}.")
    if label_column in counts:
        warnings.append(f"a label is called as its column: {_counted([label_column], counts)}. Is it a header?")
    return warnings


def _groups(counts: Mapping[str, int], key: Callable[[str], Any]) -> list[list[str]]:
    found: dict[Any, list[str]] = {}
    for name in counts:
        if (value := key(name)) is not None:
            found.setdefault(value, []).append(name)
    return [names for names in found.values() if len(names) > 1]


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _counted(names: Iterable[str], counts: Mapping[str, int]) -> str:
    shown = [f"{spelled(name)} ({counts[name]:,})" for name in names]
    return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "")


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f"  # how an emoji is drawn
