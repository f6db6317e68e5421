"""Writes the classifier down as an ONNX graph that computes on the real tokens of a batch alone.

It is what `switch_tf.models.packed` computes, node by node, for ONNX Runtime on a CPU: tf2onnx needs four times as many
nodes for it, and each costs a microsecond. Everything about the arrangement of tokens is said there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper

from switch_tf.expert_map import GONE
from switch_tf.export.onnx_file.graph import Graph, info
from switch_tf.export.onnx_file.segments import NARROW, Segments, find_segments, sum_narrow, sum_segments
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.mean_context import MeanContextBlock
from switch_tf.layers.switch_ffn import SwitchFFN
from switch_tf.layers.token_routes import TokenTable
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.fused import FusedClassifier
from switch_tf.models.wide import TINY, WidePath
from switch_tf.text.ngrams import PRIMES, PairIndex
from switch_tf.text.spec import PADDING_ID


class _Texts(NamedTuple):
    """Names of the values that say where tokens stand; as `switch_tf.models.packed.Packed`, indices int64."""

    previous: str
    this: str
    text_of_pair: str
    tokens: str
    text: str
    in_texts: Segments  # tokens of each text
    ids: str  # of the tokens
    words: str  # float32 [batch, 1], tokens of each text
    divisor: str  # the same, 1 at least
    batch: str  # int64 [1]


def build_packed_graph(
    classifier: SwitchClassifier | FusedClassifier,
    length: int,
    opsets: dict[str, int],
    ir_version: int,
    threshold: float | None = None,
) -> onnx.ModelProto:
    """A model from `ids`, int32 [batch, length], to `probabilities` and `label`, for one that `can_pack`.

    Args:
        threshold: below it, as the highest probability, the label is the number of classes; None for no such answer.
    """
    graph = Graph(prefix="classifier/")
    texts = _pack(graph.stage("pack"), length)
    deep_path = classifier.deep if isinstance(classifier, FusedClassifier) else classifier
    classes = int(deep_path.head.bias.shape[0])
    if isinstance(classifier, FusedClassifier):
        rows = _pair_rows(graph.stage("pairs"), classifier.wide.pair_index, texts)
        wide = _wide(graph.stage("wide"), classifier.wide, texts, rows)
        deep = _deep(graph.stage("deep"), classifier.deep, texts, rows)
        scales = [graph.constant(each) for each in classifier.scales.numpy()]
        logits = graph.op("Add", graph.op("Mul", wide, scales[0]), graph.op("Mul", deep, scales[1]))
    else:
        logits = _deep(graph.stage("deep"), classifier, texts, "")
    graph.op("Softmax", logits, axis=-1, output="probabilities")  # float32 [batch, classes]
    _label(graph, logits, classes, threshold)
    outputs = [info("probabilities", TensorProto.FLOAT, "batch", classes), info("label", TensorProto.INT64, "batch")]
    inputs = [info("ids", TensorProto.INT32, "batch", length)]
    written = helper.make_graph(graph.nodes, "classifier", inputs, outputs, list(graph.constants.values()))
    sets = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(written, opset_imports=sets, ir_version=ir_version)


def _label(graph: Graph, logits: str, classes: int, threshold: float | None) -> None:
    """int64 [batch], under the name `label`."""
    if threshold is None:
        graph.op("ArgMax", logits, axis=-1, keepdims=0, output="label")
        return
    best = graph.op("ArgMax", logits, axis=-1, keepdims=0)
    highest = graph.op("ReduceMax", "probabilities", graph.ints(-1), keepdims=0)  # [batch]
    unsure = graph.op("Less", highest, graph.constant(np.float32(threshold)))
    graph.op("Where", unsure, graph.scalar(classes), best, output="label")


def _pack(graph: Graph, length: int) -> _Texts:
    """Rows with a 0 before each, one behind the other: between two texts there is a 0, so that pairs are neighbours."""
    zero = graph.constant(np.zeros([1], np.int32))
    rows = graph.op("Pad", "ids", graph.ints(0, 1, 0, 0))  # int32 [batch, length + 1]
    line = graph.op("Concat", graph.op("Reshape", rows, graph.ints(-1)), zero, axis=0)  # [batch * (length + 1) + 1]
    previous, this = graph.slice(line, 0, -1), graph.slice(line, 1, 2**63 - 1)  # [batch * (length + 1)]
    place = _places(graph, graph.op("Max", previous, this))  # int64 [pairs]
    previous, this = graph.op("Gather", previous, place), graph.op("Gather", this, place)
    text_of_pair = graph.op("Div", place, graph.scalar(length + 1))
    tokens = _places(graph, this)  # int64 [tokens]
    text, ids = (graph.op("Gather", each, tokens) for each in (text_of_pair, this))
    batch = graph.op("Shape", "ids", end=1)
    in_texts = find_segments(graph, text, batch)
    one = graph.constant(np.ones([1, 1], np.float32))
    words = graph.op("Unsqueeze", graph.op("Cast", in_texts.sizes, to=TensorProto.FLOAT), graph.ints(1))  # [batch, 1]
    return _Texts(previous, this, text_of_pair, tokens, text, in_texts, ids, words, graph.op("Max", words, one), batch)


def _places(graph: Graph, values: str) -> str:
    """Where a list is not 0: [n] -> int64 [m]."""
    assert PADDING_ID == 0
    return graph.op("Squeeze", graph.op("NonZero", values), graph.ints(0))


def _pair_rows(graph: Graph, index: PairIndex, texts: _Texts) -> str:
    """As `PairIndex.look_up_pairs`: int32 [pairs]."""

    def number(value: int) -> str:
        return graph.constant(np.array(value, np.int32))

    tables = {name: tf.convert_to_tensor(each).numpy() for name, each in index.to_arrays().items()}
    slots, groups = len(tables["rows"]), len(tables["shifts"])
    factors = index.factors
    sides = [(texts.previous, texts.this), (texts.this, texts.previous)][: len(factors)]
    codes = [
        graph.op("Add", graph.op("Mul", one, number(factor)), other)
        for (one, other), factor in zip(sides, factors, strict=True)
    ]
    p, q = PRIMES
    first = {prime: graph.op("Mod", codes[0], number(prime)) for prime in (p, q)}
    last = first if len(codes) == 1 else {prime: graph.op("Mod", codes[-1], number(prime)) for prime in (p, q)}
    home = graph.op("Add", graph.op("Mul", first[p], number(q)), first[q])
    group = graph.op("Add", graph.op("Mul", last[q], number(p)), last[p])
    shift = graph.op("Gather", graph.constant(tables["shifts"]), graph.op("Mod", group, number(groups)))
    slot = graph.op("Add", graph.op("Mod", home, number(slots)), shift)
    slot = graph.op("Mod", slot, number(slots))
    found = ""
    for stored, code in zip(tables["codes"], codes, strict=True):
        same = graph.op("Equal", graph.op("Gather", graph.constant(stored), slot), code)
        found = graph.op("And", found, same) if found else same
    return graph.op("Where", found, graph.op("Gather", graph.constant(tables["rows"]), slot), number(index.num_pairs))


def _wide(graph: Graph, wide: WidePath, texts: _Texts, rows: str) -> str:
    """As `WidePath.call`: float32 [batch, classes]."""
    words, pairs, bias = (each.numpy() for each in (wide.words, wide.pairs, wide.bias))
    width = words.shape[1]
    found = graph.op("Add", _row(graph, words, texts.this), _row(graph, pairs, rows))  # [pairs, columns + 1]
    if width > NARROW:
        sums = sum_segments(graph, found, find_segments(graph, texts.text_of_pair, texts.batch), width)
    else:
        sums = sum_narrow(graph, found, texts.text_of_pair, texts.batch, width)  # [batch, columns + 1]
    norm = graph.op("Max", graph.slice(sums, width - 1, width, axis=1), graph.constant(np.float32(TINY)))
    scores = graph.op("Div", graph.slice(sums, 0, width - 1, axis=1), graph.op("Sqrt", norm))  # [batch, columns]
    if len(bias) == 2:
        scores = graph.op("Pad", scores, graph.ints(0, 1, 0, 0))  # the first class has the bias alone
    return graph.op("Add", scores, graph.constant(bias))


def _deep(graph: Graph, deep: SwitchClassifier, texts: _Texts, rows: str) -> str:
    """float32 [batch, classes]."""
    x = _row(graph, deep.tokens.embeddings.numpy(), texts.ids)  # [tokens, d_model]
    if deep.pairs is not None:
        known = graph.op("Min", graph.op("Gather", rows, texts.tokens), graph.constant(np.int32(deep.num_pairs)))
        x = graph.op("Add", x, _row(graph, deep.pairs.embeddings.numpy(), known))
    d_model = deep.settings.d_model
    for block, table in zip(deep.blocks[:-1], deep.routes[:-1], strict=True):
        total = sum_segments(graph, x, texts.in_texts, d_model)  # [batch, d_model]
        x = graph.op("Add", x, _tokens_of_block(graph, block, table, x, total, texts))
    total = sum_segments(graph, x, texts.in_texts, d_model)  # [batch, d_model]
    total = graph.op("Add", total, _total_of_block(graph, deep.blocks[-1], deep.routes[-1], x, total, texts))
    kernel, bias = (graph.constant(each.numpy()) for each in (deep.head.kernel, deep.head.bias))
    return graph.op("Gemm", graph.op("Div", total, texts.divisor), kernel, bias)


def _normed(graph: Graph, block: MeanContextBlock, x: str, total: str, texts: _Texts) -> str:
    """What goes into a block's feed-forward layer: float32 [tokens, d_model]."""
    context = graph.op("MatMul", graph.op("Div", total, texts.divisor), graph.constant(block.context.kernel.numpy()))
    norm = block.feed_forward_norm
    gamma, beta = graph.constant(norm.gamma.numpy()), graph.constant(norm.beta.numpy())
    h = graph.op("Add", x, graph.op("Gather", context, texts.text))
    return graph.op("LayerNormalization", h, gamma, beta, axis=-1, epsilon=float(norm.epsilon))


class _Routed(NamedTuple):
    """Tokens in the order of their experts: int64 [tokens] all, but `gate`, float32 [tokens, 1], 0 where dropped."""

    order: str  # the token at each place
    expert: str
    groups: Segments  # expert * batch + text, rising
    gate: str
    sizes: str  # int64 [experts]


def _choose(graph: Graph, layer: SwitchFFN, table: TokenTable | None, x: str, texts: _Texts) -> tuple[str, str]:
    """Each token's expert among those that have weights, int64 [tokens], and its gate, float32 [tokens, 1]."""
    if table is not None:
        expert = graph.op("Cast", _row(graph, table.expert.numpy(), texts.ids), to=TensorProto.INT64)
        gate = graph.op("Unsqueeze", _row(graph, table.gate.numpy(), texts.ids), graph.ints(1))
        return _weights_of(graph, layer, expert), gate
    logits = graph.op("MatMul", x, graph.constant(layer.router_kernel.numpy()))  # [tokens, experts]
    probabilities = graph.op("Softmax", logits, axis=1)
    if layer.expert_map is not None:  # choices that are gone are never the best
        left = graph.constant(np.array([number != GONE for number in layer.expert_map]))
        logits = graph.op("Where", left, logits, graph.constant(np.finfo(np.float32).min))
        probabilities = graph.op("Where", left, probabilities, graph.constant(np.float32(0)))
    expert = _weights_of(graph, layer, graph.op("ArgMax", logits, axis=1, keepdims=0))
    return expert, graph.op("ReduceMax", probabilities, graph.ints(1), keepdims=1)


def _weights_of(graph: Graph, layer: SwitchFFN, expert: str) -> str:
    return expert if layer.expert_map is None else _row(graph, np.array(layer.expert_map, np.int64), expert)


def _route(graph: Graph, layer: SwitchFFN, table: TokenTable | None, x: str, texts: _Texts) -> _Routed:
    experts = layer.stored_experts
    expert, gate = _choose(graph, layer, table, x, texts)
    number = graph.constant(np.arange(experts)[:, np.newaxis])
    chosen = graph.op("Equal", number, graph.op("Unsqueeze", expert, graph.ints(0)))  # bool [experts, tokens]
    sizes = graph.op("ReduceSum", graph.op("Cast", chosen, to=TensorProto.INT64), graph.ints(1), keepdims=0)
    expert, order = (
        graph.op("Squeeze", each, graph.ints(0))
        for each in graph.ops("Split", graph.op("NonZero", chosen), outputs=2, num_outputs=2, axis=0)
    )
    group = graph.op("Add", graph.op("Mul", expert, texts.batch), graph.op("Gather", texts.text, order))
    if not layer.scale_by_gate:
        gate = graph.op("Div", gate, gate)
    gate = graph.op("Gather", gate, order)
    groups = find_segments(graph, group, graph.op("Mul", texts.batch, graph.ints(experts)))
    capacity, length = layer.full_capacity()
    if capacity < length:
        # A text's tokens of an expert stand side by side, so that its first `capacity` ones found a slot.
        kept = graph.op("Cast", graph.op("Less", groups.position, graph.scalar(capacity)), to=TensorProto.FLOAT)
        gate = graph.op("Mul", gate, graph.op("Unsqueeze", kept, graph.ints(1)))
    return _Routed(order, expert, groups, gate, sizes)


def _hidden(graph: Graph, layer: SwitchFFN, x: str, routed: _Routed) -> str:
    """The hidden units of each token's expert, in the order of experts, times its gate: float32 [tokens, d_ff]."""
    experts = layer.stored_experts
    parts = graph.ops("Split", graph.op("Gather", x, routed.order), routed.sizes, outputs=experts, axis=0)
    parts = [
        _activated(graph, graph.op("Gemm", part, kernel, bias), layer.activation)
        for part, kernel, bias in zip(
            parts, _each(graph, layer.w_in, experts), _each(graph, layer.b_in, experts), strict=True
        )
    ]
    return graph.op("Mul", graph.op("Concat", *parts, axis=0), routed.gate)


def _total_of_block(
    graph: Graph, block: MeanContextBlock, table: TokenTable | None, x: str, total: str, texts: _Texts
) -> str:
    """The sum over each text of what the block adds to its tokens: float32 [batch, d_model].

    Hidden units are summed before the second product, which is linear: once for each text and expert, not each token.
    """
    h = _normed(graph, block, x, total, texts)
    layer = block.feed_forward
    if isinstance(layer, DenseFFN):
        hidden = _dense_hidden(graph, layer, h)
        width = int(layer.w_out.kernel.shape[0])
        w_out, b_out = (graph.constant(each.numpy()) for each in (layer.w_out.kernel, layer.w_out.bias))
        product = graph.op("MatMul", sum_segments(graph, hidden, texts.in_texts, width), w_out)
        return graph.op("Add", product, graph.op("Mul", texts.words, b_out))
    experts, d_ff = layer.stored_experts, layer.d_ff
    routed = _route(graph, layer, table, h, texts)
    groups = routed.groups
    hidden = sum_segments(graph, _hidden(graph, layer, h, routed), groups, d_ff)  # [experts * batch, d_ff]
    hidden = graph.op("Reshape", hidden, graph.ints(experts, -1, d_ff))
    gates = sum_narrow(graph, routed.gate, groups.of_row, groups.segments, 1)  # [experts * batch, 1]
    gates = graph.op("Reshape", gates, graph.ints(experts, -1, 1))
    product = graph.op("MatMul", hidden, graph.constant(layer.w_out.numpy()))  # [experts, batch, d_model]
    product = graph.op("Add", product, graph.op("Mul", gates, graph.constant(layer.b_out.numpy())))
    return graph.op("ReduceSum", product, graph.ints(0), keepdims=0)


def _tokens_of_block(
    graph: Graph, block: MeanContextBlock, table: TokenTable | None, x: str, total: str, texts: _Texts
) -> str:
    """What the block adds to each token: float32 [tokens, d_model]."""
    h = _normed(graph, block, x, total, texts)
    layer = block.feed_forward
    if isinstance(layer, DenseFFN):
        w_out, b_out = (graph.constant(each.numpy()) for each in (layer.w_out.kernel, layer.w_out.bias))
        return graph.op("Gemm", _dense_hidden(graph, layer, h), w_out, b_out)
    experts = layer.stored_experts
    routed = _route(graph, layer, table, h, texts)
    parts = graph.ops("Split", _hidden(graph, layer, h, routed), routed.sizes, outputs=experts, axis=0)
    parts = [
        graph.op("MatMul", part, kernel) for part, kernel in zip(parts, _each(graph, layer.w_out, experts), strict=True)
    ]
    bias = graph.op("Gather", graph.op("Squeeze", graph.constant(layer.b_out.numpy()), graph.ints(1)), routed.expert)
    y = graph.op("Add", graph.op("Concat", *parts, axis=0), graph.op("Mul", bias, routed.gate))  # [tokens, d_model]
    return graph.op("ScatterND", x, graph.op("Unsqueeze", routed.order, graph.ints(1)), y)  # back in the texts' order


def _dense_hidden(graph: Graph, layer: DenseFFN, h: str) -> str:
    w_in, b_in = (graph.constant(each.numpy()) for each in (layer.w_in.kernel, layer.w_in.bias))
    return _activated(graph, graph.op("Gemm", h, w_in, b_in), layer.config.activation)


def _activated(graph: Graph, x: str, activation: str) -> str:
    return graph.op("Relu", x) if activation == "relu" else graph.op("Gelu", x)  # the exact one


def _each(graph: Graph, weight: tf.Variable, experts: int) -> list[str]:
    """A weight [experts, a, b] as one [a, b] for each; runtimes do this when they load the file."""
    parts = graph.ops("Split", graph.constant(weight.numpy()), outputs=experts, num_outputs=experts, axis=0)
    return [graph.op("Squeeze", part, graph.ints(0)) for part in parts]


def _row(graph: Graph, table: np.ndarray, index: str) -> str:
    return graph.op("Gather", graph.constant(table), index)
