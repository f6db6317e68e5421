"""Is what an artifact stores what the run has? Every weight and table, read back from the artifact's own bytes.

Answers alone cannot tell: a row that no text asks for, or a scale that is wrong by little, changes no answer that is
looked at. So every array of the run is searched among the arrays of the artifact, by its values: converters give names
of their own, transpose matrices and reshape tables. A weight counts as found where one stored array has all its values,

    float32, integers   exactly
    float16             rounded to the nearest
    int8                within half a scale, and each scale is max |w| / 127 of the values it scales

under one order of its axes. What a graph takes apart by its first axis, as long texts' graphs do with experts, may be
stored so: each slice has to be found then, in an array of its own. Some converters multiply a weight by a constant that
its product is multiplied by; a part that says so may hold either. Single numbers are not searched: any answer shows
them, and converters fold them into others. NumPy only; each format brings its own reader, which says what the artifact
holds as `Part`s.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from switch_tf.text.spec import OUT_OF_VOCABULARY, PADDING

SCALE_TOLERANCE = 1e-6  # relative: scales are made in float32 or float64
_HALF = 0.5 * (1 + 1e-5)  # of a scale: the division that rounds is itself rounded
_LARGEST_INT8 = 127
_EXPERT_AXES = 3  # of the arrays that experts share: [experts, in, out]

Holds = Literal["weights", "words", "bytes", "packed bytes", "threshold"]


@dataclass(frozen=True)
class Stored:
    """One array as an artifact stores it.

    Attributes:
        name: of the artifact's own.
        values: as stored.
        scale: float32, of int8 values; its shape is theirs with ones along the axes that share a scale.
    """

    name: str
    values: np.ndarray
    scale: np.ndarray | None = None


@dataclass(frozen=True)
class Part:
    """A part of an artifact that answers by itself, and so must hold all it needs.

    Attributes:
        where: what messages call it; "" for an artifact of one part.
        holds: what of the run must be in it: its weights, the words of its string front-end with their ids, the tables
            of its bytes front-end, as `switch_tf.text.from_bytes` or `switch_tf.text.packed_bytes` has them, or its
            reject threshold, if it has one.
        stored: the arrays.
        words: the ids that its string front-end gives, by word; None where it has none.
        folded: whether its converter multiplies constants into weights.
    """

    where: str
    holds: frozenset[Holds]
    stored: Sequence[Stored] = ()
    words: Mapping[str, int] | None = None
    folded: bool = False


class Expected(NamedTuple):
    """What a run has.

    Attributes:
        weights: float32 or integers by name.
        folded: those of the weights that the graph multiplies by a constant afterwards, multiplied by it.
        tables: of the bytes front-end, integers by name.
        words: the id of each word of the vocabulary.
        threshold: the reject threshold, a float32 number, if there is one.
        packed_tables: of the packed bytes front-end.
    """

    weights: Mapping[str, np.ndarray]
    folded: Mapping[str, np.ndarray]
    tables: Mapping[str, np.ndarray]
    words: Mapping[str, int]
    threshold: float | None = None
    packed_tables: Mapping[str, np.ndarray] = MappingProxyType({})


def read_back(parts: Sequence[Part], expected: Expected) -> list[str]:
    """What is not stored as the run has it, a line for each; nothing when all is."""
    problems = []
    for part in parts:
        found: list[str] = []
        if "weights" in part.holds:
            found += _not_held(part, expected.weights, expected.folded if part.folded else {})
        if "bytes" in part.holds:
            found += _not_held(part, expected.tables, {})
        if "packed bytes" in part.holds:
            found += _not_held(part, expected.packed_tables, {})
        if "words" in part.holds:
            found += _other_words(part.words or {}, expected.words)
        if "threshold" in part.holds and expected.threshold is not None:
            found += _no_threshold(part, expected.threshold)
        problems += [f"{part.where}: {problem}" if part.where else problem for problem in found]
    return problems


def _not_held(part: Part, arrays: Mapping[str, np.ndarray], folded: Mapping[str, np.ndarray]) -> Iterator[str]:
    by_size: dict[int, list[Stored]] = {}
    for each in part.stored:
        by_size.setdefault(each.values.size, []).append(each)
    for name, array in arrays.items():
        candidates = by_size.get(array.size, ())
        versions = [array, folded[name]] if name in folded else [array]
        if array.size == 1 or any(holds(each, version) for version in versions for each in candidates):
            continue
        if not any(_holds_slices(by_size, version) for version in versions):
            yield _missing(name, array, candidates)


def _no_threshold(part: Part, threshold: float) -> Iterator[str]:
    """The reject threshold is a single number that is compared with, and so nothing that a converter may fold."""
    numbers = [each.values.item() for each in part.stored if each.values.size == 1 and each.values.dtype == np.float32]
    if threshold not in numbers:
        nearest = min(numbers, key=lambda number: abs(number - threshold), default=None)
        yield f"the reject threshold {threshold!r} is not stored as the run has it: the nearest number is {nearest!r}"


def _holds_slices(by_size: Mapping[int, Sequence[Stored]], array: np.ndarray) -> bool:
    """Whether every slice of an array of experts [experts, ...] is stored, each in an array that no other has taken."""
    if array.ndim < _EXPERT_AXES:
        return False
    left = list(by_size.get(array[0].size, ()))
    for part in array:
        found = next((place for place, each in enumerate(left) if holds(each, part)), None)
        if found is None:
            return False
        del left[found]
    return True


def holds(stored: Stored, array: np.ndarray) -> bool:
    """Whether `stored` has the values of `array` under some order of its axes, as the module says."""
    return any(_equal(stored, arranged) for arranged in _arrangements(array, stored.values.shape))


def _arrangements(array: np.ndarray, shape: Sequence[int]) -> Iterator[np.ndarray]:
    """`array` with its axes in every order, each as an array of that shape; they have as many elements."""
    plain = array.squeeze()
    for order in itertools.permutations(range(plain.ndim)):
        yield plain.transpose(order).reshape(shape)


def _equal(stored: Stored, array: np.ndarray) -> bool:
    values = stored.values
    if stored.scale is not None:
        return _is_quantized(values, stored.scale, array)
    if np.issubdtype(array.dtype, np.integer) != np.issubdtype(values.dtype, np.integer):
        return False
    if values.dtype == np.float16:
        with np.errstate(over="ignore"):  # infinite in float16, and so not equal to any value
            array = array.astype(np.float16)
    return np.array_equal(values, array)


def _is_quantized(values: np.ndarray, scale: np.ndarray, array: np.ndarray) -> bool:
    if np.issubdtype(array.dtype, np.integer):
        return False
    wide = scale.astype(np.float64)
    if not np.all(np.abs(values * wide - array) <= _HALF * wide):
        return False
    shared = tuple(axis for axis in range(values.ndim) if wide.ndim == 0 or wide.shape[axis] == 1)
    largest = np.max(np.abs(array), axis=shared, keepdims=True).astype(np.float64) / _LARGEST_INT8
    # Where all values are zero, any scale says so.
    return bool(np.all((np.abs(wide - largest) <= SCALE_TOLERANCE * largest) | (largest == 0)))


def _missing(name: str, array: np.ndarray, candidates: Sequence[Stored]) -> str:
    """Which array is not there, and what comes nearest to it among those of its size."""
    text = f"{name} {list(array.shape)} is not stored as the run has it"
    if not candidates:
        return text
    differences = [
        np.abs(stored.values * (1.0 if stored.scale is None else stored.scale.astype(np.float64)) - arranged)
        for stored in candidates
        for arranged in _arrangements(array, stored.values.shape)
    ]
    most, count = min((float(np.max(each)), int(np.count_nonzero(each))) for each in differences)
    return f"{text}: the nearest array differs in {count:,} of its values, by up to {most:.1e}"


def _other_words(received: Mapping[str, int], expected: Mapping[str, int]) -> Iterator[str]:
    """Words that are missing, too many, or have another id, the first of each; those with fixed ids left out."""
    received = {word: number for word, number in received.items() if word not in (PADDING, OUT_OF_VOCABULARY)}
    wrong = {
        "lacks": [word for word in expected if word not in received],
        "has more than": [word for word in received if word not in expected],
        "gives another id to": [word for word in expected if received.get(word, expected[word]) != expected[word]],
    }
    for how, words in wrong.items():
        if words:
            yield f"its vocabulary {how} {len(words):,} words of the run's; the first is {words[0]!r}"
