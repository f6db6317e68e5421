"""What a training is about to learn from, in figures, and warnings where a figure says that it cannot.

Figures come from what the model will see: each text's words or pieces of words, cut at L, unknown ones alike. Two texts
that it sees alike and that have different labels are an error that no weights can mend.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from switch_tf.data.examples import Examples
from switch_tf.data.key_numbers import KeyNumbers
from switch_tf.data.labels import doubtful_labels
from switch_tf.text.reading import Reader, token_reader
from switch_tf.text.spec import FIRST_WORD_ID, TextSpec
from switch_tf.text.spelling import token_names

_BATCH = 1024
_MISSING_TEXTS = frozenset([b"nan", b"null", b"none", b"na", b"<na>"])
# Shares from which on a figure is a warning: measured on sets that trained well, all were far below.
_TOO_LONG, _UNKNOWN, _UNREADABLE, _CONTRADICTING, _INDISTINCT = 0.2, 0.4, 0.05, 0.02, 0.05
_RARE = 0.2  # of an even share of the examples
_LETTERS_PER_WORD, _LOOKED_AT = 6, 400
# Chinese characters, kana, Thai, Lao, Burmese and Khmer, of which a word has fewer letters than that.
_UNSPACED = re.compile(r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
_UNSPACED_PER_WORD = 3
_CAPITALS = 0.3  # of texts with a capital that is not lower-cased


@dataclass
class _Seen:
    """Sums over the texts of one part of the data."""

    texts: int = 0
    words: int = 0
    unknown: int = 0  # words out of vocabulary, within L
    read: int = 0  # words within L
    longer: int = 0  # texts of over L words
    wordless: int = 0  # texts without a word
    empty: int = 0  # of these, texts without a character
    unread: int = 0  # texts without a known word within L
    missing: int = 0  # texts such as "nan"
    spaceless: int = 0  # texts in a script without spaces
    capitals: int = 0  # texts with capitals beyond ASCII
    lengths: "array[int]" = field(default_factory=lambda: array("i"))
    # A number for each text, int64 [texts]: equal where texts read alike, where the model sees them alike, and where
    # their labels are equal.
    whole: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    within: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def survey(
    parts: dict[str, Examples], labels: Sequence[str], spec: TextSpec, vocabulary: Sequence[str], label_column: str
) -> dict[str, Any]:
    """Figures and warnings, as plain values.

    Args:
        parts: "training" and "validation", and "test" where there is one.
    """
    known = {word.encode() for word in token_names(spec, vocabulary)}
    learnt: set[bytes] = set()  # while something is chosen on validation, the words of the training texts are known
    read = token_reader(spec, vocabulary)
    seen = {"training": _look(parts["training"], spec, read, known, learnt)}
    seen["validation"] = _look(parts["validation"], spec, read, known & learnt)
    seen |= {name: _look(examples, spec, read, known) for name, examples in parts.items() if name not in seen}
    both = [seen["training"], seen["validation"]]
    counts = Counter[str]()
    for name in ("training", "validation"):
        counts.update({each["values"]: each["counts"] for each in parts[name].labels.value_counts().to_pylist()})
    total = sum(each.texts for each in both)
    lengths = np.array(both[0].lengths + both[1].lengths)  # [n]
    report: dict[str, Any] = {
        "examples": {name: each.texts for name, each in seen.items()},
        "labels": {label: counts[label] for label in sorted(labels, key=lambda each: (-counts[each], each))},
        "vocabulary_words": len(vocabulary),
        "vocabulary_room": spec.vocabulary_size - FIRST_WORD_ID,
        "sequence_length": spec.sequence_length,
        "tokenizer": spec.tokenizer,
        "lowercase": spec.lowercase,
        "words_per_text": {"median": float(np.median(lengths)), "p95": float(np.percentile(lengths, 95))},
        "longer_than_sequence_length": sum(each.longer for each in both) / total,
        "words_behind_sequence_length": 1 - sum(each.read for each in both) / max(sum(each.words for each in both), 1),
        "unknown_words_on_validation": both[1].unknown / max(both[1].read, 1),
        "texts_empty": sum(each.empty for each in both),
        "texts_without_a_word": sum(each.wordless for each in both),
        "texts_without_a_known_word": sum(each.unread for each in both),
        "validation_texts_without_a_known_word": both[1].unread,
        "texts_that_read_missing": sum(each.missing for each in both),
        "texts_without_spaces": sum(each.spaceless for each in both),
        "texts_with_capitals_beyond_ascii": sum(each.capitals for each in both),
        "duplicates": sum(each.texts - int(each.whole.max(initial=-1)) - 1 for each in both),
        "contradicting": sum(_contradicting(each.whole, each.labels) for each in both),
        "indistinguishable": sum(_contradicting(each.within, each.labels) for each in both),
        "skipped_rows": sum(examples.skipped for name, examples in parts.items() if name != "validation"),
        "first_skipped_row": next((each.first_skipped for each in parts.values() if each.first_skipped), ""),
        "notes": list(dict.fromkeys(note for examples in parts.values() for note in examples.notes)),
    }
    report["warnings"] = list(_warnings(report, spec, label_column))
    return report


def _look(
    examples: Examples, spec: TextSpec, read: Reader, known: set[bytes], words_seen: set[bytes] | None = None
) -> _Seen:
    """Sums over the texts; their words go into `words_seen`."""
    seen = _Seen()
    whole, within = KeyNumbers(len(examples)), KeyNumbers(len(examples))
    for batch in examples.text_batches(_BATCH):
        for text in batch:
            words = read(text)
            _count(seen, text, words, spec.sequence_length, known)
            if words_seen is not None:
                words_seen.update(known.intersection(words[: spec.sequence_length]))
            whole.add(b" ".join(words))
            within.add(b" ".join(word if word in known else b"" for word in words[: spec.sequence_length]))
    seen.whole, seen.within = whole.numbers(), within.numbers()
    seen.labels = examples.labels.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return seen


def _count(seen: _Seen, text: str, words: list[bytes], length: int, known: set[bytes]) -> None:
    within = words[:length]
    unknown = sum(word not in known for word in within)
    seen.texts += 1
    seen.words += len(words)
    seen.read += len(within)
    seen.unknown += unknown
    seen.longer += len(words) > length
    seen.wordless += not words
    seen.empty += not text.strip()
    seen.unread += unknown == len(within)
    seen.missing += len(words) == 1 and words[0].lower() in _MISSING_TEXTS
    seen.spaceless += bool(words) and not text.isascii() and _has_no_spaces(text[:_LOOKED_AT])
    seen.capitals += not text.isascii() and any(each.isupper() for each in text if each > "\x7f")
    seen.lengths.append(len(words))


def _has_no_spaces(text: str) -> bool:
    """Whether its words are far too long for a script that writes spaces: over six letters that have no capitals.

    Over three do in a script that is known to write none.
    """
    words, unspaced = len(text.split()), len(_UNSPACED.findall(text))
    if unspaced > _UNSPACED_PER_WORD * words and 2 * unspaced > len(text):
        return True
    letters = sum(each.isalpha() and each.lower() == each.upper() for each in text)
    return letters > _LETTERS_PER_WORD * words and 2 * letters > len(text)


def _contradicting(groups: np.ndarray, labels: np.ndarray) -> int:
    """Texts of a group that have not its most frequent label: errors that no model can avoid."""
    classes = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(groups * classes + labels, return_counts=True)
    most = np.zeros(int(groups.max(initial=0)) + 1, np.int64)
    np.maximum.at(most, pairs // classes, counts)
    return len(groups) - int(most.sum())


def _warnings(report: dict[str, Any], spec: TextSpec, label_column: str) -> Iterator[str]:
    total = report["examples"]["training"] + report["examples"]["validation"]
    yield from doubtful_labels(report["labels"], label_column)
    yield from _warnings_of_labels(report, total)
    if report["texts_that_read_missing"]:
        count = report["texts_that_read_missing"]
        yield f"{_texts(count)} read nan, null or None: the spelling of a missing text. They are trained on as words."
    if report["texts_without_a_word"] >= _UNREADABLE * total:
        count, empty = report["texts_without_a_word"], report["texts_empty"]
        yield (
            f"{_texts(count)} ({count / total:.1%}) have no word, {empty:,} of them are empty or missing: the model "
            "answers all of these alike. Leave them out, or name another text_column."
        )
    yield from _warnings_of_words(report, spec, total)
    yield from _warnings_of_length(report, spec)
    if report["contradicting"] >= _CONTRADICTING * total:
        share = report["contradicting"] / total
        yield (
            f"{_texts(report['contradicting'])} ({share:.1%}) read as another of a different label does: they are "
            "trained on as they are, and cost accuracy. Look at their labels."
        )
    beyond = report["indistinguishable"] - report["contradicting"]
    has_spaces = not spec.by_bytes or report["texts_without_spaces"] <= total / 3
    if beyond >= _INDISTINCT * total and has_spaces:
        best = 1 - report["indistinguishable"] / total
        yield (
            f"the model cannot learn these labels: it sees {_texts(beyond)} exactly as others of a different label, "
            f"though they differ, so that no weights reach an accuracy above {best:.3f}. The difference lies behind "
            f"word {spec.sequence_length} (text.sequence_length), in rare words (text.vocabulary_size) or in what "
            "text.standardize strips."
        )


def _warnings_of_labels(report: dict[str, Any], total: int) -> Iterator[str]:
    counts = report["labels"]
    if len(counts) > max(20, total / 3):
        yield f"{len(counts):,} labels for {_texts(total)}: the label_column looks like one of texts or numbers."
    single = [label for label, count in counts.items() if count == 1]
    if single:
        yield f"{_labels(len(single))} of one example: trained on, never validated. First: {single[0]!r}."
    rarest = min(counts, key=lambda label: (counts[label], label))
    if counts[rarest] * len(counts) < _RARE * total:
        yield (
            f"labels are uneven: {rarest!r} has {counts[rarest]:,} of {total:,} examples. Accuracy hides it: see "
            "train.class_weights=balanced and train.select_by=macro_f1."
        )


def _warnings_of_words(report: dict[str, Any], spec: TextSpec, total: int) -> Iterator[str]:
    unread, validation = report["validation_texts_without_a_known_word"], report["examples"]["validation"]
    if spec.by_bytes and report["texts_without_spaces"] > total / 3:
        yield (
            f"the model cannot learn from these texts: {report['texts_without_spaces']:,} of {total:,} have no spaces "
            f"between words ({report['words_per_text']['median']:.0f} words in a text), as Chinese, Japanese and Thai, "
            "and it splits at spaces alone. Set text.lowercase=unicode, which reads each of their characters as a "
            "word, or text.tokenizer=wordpiece or unigram, which read pieces of words."
        )
        return
    if report["unknown_words_on_validation"] > _UNKNOWN:
        full = report["vocabulary_words"] >= report["vocabulary_room"]
        remedy = f"Raise text.vocabulary_size ({spec.vocabulary_size:,})" if full else "More texts would help"
        letters = ", and text.unknown_words=letters tells such words by their letters" if spec.by_strings else ""
        share = f"{report['unknown_words_on_validation']:.1%} of the words of validation are out of vocabulary"
        yield f"{share}. {remedy}{letters}."
    if unread > max(_UNREADABLE * validation, 1):
        yield (
            f"the model cannot read {unread:,} of the {validation:,} validation texts: not one of their words is in "
            "the vocabulary. See text.standardize and text.vocabulary_size."
        )
    lowers_ascii = spec.by_bytes and spec.standardize.startswith("lower")
    if lowers_ascii and report["texts_with_capitals_beyond_ascii"] > _CAPITALS * total:
        yield (
            f"{_texts(report['texts_with_capitals_beyond_ascii'])} have capitals beyond ASCII, which text.standardize "
            "does not lower-case: capital and small are two words. Set text.lowercase=unicode, which does, as "
            "text.tokenizer=wordpiece does, or lower-case in training and in asking."
        )


def _warnings_of_length(report: dict[str, Any], spec: TextSpec) -> Iterator[str]:
    share, tokens = report["longer_than_sequence_length"], "words" if spec.tokenizer == "words" else "pieces"
    if share >= _TOO_LONG:
        wanted = min(8192, int(-(-report["words_per_text"]["p95"] // 16) * 16))
        yield (
            f"{share:.1%} of texts are longer than {spec.sequence_length} {tokens}, and what stands behind is not read "
            f"({report['words_behind_sequence_length']:.1%} of all {tokens}). Set text.sequence_length={wanted} to "
            "read 95% of texts whole."
        )


def _texts(count: int) -> str:
    return f"{count:,} text" + "s" * (count != 1)


def _labels(count: int) -> str:
    return f"{count:,} label" + "s" * (count != 1)
