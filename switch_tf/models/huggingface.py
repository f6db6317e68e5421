"""Hugging Face's Switch-Transformers: `config.json` to settings, and their weights' names to ours.

The files are those that `save_pretrained` of transformers writes for the model type `switch_transformers`, and those
of google/switch-base-8 to switch-c-2048. What they compute is what transformers 4.53 to 4.57 and 5.18 and newer
compute: an expert has `expert_capacity` slots for each text, and a token that finds none adds nothing. (Releases
before 4.53 put the token itself there, and those from 5.0 to 5.17 never drop any.)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from switch_tf import files
from switch_tf.errors import ModelError, RunError
from switch_tf.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import tensorflow as tf

CONFIG = "config.json"
MODEL_TYPE = "switch_transformers"


@dataclass(frozen=True)
class T5Settings:
    """What a Switch-Transformer in T5's form is built from; names and defaults are those of `config.json`."""

    vocab_size: int = 32128
    d_model: int = 768
    d_kv: int = 64
    d_ff: int = 2048
    expert_capacity: int = 64
    num_layers: int = 12
    num_decoder_layers: int = 12
    encoder_sparse_step: int = 4
    decoder_sparse_step: int = 4
    num_heads: int = 12
    num_experts: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 0
    router_bias: bool = False
    tie_word_embeddings: bool = True
    layer_norm_epsilon: float = 1e-6
    dropout_rate: float = 0.1
    router_jitter_noise: float = 0.01
    router_z_loss_coef: float = 0.001
    router_aux_loss_coef: float = 0.001

    def is_sparse_encoder_layer(self, number: int) -> bool:
        """Whether the encoder's block of that number, from 0, has a Switch layer."""
        return _is_sparse(number, self.encoder_sparse_step)

    def is_sparse_decoder_layer(self, number: int) -> bool:
        """The same of the decoder's."""
        return _is_sparse(number, self.decoder_sparse_step)


_LIMITS = {  # far above any released model: a file that asks for more is damaged or hostile
    "vocab_size": (1, 2**22),
    "d_model": (1, 2**16),
    "d_kv": (1, 2**14),
    "d_ff": (1, 2**20),
    "expert_capacity": (1, 2**20),
    "num_layers": (1, 512),
    "num_decoder_layers": (1, 512),
    "encoder_sparse_step": (0, 512),
    "decoder_sparse_step": (0, 512),
    "num_heads": (1, 2**10),
    "num_experts": (1, 2**14),
    "relative_attention_num_buckets": (4, 2**16),
    "relative_attention_max_distance": (2, 2**20),
}
_TOKENS = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
_SHARES = ("dropout_rate", "router_jitter_noise")
_ONLY: dict[str, tuple[Any, ...]] = {  # other settings that change what is computed, with the values that we compute
    "model_type": (MODEL_TYPE,),
    "dense_act_fn": ("relu",),
    "feed_forward_proj": ("relu",),
    "is_gated_act": (False,),
    "is_encoder_decoder": (True, False),
    "is_decoder": (False,),
    "num_selected_experts": (1,),
    "router_type": ("tokens_masked",),
    "router_dtype": ("float32",),
    "batch_prioritized_routing": (False,),
    "scale_decoder_outputs": (None, True),
    "quantization_config": (None,),
}
_WITHOUT_EFFECT = {  # on what the model computes from ids
    *("_name_or_path", "add_cross_attention", "add_router_probs", "architectures", "bos_token_id", "dtype"),
    *("initializer_factor", "n_positions", "num_sparse_decoder_layers", "num_sparse_encoder_layers", "output_past"),
    *("reorder_layers", "return_dict", "router_ignore_padding_tokens", "task_specific_params", "torch_dtype"),
    *("transformers_version", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits"),
    *("tokenizer_class", "id2label", "label2id", "finetuning_task", "problem_type", "chunk_size_feed_forward"),
}


def is_huggingface(folder: Path) -> bool:
    """Whether the folder looks like a checkpoint of this kind: its `config.json` says so."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        values = files.read_json(folder / CONFIG)
    except RunError:
        return False
    return isinstance(values, dict) and values.get("model_type") == MODEL_TYPE


def read_settings(folder: Path) -> T5Settings:
    """The settings in the folder's `config.json`.

    Raises:
        ModelError: it is missing or damaged, is of another kind of model, or asks for what we do not compute.
    """
    path = folder / CONFIG
    try:
        values = files.read_json(path)
    except RunError as error:
        raise ModelError(f"{path} cannot be read as JSON. Expected the folder of a Switch-Transformer.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} does not hold a JSON object. Expected the settings of a Switch-Transformer.")
    _check_others(values, path)
    layers = values.get("num_layers", T5Settings.num_layers)
    decoder_layers = values.get("num_decoder_layers")
    steps = {
        "encoder_sparse_step": _sparse_step(values, "encoder", layers),
        "decoder_sparse_step": _sparse_step(values, "decoder", layers if decoder_layers is None else decoder_layers),
    }
    given = {name: values[name] for name in _NAMES if values.get(name) is not None}
    settings = T5Settings(**{"num_decoder_layers": layers} | given | steps)
    _check_ranges(settings, path)
    return settings


def _check_others(values: dict[str, Any], path: Path) -> None:
    """Refuse what is no setting of ours, unless it has no effect or the one value that we compute."""
    if values.get("model_type") != MODEL_TYPE:
        raise ModelError(
            f"{path} is of the model type {values.get('model_type')!r}. Expected {MODEL_TYPE!r}, such as "
            "google/switch-base-8."
        )
    for name, value in values.items():
        if name in _ONLY and value not in _ONLY[name]:
            expected = " or ".join(repr(each) for each in _ONLY[name])
            raise ModelError(f"{path} has {name} = {value!r}, which is not supported. Expected {expected}.")
        if name not in _NAMES and name not in _ONLY and name not in _WITHOUT_EFFECT and value not in (None, False):
            raise ModelError(
                f"{path} has {name} = {value!r}, a setting that is not known here and may change what the model "
                "computes. Take it out if it does not."
            )


def _sparse_step(values: dict[str, Any], part: str, layers: Any) -> Any:
    """Every how many blocks of the part have a Switch layer: as written down, or from how many have one."""
    step = values.get(f"{part}_sparse_step")
    if step is not None:
        return step
    sparse = values.get(f"num_sparse_{part}_layers", 3)
    if type(layers) is not int or type(sparse) is not int:
        return None
    return layers // sparse if sparse > 0 else layers


def _check_ranges(settings: T5Settings, path: Path) -> None:
    for name, (least, most) in _LIMITS.items():
        value = getattr(settings, name)
        if type(value) is not int or not least <= value <= most:
            raise ModelError(f"{path} has {name} = {value!r}. Expected an integer from {least} to {most:,}.")
    for name in _TOKENS:
        value = getattr(settings, name)
        if type(value) is not int or not 0 <= value < settings.vocab_size:
            raise ModelError(f"{path} has {name} = {value!r}. Expected an id below vocab_size.")
    for name in ("router_bias", "tie_word_embeddings"):
        if not isinstance(getattr(settings, name), bool):
            raise ModelError(f"{path} has {name} = {getattr(settings, name)!r}. Expected true or false.")
    for name in (*_SHARES, "layer_norm_epsilon", "router_z_loss_coef", "router_aux_loss_coef"):
        value = getattr(settings, name)
        if type(value) not in (int, float) or not 0 <= value < 1:
            raise ModelError(f"{path} has {name} = {value!r}. Expected a number from 0 and below 1.")
    if settings.relative_attention_max_distance <= settings.relative_attention_num_buckets // 2:
        raise ModelError(
            f"{path} has relative_attention_max_distance = {settings.relative_attention_max_distance}. "
            "Expected more than half of relative_attention_num_buckets."
        )


def _is_sparse(number: int, step: int) -> bool:
    return step > 0 and (number % step == 1 or step == 1)


_NAMES = {field.name for field in fields(T5Settings)}


class Source(NamedTuple):
    """Where a weight of ours stands in a checkpoint.

    Attributes:
        names: of the tensors there; several for the experts of a layer, which are stacked.
        transposed: whether each has its axes swapped.
    """

    names: tuple[str, ...]
    transposed: bool = False


class Weights(Mapping[str, "LazyArray"]):
    """A checkpoint's weights by our names, read when they are asked for.

    Args:
        checkpoint: of the folder.
        settings: from `read_settings`.
        prefix: of our names: that of the model.
        with_decoder: False leaves out all that an encoder does not need.

    Raises:
        ModelError: the checkpoint lacks a weight, or holds one that the settings have no place for.
    """

    def __init__(self, checkpoint: Checkpoint, settings: T5Settings, prefix: str, with_decoder: bool = True):
        self._checkpoint = checkpoint
        named = dict(_sources(checkpoint, settings, with_decoder))
        self._sources = {f"{prefix}/{name}": source for name, source in named.items()}
        used = {name for source in named.values() for name in source.names} | set(_TABLES)
        ignored = () if with_decoder else ("decoder.", "lm_head.")
        for name in checkpoint.names():
            if name not in used and not name.startswith(ignored or "\0"):
                raise ModelError(
                    f"{checkpoint.folder} holds the weight {name!r}, which its {CONFIG} has no place for. "
                    "Restore both from where the checkpoint came from."
                )
        for name in sorted(used - set(_TABLES)):
            if name not in checkpoint:
                raise ModelError(
                    f"{checkpoint.folder} lacks the weight {name!r}, which its {CONFIG} calls for. "
                    "Restore both from where the checkpoint came from."
                )

    def __getitem__(self, name: str) -> "LazyArray":
        return LazyArray(self._checkpoint, self._sources[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


class LazyArray:
    """A weight that is not read yet; `shape` and `dtype` are those that it will have."""

    dtype = np.dtype(np.float32)

    def __init__(self, checkpoint: Checkpoint, source: Source):
        self._checkpoint = checkpoint
        self._source = source
        shapes = {checkpoint.shape(name) for name in source.names}
        shape = shapes.pop() if len(shapes) == 1 else None
        if shape is None:
            raise ModelError(f"{checkpoint.folder} has experts of different shapes, such as {source.names[0]!r}.")
        shape = shape[::-1] if source.transposed else shape
        self.shape = (len(source.names), *shape) if _is_stacked(source) else shape

    def assign_to(self, variable: "tf.Variable") -> None:
        """Read it into a variable of its shape.

        Experts are stacked before: a variable that was once assigned in parts is copied whenever it is read.
        """
        if not _is_stacked(self._source):
            variable.assign(self._read(self._source.names[0]))
            return
        stacked = np.empty(self.shape, self.dtype)
        for number, name in enumerate(self._source.names):
            stacked[number] = self._read(name)
        variable.assign(stacked)

    def parts(self, variable: "tf.Variable") -> "Iterator[tuple[str, Callable[[], np.ndarray]]]":
        """The other way than `assign_to`: each tensor's name in the checkpoint, and what makes it of a variable."""
        for number, name in enumerate(self._source.names):
            yield name, partial(self._part, variable, number)

    def _part(self, variable: "tf.Variable", number: int) -> np.ndarray:
        array = np.asarray(variable[number] if _is_stacked(self._source) else variable)
        return array.T if self._source.transposed else array

    def _read(self, name: str) -> np.ndarray:
        array = self._checkpoint.read(name)
        return np.ascontiguousarray(array.T) if self._source.transposed else array


_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def _is_stacked(source: Source) -> bool:
    return ".experts." in source.names[0]


def _sources(checkpoint: Checkpoint, settings: T5Settings, with_decoder: bool) -> Iterator[tuple[str, Source]]:
    """Every weight of ours, and where it stands."""
    shared, encoder_table, decoder_table, head = _TABLES
    any_table = (shared, encoder_table, decoder_table, head)
    tied = settings.tie_word_embeddings
    yield "tokens/embeddings", _first(checkpoint, any_table if tied else (encoder_table, shared))
    yield from _stack_sources("encoder", settings.num_layers, settings.is_sparse_encoder_layer, settings)
    if not with_decoder:
        return
    yield from _stack_sources("decoder", settings.num_decoder_layers, settings.is_sparse_decoder_layer, settings)
    if not tied:
        yield "decoder_tokens/embeddings", _first(checkpoint, (decoder_table, shared))
        yield "head/kernel", Source((head,), transposed=True)


def _first(checkpoint: Checkpoint, names: tuple[str, ...]) -> Source:
    """The first of several names for the same weight that the checkpoint has."""
    return Source((next((name for name in names if name in checkpoint), names[0]),))


def _stack_sources(part: str, layers: int, is_sparse: Any, settings: T5Settings) -> Iterator[tuple[str, Source]]:
    yield (
        f"{part}/positions/embeddings",
        Source((f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",)),
    )
    yield f"{part}/norm/scale", Source((f"{part}.final_layer_norm.weight",))
    for number in range(layers):
        ours, theirs = f"{part}/block_{number}", f"{part}.block.{number}.layer"
        yield from _attention_sources(f"{ours}/attention", f"{theirs}.0", "SelfAttention")
        if part == "decoder":
            yield from _attention_sources(f"{ours}/text_attention", f"{theirs}.1", "EncDecAttention")
        last = 2 if part == "decoder" else 1
        yield f"{ours}/ffn_norm/scale", Source((f"{theirs}.{last}.layer_norm.weight",))
        yield from _ffn_sources(f"{ours}/ffn", f"{theirs}.{last}.mlp", is_sparse(number), settings)


def _attention_sources(ours: str, theirs: str, kind: str) -> Iterator[tuple[str, Source]]:
    yield f"{ours}_norm/scale", Source((f"{theirs}.layer_norm.weight",))
    for our_name, their_name in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        yield f"{ours}/{our_name}/kernel", Source((f"{theirs}.{kind}.{their_name}.weight",), transposed=True)


def _ffn_sources(ours: str, theirs: str, is_sparse: bool, settings: T5Settings) -> Iterator[tuple[str, Source]]:
    for our_name, their_name in (("w_in", "wi"), ("w_out", "wo")):
        if is_sparse:
            experts = (f"{theirs}.experts.expert_{i}.{their_name}.weight" for i in range(settings.num_experts))
            yield f"{ours}/{our_name}", Source(tuple(experts), transposed=True)
        else:
            yield f"{ours}/{our_name}/kernel", Source((f"{theirs}.{their_name}.weight",), transposed=True)
    if is_sparse:
        yield f"{ours}/router", Source((f"{theirs}.router.classifier.weight",), transposed=True)
        if settings.router_bias:
            yield f"{ours}/router_bias", Source((f"{theirs}.router.classifier.bias",))
