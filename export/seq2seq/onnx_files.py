"""An encoder-decoder as ONNX files in the layout that optimum's ORTModelForSeq2SeqLM loads.

    encoder_model.onnx             input_ids, attention_mask: int64 [batch, length]  -> last_hidden_state
    decoder_model.onnx             input_ids: int64 [batch, 1], encoder_hidden_states, encoder_attention_mask
                                       -> logits, present.N.decoder.key, ...value, present.N.encoder.key, ...value
    decoder_with_past_model.onnx   input_ids: int64 [batch, 1], encoder_attention_mask, past_key_values.N....
                                       -> logits, present.N.decoder.key, ...value

    decoder_model_merged.onnx      both, of which `use_cache_branch` chooses one

Weights stand once, in `model.weights`, which all of them point into. The first step of writing takes one id for each
text, that of the start. A text may have `longest` ids at most.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from switch_tf.export.onnx_file.conversion import refuse_invalid
from switch_tf.export.seq2seq.merged_decoder import merge
from switch_tf.export.seq2seq.weights_apart import convert, write_weights
from switch_tf.models.seq2seq import Seq2Seq
from switch_tf.models.t5 import KeysAndValues, Memory, padding_bias

WEIGHTS = "model.weights"
ENCODER, DECODER, DECODER_WITH_PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"
MERGED = "decoder_model_merged.onnx"
_KINDS = ("key", "value")


def write_onnx(model: Seq2Seq, folder: Path, longest: int) -> None:
    """Write the files into a folder.

    Raises:
        ExportError: a graph cannot be converted.
        OSError: a file cannot be written.
    """
    places = write_weights(folder / WEIGHTS, model.variables)
    converted = {}
    for name, (function, signature, outputs) in _graphs(model, longest).items():
        axes = {**{spec.name: _axes(spec.name, model) for spec in signature}, **{n: _axes(n, model) for n in outputs}}
        converted[name] = convert(function, signature, axes, WEIGHTS, places)
        converted[name].producer_name = "switch-tf"
    converted[MERGED] = merge(converted[DECODER], converted[DECODER_WITH_PAST])
    for name, graph in converted.items():
        (folder / name).write_bytes(graph.SerializeToString())
        refuse_invalid(folder / name, f"The graph of {name}")


_Graph = tuple[Callable[..., dict[str, tf.Tensor]], Sequence[tf.TensorSpec], Sequence[str]]


def _graphs(model: Seq2Seq, longest: int) -> dict[str, _Graph]:
    """Function, inputs and names of the outputs of each file."""
    layers, d_model = model.settings.num_decoder_layers, model.settings.d_model
    cache = [model.settings.num_heads, model.settings.d_kv]
    text = [tf.TensorSpec([None, None], tf.int64, name) for name in ("input_ids", "attention_mask")]
    mask, ids = (
        tf.TensorSpec([None, None], tf.int64, "encoder_attention_mask"),
        tf.TensorSpec([None, 1], tf.int64, "input_ids"),
    )
    hidden = tf.TensorSpec([None, None, d_model], tf.float32, "encoder_hidden_states")
    past = [
        tf.TensorSpec([None, cache[0], None, cache[1]], tf.float32, name)
        for name in _cache_names("past_key_values", layers, ("decoder", "encoder"))
    ]
    own, both = (list(_cache_names("present", layers, parts)) for parts in (("decoder",), ("decoder", "encoder")))
    return {
        ENCODER: (_encoder(model, longest), text, ["last_hidden_state"]),
        DECODER: (_first_step(model), [mask, ids, hidden], ["logits", *both]),
        DECODER_WITH_PAST: (_later_step(model), [mask, ids, *past], ["logits", *own]),
    }


def _encoder(model: Seq2Seq, longest: int) -> Callable[..., dict[str, tf.Tensor]]:
    def encode(input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden, _ = model.encoder(model.tokens(input_ids), attention_mask > 0, longest=longest)
        return {"last_hidden_state": hidden}

    return encode


def _first_step(model: Seq2Seq) -> Callable[..., dict[str, tf.Tensor]]:
    def step(
        encoder_attention_mask: tf.Tensor, input_ids: tf.Tensor, encoder_hidden_states: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        memory = model.decoder.remember(encoder_hidden_states, encoder_attention_mask > 0)
        cache = model.decoder.empty_cache(tf.shape(input_ids)[0], 0)
        answer, cache = _append(model, input_ids, cache, memory)
        for number, (own, text) in enumerate(zip(cache, memory.keys_and_values, strict=True)):
            for part, pair in (("decoder", own), ("encoder", text)):
                answer |= {f"present.{number}.{part}.{kind}": each for kind, each in zip(_KINDS, pair, strict=True)}
        return answer

    return step


def _later_step(model: Seq2Seq) -> Callable[..., dict[str, tf.Tensor]]:
    def step(encoder_attention_mask: tf.Tensor, input_ids: tf.Tensor, *past: tf.Tensor) -> dict[str, tf.Tensor]:
        own: list[KeysAndValues] = [(past[i], past[i + 1]) for i in range(0, len(past), 4)]
        text = tuple((past[i + 2], past[i + 3]) for i in range(0, len(past), 4))
        answer, cache = _append(model, input_ids, tuple(own), Memory(text, padding_bias(encoder_attention_mask > 0)))
        for number, pair in enumerate(cache):
            answer |= {f"present.{number}.decoder.{kind}": each for kind, each in zip(_KINDS, pair, strict=True)}
        return answer

    return step


def _append(
    model: Seq2Seq, ids: tf.Tensor, cache: tuple[KeysAndValues, ...], memory: Memory
) -> tuple[dict[str, tf.Tensor], tuple[KeysAndValues, ...]]:
    """One more step: int64 [batch, 1] to logits, float32 [batch, 1, vocab_size]."""
    x, cache = model.decoder.append(model.decoder_tokens(ids[:, 0]), cache, memory)
    return {"logits": model.logits(x)[:, tf.newaxis]}, cache


def _cache_names(begin: str, layers: int, parts: Sequence[str]) -> Iterator[str]:
    for number in range(layers):
        for part in parts:
            for kind in _KINDS:
                yield f"{begin}.{number}.{part}.{kind}"


def _axes(name: str, model: Seq2Seq) -> Sequence[str | int]:
    """What the axes of an input or output are called, as optimum calls them, or how long they are."""
    settings, text = model.settings, "encoder_sequence_length"
    if name == "input_ids":
        return ["batch_size", "sequence_length"]
    if name in ("attention_mask", "encoder_attention_mask"):
        return ["batch_size", text]
    if name in ("last_hidden_state", "encoder_hidden_states"):
        return ["batch_size", text, settings.d_model]
    if name == "logits":
        return ["batch_size", 1, settings.vocab_size]
    begin, _, part, _ = name.split(".")
    length = text if part == "encoder" else {"present": "steps", "past_key_values": "past_steps"}[begin]
    return ["batch_size", settings.num_heads, length, settings.d_kv]
