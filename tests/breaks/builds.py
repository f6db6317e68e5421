"""The catalogue of what is built in."""

from collections.abc import Callable
from typing import Any

import numpy as np

from breaks.answers import (
    answer_by,
    as_the_last_class,
    fails,
    label_beyond,
    label_from_the_end,
    least_label,
    logits,
    no_number,
    rejection,
    when_sure,
)
from breaks.built import (
    block_epsilon,
    capacity,
    dirty_last_row,
    epsilon,
    experts,
    fails_on_long_texts,
    ignore_last_byte,
    ignore_last_byte_of_pieces,
    ignore_last_byte_of_words,
    join_what_stands_apart,
    keep_marks_at_the_end,
    keep_nul,
    marks_as_letters,
    pack_no_long_texts,
    pack_without_last_byte,
    prefer_the_last_to_begin,
    relax_once,
    roll_positions,
    runs_of_letters_alone,
    runs_without_the_longest,
    same,
    scale,
    settings,
    spell_all_words,
    spell_behind_the_last,
    spell_without_last_byte,
    spoil_nothing,
    temperature,
    trade,
    with_characters,
    with_code,
)
from breaks.targets import OFF, ONNX, ONNX_BYTES, ONNX_IDS, SAVED_MODEL, TFLITE, Build, Target
from switch_tf.expert_map import GONE
from switch_tf.export.onnx_file import text_graph
from switch_tf.layers import dispatch
from switch_tf.models import classifier, letters
from switch_tf.models.letters import LetterTables
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.models.wide import WidePath
from switch_tf.runs.rejection import Rejection
from switch_tf.text import (
    byte_codes,
    code_points,
    front_ends,
    letter_runs,
    packed_bytes,
    pieces,
    spelt_words,
    unigram,
    utf8,
)
from switch_tf.text.characters import ITSELF, LETTER
from switch_tf.text.from_bytes import NumericText
from switch_tf.text.pieces import NumericPieces
from switch_tf.text.unicode_words import NumericWords

_MODELS = [ONNX_IDS, TFLITE, SAVED_MODEL]
_FRONT_ENDS = [ONNX, TFLITE, SAVED_MODEL]
_BYTES = [TFLITE, ONNX_BYTES, SAVED_MODEL]
_PACKED = [ONNX, TFLITE]  # of the recipe's layers, in any batch
_PIECES = [TFLITE, ONNX_BYTES]
_PIECE_BUILDS: list[tuple[str, Callable[[Any], Any]]] = [
    ("the last byte ignored", with_code(NumericPieces, "__call__", ignore_last_byte_of_pieces)),
    ("the other rules", settings("text", tokenizer_rules="hf_bert")),
    ("capitals and accents kept", settings("text", lowercase="none")),
    ("the other truncation", settings("text", truncation="drop")),
    ("two traded", trade("vocabulary")),
    ("a word may have 99 letters", with_code(pieces, "LONGEST_WORD", 99)),
    ("a word has at most four", with_code(pieces, "_ROUNDS", 2)),
    ("what stands apart joins its neighbour", with_code(code_points, "build_graph_tables", join_what_stands_apart)),
    ("longer forms are read", with_code(utf8, "_TWO", 0xC0)),
]
_CASED_BUILDS: list[tuple[str, Callable[[Any], Any]]] = [
    ("capitals and accents lost", settings("text", lowercase="ascii")),
    ("accents lost", settings("text", tokenizer_rules="hf_bert", strip_accents=True)),
    ("capitals lost", settings("text", tokenizer_rules="hf_bert", lowercase="unicode")),
]
_UNICODE_BUILDS: list[tuple[str, Target, Callable[[Any], Any]]] = [
    ("a fold missing", TFLITE, with_characters("becomes", "F", ITSELF)),
    ("Chinese characters in one word", TFLITE, with_characters("kinds", "\u4e2d", LETTER)),
    ("accents stripped", TFLITE, settings("text", strip_accents=True)),
    ("words of bytes", TFLITE, settings("text", lowercase="ascii")),
    ("marks are letters", ONNX_BYTES, with_code(code_points, "build_graph_tables", marks_as_letters)),
    ("the last byte ignored", TFLITE, with_code(NumericWords, "__call__", ignore_last_byte_of_words)),
]
_UNIGRAM_BUILDS: list[tuple[str, Callable[[Any], Any]]] = [
    ("the rules of an older release", settings("text", normalization="nfkc_cf/0.1.83")),
    ("of equal sums the other", with_code(unigram, "_last_sizes", prefer_the_last_to_begin)),
    ("two pieces between cuts", with_code(unigram, "_best_between_cuts", relax_once)),
    ("a mark at the end", with_code(unigram, "_marked", keep_marks_at_the_end)),
]
_LETTER_BUILDS: list[tuple[str, list[Target], Callable[[Any], Any]]] = [
    ("the last byte ignored", [TFLITE], with_code(front_ends, "packed_spelling", spell_without_last_byte)),
    ("known words as well", [TFLITE], with_code(spelt_words, "is_spelt", spell_all_words)),
    ("a word behind the last", _PIECES, with_code(spelt_words, "is_spelt", spell_behind_the_last)),
    ("no runs of five", [TFLITE], with_code(letter_runs, "names_around", runs_without_the_longest)),
    ("no beginnings and ends", [ONNX_BYTES], with_code(letter_runs, "names_around", runs_of_letters_alone)),
    ("other names", [TFLITE], with_code(letter_runs, "PRIMES", (28_621, 75_013))),
    ("the norm left out", [ONNX_BYTES], with_code(letters, "_INVERSE_ROOTS", np.ones(4096, np.float32))),
    ("the unknown word's row as well", [TFLITE], with_code(WidePath, "unknown", np.zeros(2, np.float32))),
    ("all unknown words alike", [ONNX_BYTES], with_code(LetterTables, "sums_in_graph", lambda *given: 0.0)),
]
_RECIPE_BUILDS: list[tuple[str, Callable[[Any], Any], Callable[[Any], None]]] = [
    ("one slot more", capacity(1), spoil_nothing),
    ("one slot less", capacity(-1), spoil_nothing),
    ("the capacity factor", settings("model", eval_capacity_factor=4.0), spoil_nothing),
    ("max instead of mean", settings("model", pooling="max"), spoil_nothing),
    ("gelu instead of relu", settings("model", activation="gelu"), spoil_nothing),
    ("the gate left out", settings("model", scale_by_gate=False), spoil_nothing),
    ("the epsilon of a norm", same, block_epsilon),
    ("the deep path's share", same, scale),
]
BUILDS = [
    Build("a padding mask that masks nothing", _MODELS, with_code(classifier, "PADDING_ID", -1)),
    Build("one slot more", _MODELS, capacity(1)),
    Build("one slot less", _MODELS, capacity(-1)),
    Build("the capacity factor", _MODELS, settings("model", eval_capacity_factor=4.0)),
    Build("max instead of mean", _MODELS, settings("model", pooling="max")),
    Build("gelu instead of relu", _MODELS, settings("model", activation="gelu")),
    Build("the gate left out", _MODELS, settings("model", scale_by_gate=False)),
    Build("the epsilon of a norm", _MODELS, same, epsilon),
    Build("the deep path's share", _MODELS, same, scale),
    Build("positions shifted by one", _MODELS, same, roll_positions),
    Build("dropped tokens that get something", _MODELS, with_code(dispatch, "_gather", dirty_last_row)),
    Build("cosines: the temperature", _MODELS, same, temperature, "cosines"),
    Build("no softmax", _MODELS, with_code(TextClassifier, "_classify_ids", logits)),
    Build("the least probable label", _MODELS, with_code(TextClassifier, "_classify_ids", least_label)),
    Build("capitals kept", _FRONT_ENDS, settings("text", standardize="strip_punctuation")),
    Build("punctuation kept", _FRONT_ENDS, settings("text", standardize="lower")),
    Build("nothing standardized", [*_FRONT_ENDS, ONNX_BYTES], settings("text", standardize="none")),
    Build("the other truncation", _BYTES, settings("text", truncation="drop")),
    Build("the last byte ignored", [ONNX_BYTES, SAVED_MODEL], with_code(NumericText, "__call__", ignore_last_byte)),
    Build("a white space that is none", [TFLITE, SAVED_MODEL], with_code(byte_codes, "WHITESPACE", b"\t\n\f\r \0")),
    Build("NUL as part of a word", [ONNX], with_code(text_graph, "_replace_each", keep_nul)),
    Build("a graph that fails on some texts", [ONNX, *_MODELS], with_code(TextClassifier, "_classify_ids", fails)),
    Build(
        "a front-end that fails on some texts",
        [ONNX_BYTES, SAVED_MODEL],
        with_code(NumericText, "__call__", fails_on_long_texts),
    ),
    Build("no number for some texts", _MODELS, with_code(TextClassifier, "_classify_ids", no_number)),
    Build("labels counted from the end", _MODELS, with_code(TextClassifier, "_classify_ids", label_from_the_end)),
    Build("a label beyond the last", _MODELS, with_code(TextClassifier, "_classify_ids", label_beyond)),
    Build("the last packed byte ignored", [TFLITE], with_code(packed_bytes, "packed_ids", pack_without_last_byte)),
    Build(
        "a packed front-end that fails on some texts",
        [TFLITE],
        with_code(packed_bytes, "packed_ids", pack_no_long_texts),
    ),
    *(Build(f"recipe: {name}", _PACKED, wrong, spoil, "recipe") for name, wrong, spoil in _RECIPE_BUILDS),
    Build("two labels traded in the model", [ONNX, TFLITE, SAVED_MODEL], trade("labels")),
    Build("two words traded in the model", [ONNX, TFLITE, SAVED_MODEL], trade("vocabulary")),
    *(
        Build(f"reject: {name}", _MODELS, rejection(change), model="recipe")
        for name, change in (
            ("another threshold", lambda right: Rejection(float(np.float32(right.threshold + OFF)), right.label)),
            ("another label", lambda right: Rejection(right.threshold, "none of these")),
            ("no threshold", lambda right: None),
        )
    ),
    Build(
        "pruned: two experts traded",
        [*_PACKED, ONNX_IDS, SAVED_MODEL],
        experts(lambda left: left[::-1]),
        model="pruned",
    ),
    Build(
        "pruned: another's weights for one that is gone",
        [*_PACKED, ONNX_IDS, SAVED_MODEL],
        experts(lambda left: [0 if number == GONE else number for number in left]),
        model="pruned",
    ),
    *(Build(f"pieces: {name}", _PIECES, wrong, model="pieces") for name, wrong in _PIECE_BUILDS),
    *(Build(f"cased: {name}", [TFLITE], wrong, model="cased") for name, wrong in _CASED_BUILDS),
    *(Build(f"unicode: {name}", [target], wrong, model="unicode") for name, target, wrong in _UNICODE_BUILDS),
    *(Build(f"letters: {name}", targets, wrong, model="letters") for name, targets, wrong in _LETTER_BUILDS),
    *(Build(f"unigram: {name}", [TFLITE], wrong, model="unigram") for name, wrong in _UNIGRAM_BUILDS),
    Build("reject: what is sure", _MODELS, same, answer_by(when_sure), model="recipe"),
    Build("reject: the last class's index", _MODELS, same, answer_by(as_the_last_class), model="recipe"),
]
