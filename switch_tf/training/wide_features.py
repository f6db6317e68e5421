"""What the wide path reads of the training texts: words, pairs of words and character grams, and what each is worth.

A feature f of a text is a word, a pair of words, or a character gram of its words. Of n texts of which n[k] are of
class k, let df[f] be those that have it and df[f, k] those of class k among them. Then

    idf[f] = log((1 + n) / (1 + df[f])) + 1
    r[f, k] = log((df[f, k] + 1) / ((df[f] - df[f, k]) n[k] / (n - n[k]) + 1))        naive Bayes, one class against all
    s[f] = max over k of |r[f, k]| to the power p                                     wide.naive_bayes_power, 3/4

A text is the sum of its words and pairs, each as often as it occurs, divided by the root of the sum of their idf^2.
A pair stands for idf s; a word for idf times s beside its grams, which are idf s each, divided by the norm of their
idf. With s a ridge penalty costs a feature the less, the better it tells classes apart.

With `wide.rare_as_unknown` a word of one text alone, which would be unknown but for that text, also tells what unknown
words tell: it stands for the unknown word as well, times the s of all texts that have such words.

Sources: Wang and Manning, "Baselines and bigrams", ACL 2012, for naive Bayes as a scale; Bojanowski et al., "Enriching
word vectors with subword information", TACL 2017, for grams.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse

from switch_tf.models.wide import TINY
from switch_tf.text.ngrams import neighbours
from switch_tf.text.spec import OUT_OF_VOCABULARY_ID

_TEXTS = 4096  # whose pairs are looked up at a time

Matrix: TypeAlias = scipy.sparse.csr_matrix


def count_features(ids: np.ndarray, num_ids: int, min_pair_count: int) -> tuple[Matrix, Matrix, np.ndarray]:
    """How often each text has each word and each pair.

    Returns:
        words: float32 [texts, num_ids].
        pairs: float32 [texts, pairs], of those that occur `min_pair_count` times in all texts together.
        known_pairs: int32 [pairs, 2], in rising order.
    """
    chunks = [slice(start, start + _TEXTS) for start in range(0, max(len(ids), 1), _TEXTS)]
    codes = np.concatenate([_present(_pair_codes(ids[some], num_ids)) for some in chunks])
    known, counts = np.unique(codes, return_counts=True)
    del codes  # which are the most that is held here
    known = known[counts >= min_pair_count]
    numbers = np.concatenate([_numbers_of(known, _pair_codes(ids[some], num_ids)) for some in chunks])
    pairs = _count_numbers(numbers, len(known))
    known_pairs = np.stack(np.divmod(known, num_ids), axis=1).astype(np.int32)
    return _count_numbers(np.where(ids > 0, ids, np.int32(-1)), num_ids), pairs, known_pairs


def _pair_codes(ids: np.ndarray, num_ids: int) -> np.ndarray:
    """A number for each pair of neighbours, int64 [texts, length + 1]: 0 where it is one of paddings."""
    previous, this = neighbours(ids.astype(np.int64))
    return previous * num_ids + this


def _present(codes: np.ndarray) -> np.ndarray:
    """Those that are no padding's: int64 [n]."""
    return codes[codes > 0]


def _numbers_of(known: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The place of each code in `known`, which rises: int32 [texts, length + 1], -1 where it is not there."""
    if not known.size:
        return np.full(codes.shape, -1, np.int32)
    places = np.minimum(np.searchsorted(known, codes), known.size - 1)
    return np.where(known[places] == codes, places, -1).astype(np.int32)


def _count_numbers(numbers: np.ndarray, width: int) -> Matrix:
    """int [texts, places], -1 where there is none, to how often each text has each: float32 [texts, width]."""
    present = numbers >= 0
    ends = np.append(0, np.cumsum(present.sum(axis=1)))  # [texts + 1]
    found = numbers[present]
    matrix = scipy.sparse.csr_matrix((np.ones(len(found), np.float32), found, ends), (len(numbers), width))
    matrix.sum_duplicates()
    return matrix


def count_classes(matrix: Matrix, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """df[f, k], in how many texts of each class each feature occurs: float64 [features, classes]."""
    label = np.repeat(labels, np.diff(matrix.indptr))  # [entries]
    cells = matrix.indices.astype(np.int64) * num_classes + label
    return np.bincount(cells, minlength=matrix.shape[1] * num_classes).reshape(-1, num_classes).astype(np.float64)


def weigh_features(counts: np.ndarray, class_sizes: np.ndarray, power: float = 0.75) -> tuple[np.ndarray, np.ndarray]:
    """idf and s of each feature, both float32 [features], from df[f, k] and n[k]; see the module.

    df of a gram counts the words that have it, and may exceed the number of texts.
    """
    texts, sizes = class_sizes.sum(), np.maximum(class_sizes, 1)
    total = counts.sum(axis=1, keepdims=True)  # [features, 1]
    idf = np.log((1 + texts) / (1 + np.minimum(total[:, 0], texts))) + 1
    ratio = np.log((counts + 1) / ((total - counts) * (sizes / (texts - sizes)) + 1))  # [features, classes]
    return idf.astype(np.float32), (np.abs(ratio).max(axis=1) ** power).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Features:
    """The texts as matrices: logits are  words @ (word_parts @ [Vw; Vg]) + pairs @ Vp + bias.

    Only words and grams that occur in the training texts have columns here.

    Attributes:
        words: float32 [texts, used words], idf over the norm of the text.
        pairs: float32 [texts, pairs], idf s over the norm of the text.
        word_parts: float32 [used words, used words + used grams], of each word its own s and those of its grams, and
            of rare words that of the unknown word.
        used_words: int [used words], their ids.
        used_grams: int [used grams], their columns.
        num_grams: of all.
        word_idf: float32 [num_ids].
        pair_idf: float32 [pairs].
        pair_scale: float32 [pairs], s.
        gram_idf: float32 [used grams].
        gram_scale: float32 [used grams], s.
        rare_idf: of a feature that one text has.
    """

    words: Matrix
    pairs: Matrix
    word_parts: Matrix
    used_words: np.ndarray
    used_grams: np.ndarray
    num_grams: int
    word_idf: np.ndarray
    pair_idf: np.ndarray
    pair_scale: np.ndarray
    gram_idf: np.ndarray
    gram_scale: np.ndarray
    rare_idf: float


def make_features(
    words: Matrix,
    pairs: Matrix,
    grams: Matrix,
    labels: np.ndarray,
    num_classes: int,
    power: float = 0.75,
    rare_as_unknown: bool = False,
) -> Features:
    """The features of texts whose words and pairs `count_features` has counted.

    Args:
        grams: float32 [num_ids, grams], of `switch_tf.text.ngrams.word_grams`.
        power: of the naive-Bayes ratio.
        rare_as_unknown: whether words of one text alone stand for the unknown word too.
    """
    sizes = np.bincount(labels, minlength=num_classes)  # [classes]
    word_counts = count_classes(words, labels, num_classes)  # [num_ids, classes]
    word_idf, _ = weigh_features(word_counts, sizes, power)
    rare = np.flatnonzero(word_counts.sum(axis=1) == 1) if rare_as_unknown else np.zeros(0, np.int64)
    word_counts[OUT_OF_VOCABULARY_ID] = _count_unknown(words, rare, labels, num_classes)
    _, word_scale = weigh_features(word_counts, sizes, power)
    pair_idf, pair_scale = weigh_features(count_classes(pairs, labels, num_classes), sizes, power)
    used_words = np.flatnonzero(word_counts.sum(axis=1))
    grams_used = grams[used_words]  # [used words, grams]
    used_grams = np.flatnonzero(grams_used.sum(axis=0))
    grams_used = grams_used[:, used_grams]  # [used words, used grams]
    gram_idf, gram_scale = weigh_features(grams_used.T @ word_counts[used_words], sizes, power)
    own = grams_used @ diagonal(gram_idf)
    own_parts = diagonal(word_scale) + _as_unknown(rare, word_scale)  # [num_ids, num_ids]
    parts = diagonal(_inverse_norm(own.power(2).sum(axis=1))) @ own @ diagonal(gram_scale)
    by_norm = _inverse_norm(words @ word_idf**2 + pairs @ pair_idf**2)  # [texts]
    return Features(
        words=_scaled(words, by_norm, word_idf)[:, used_words],
        pairs=_scaled(pairs, by_norm, pair_idf * pair_scale),
        word_parts=scipy.sparse.hstack([own_parts.tocsr()[used_words][:, used_words], parts], format="csr"),
        used_words=used_words,
        used_grams=used_grams,
        num_grams=grams.shape[1],
        word_idf=word_idf,
        pair_idf=pair_idf,
        pair_scale=pair_scale,
        gram_idf=gram_idf,
        gram_scale=gram_scale,
        rare_idf=float(np.log((1 + len(labels)) / 2) + 1),
    )


def _count_unknown(words: Matrix, rare: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How many texts of each class have words that are unknown, or would be without this text: float64 [classes]."""
    unknown = words[:, np.union1d(rare, [OUT_OF_VOCABULARY_ID])].sum(axis=1)  # [texts, 1]
    return np.bincount(labels[np.asarray(unknown).ravel() > 0], minlength=num_classes).astype(np.float64)


def _as_unknown(rare: np.ndarray, word_scale: np.ndarray) -> Matrix:
    """What rare words have of the unknown word: float32 [num_ids, num_ids]."""
    rare = rare[rare != OUT_OF_VOCABULARY_ID]
    scale = np.full(len(rare), word_scale[OUT_OF_VOCABULARY_ID], np.float32)
    columns = np.full(len(rare), OUT_OF_VOCABULARY_ID)
    return scipy.sparse.csr_matrix((scale, (rare, columns)), (len(word_scale), len(word_scale)))


def _scaled(matrix: Matrix, rows: np.ndarray, columns: np.ndarray) -> Matrix:
    """A matrix times a factor for each row and for each column; where its entries are, it shares with the given one."""
    data = np.repeat(rows.astype(np.float32), np.diff(matrix.indptr))  # [entries]
    data *= matrix.data
    data *= columns[matrix.indices]
    return scipy.sparse.csr_matrix((data, matrix.indices, matrix.indptr), matrix.shape)


def _inverse_norm(squares: np.ndarray) -> np.ndarray:
    return 1.0 / np.sqrt(np.maximum(np.asarray(squares).ravel(), TINY))


def diagonal(values: np.ndarray) -> scipy.sparse.dia_matrix:
    """float32, to scale rows or columns with."""
    return scipy.sparse.diags(values.astype(np.float32))
