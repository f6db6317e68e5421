"""The catalogue of changes of content, and what opens each format for them."""

from typing import Any

from breaks.content import (
    add_one,
    invert,
    last_bit,
    move_threshold,
    packed_table,
    rename_last,
    reverse_labels,
    say,
    shift,
    swap_two_ids,
    table,
)
from breaks.onnx_file import (
    OnnxSurgeon,
    forget_last_word_of_the_metadata,
    know_one_more,
    misspell,
    shuffle_words,
    swap_last_words,
    swap_last_words_of_the_metadata,
)
from breaks.saved_model import (
    SavedModelSurgeon,
    forget_last,
    graph_table,
    misspell_last,
    rename_class,
    roll_half,
    swap_last,
    without,
)
from breaks.targets import INT8, OFF, ONNX, ONNX_BYTES, ONNX_IDS, SAVED_MODEL, SMALL, TFLITE, Change, Target
from breaks.tflite_file import TFLiteSurgeon, shift_zero_point

SURGEONS: dict[str, Any] = {"onnx": OnnxSurgeon, "tflite": TFLiteSurgeon, "saved_model": SavedModelSurgeon}

_EACH = [ONNX, TFLITE, SAVED_MODEL]

_WEIGHTS = (
    "tokens/embeddings",
    "positions",
    "switch_ffn/router",
    "switch_ffn/w_in",
    "switch_ffn/b_in",
    "switch_ffn/w_out",
    "switch_ffn/b_out",
    *(f"attention/{name}/{kind}" for name in ("query", "key", "value", "out") for kind in ("kernel", "bias")),
    *(f"{name}/{kind}" for name in ("attention_norm", "feed_forward_norm", "/norm") for kind in ("gamma", "beta")),
    "head/kernel",
    "head/bias",
    "wide/words",
    "wide/pairs",
    "wide/bias",
)
_RECIPE_WEIGHTS = ("tokens/embeddings", "pairs/embeddings", "switch_ffn/w_out", "head/kernel", "wide/pairs")
_REJECTING = [ONNX, ONNX_IDS, ONNX_BYTES, TFLITE]
_LABEL_PLACES = (
    ("metadata", [ONNX_IDS, TFLITE]),
    ("assets", [SAVED_MODEL]),
    ("output", [ONNX]),
    ("labels.json", [TFLITE]),
    ("labels.txt", [TFLITE]),
)
_THRESHOLD_PLACES = (("reject", [ONNX_IDS, TFLITE]), ("reject.json", [TFLITE, SAVED_MODEL]))
_ROUTES = ("routes_0/expert", "routes_0/gate")
_INDEX = ("wide/index/shifts", "wide/index/codes", "wide/index/rows")
_LETTERS = ("letters/weights", "letters/index/shifts", "letters/index/first", "letters/index/rows")
_RECIPE_FILES = [ONNX, ONNX_IDS, TFLITE, SAVED_MODEL]
CHANGES = [
    *(Change(f"one value of {name.strip('/')}", [ONNX, TFLITE, SAVED_MODEL], shift(name)) for name in _WEIGHTS),
    *(Change(f"recipe: one value of {name}", _RECIPE_FILES, shift(name), "recipe") for name in _RECIPE_WEIGHTS),
    *(Change(f"recipe: one value of {name}", _RECIPE_FILES, shift(name, 0), "recipe") for name in _INDEX),
    *(Change(f"letters: one value of {name}", [ONNX_BYTES, TFLITE], shift(name), "letters") for name in _LETTERS),
    *(Change(f"words: one value of {name}", [ONNX_IDS, TFLITE], shift(name), "words") for name in _ROUTES),
    Change("words: one expert that files in int8 keep", INT8, shift("routes_0/expert"), "words"),
    Change("cosines: one value of the projection", [ONNX_IDS, TFLITE], shift("router_projection"), "cosines"),
    Change("recipe: one value of a rounded table of pairs", INT8, shift("wide/pairs", 0), "recipe"),
    Change(
        "one value of the second expert", [ONNX_IDS, TFLITE, SAVED_MODEL], shift("switch_ffn/w_in", place=32 * 64 + 1)
    ),
    Change("one value of an embedding that is rounded", SMALL, shift("tokens/embeddings")),
    Change("one value of an expert that is rounded", SMALL, shift("switch_ffn/w_in")),
    Change("all scales x 3", INT8, lambda surgeon, model: surgeon.multiply_scales(3, only_one=False)),
    Change("all scales / 3", INT8, lambda surgeon, model: surgeon.multiply_scales(1 / 3, only_one=False)),
    Change("one scale x 1.001", INT8, lambda surgeon, model: surgeon.multiply_scales(1.001, only_one=True)),
    Change("the ids of half the words in another order", [ONNX], shuffle_words),
    Change("the ids of two words traded", [ONNX], swap_last_words),
    Change("two words traded in the metadata", [ONNX_IDS], swap_last_words_of_the_metadata),
    Change("a word less in the metadata", [ONNX_IDS], forget_last_word_of_the_metadata),
    Change("one more word", [ONNX], know_one_more),
    Change("a word misspelt", [ONNX], misspell),
    Change(
        "the ids of two words traded in the hash table",
        [TFLITE, ONNX_BYTES, SAVED_MODEL],
        table("values", swap_two_ids),
    ),
    Change("a key of the hash table", [TFLITE, ONNX_BYTES, SAVED_MODEL], table("keys/1", add_one(0))),
    Change("a shift of the hash table", [TFLITE, ONNX_BYTES, SAVED_MODEL], table("shifts", add_one(0))),
    Change("the code of a byte that no word has", [TFLITE, ONNX_BYTES, SAVED_MODEL], table("codes", add_one(0xC0))),
    Change("a power that long texts need", [ONNX_BYTES, SAVED_MODEL], table("powers/0", add_one(-2))),
    Change(
        "an inverse power that long texts need",
        [ONNX_BYTES, SAVED_MODEL],
        table("inverse_powers/1", add_one(-2)),
    ),
    Change("the ids of half the words in another order: a graph's table", [SAVED_MODEL], graph_table(roll_half)),
    Change("the ids of two words traded: a graph's table", [SAVED_MODEL], graph_table(swap_last)),
    Change("a word misspelt: a graph's table", [SAVED_MODEL], graph_table(misspell_last)),
    Change("a word for another: a graph's table", [SAVED_MODEL], graph_table(forget_last)),
    Change("labels reversed in the assets", [SAVED_MODEL], reverse_labels("assets")),
    Change("labels reversed in the graphs", [SAVED_MODEL], reverse_labels("graphs")),
    Change("a label with a space more in the assets", [SAVED_MODEL], rename_class),
    Change("no labels among the assets", [SAVED_MODEL], without("assets/labels.json")),
    Change("no index of the checkpoint", [SAVED_MODEL], without("variables/variables.index")),
    Change("no graph", [SAVED_MODEL], without("saved_model.pb")),
    Change("a zero point", [Target("tflite", precision="int8")], shift_zero_point),
    Change("an operator that no runtime has", _EACH, lambda surgeon, model: surgeon.name_an_operator()),
    Change("a label more than classes", _EACH, lambda surgeon, model: surgeon.add_label()),
    Change("a power that long words need", [TFLITE], packed_table("powers of all roots", add_one(-5))),
    Change("a code before a power", [TFLITE], packed_table("repeated codes", add_one(-1))),
    Change("labels reversed in the metadata", [ONNX, TFLITE, ONNX_IDS], reverse_labels("metadata")),
    Change("labels reversed in the output", [ONNX], reverse_labels("output")),
    Change("labels reversed in labels.json", [TFLITE], reverse_labels("labels.json")),
    Change("labels reversed in labels.txt", [TFLITE], reverse_labels("labels.txt")),
    Change("reject: the threshold", [*_REJECTING, SAVED_MODEL], move_threshold(lambda value: value + OFF), "recipe"),
    Change(
        "reject: the threshold's last bit",
        [ONNX_IDS, TFLITE, SAVED_MODEL, *SMALL],
        move_threshold(last_bit),
        "recipe",
    ),
    Change("reject: what is sure is rejected", [*_REJECTING, *INT8], invert, "recipe"),
    *(
        Change(f"reject: {what} in {place}", targets, say(place, change), "recipe")
        for place, targets in _LABEL_PLACES
        for what, change in (("another label", rename_last), ("no label", lambda labels: labels[:-1]))
    ),
    *(
        Change(f"reject: {what} in {place}", targets, say(place, change), "recipe")
        for place, targets in _THRESHOLD_PLACES
        for what, change in (
            ("another label", lambda said: said | {"label": "none of these"}),
            ("another threshold", lambda said: said | {"threshold": 0.125}),
            ("nothing", lambda said: None),
        )
    ),
]
