"""Settings: frozen, validated dataclasses that read from and write to TOML, each default with its reason.

A `Config` has three tables, `[text]`, `[model]` and `[train]`. `load_config` builds one from a preset, then a TOML
file, then `KEY=VALUE` assignments, each overriding the one before:

>>> config = load_config(preset="tiny", assignments=["model.num_experts=8", "text.sequence_length=128"])
>>> config.model.num_experts, config.text.sequence_length, config.text.byte_length
(8, 128, 1024)
"""

import dataclasses
import re
import tomllib
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from switch_tf.errors import ConfigError

_STRICT = ConfigDict(extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)

Standardize = Literal["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"]
Dispatch = Literal["gather", "einsum"]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def _setting(default: Any, why: str) -> Any:
    """A dataclass field whose reason travels with it into `--help` and the docs."""
    return field(default=default, metadata={"why": why})


@dataclass(frozen=True, config=_STRICT)
class TextSpec:
    """How text becomes token ids; every front-end (Keras, numeric, ONNX) realises this one specification.

    Bytes 9-13, 32 and 0 are whitespace; lower-casing is ASCII only; punctuation is `string.punctuation` and is
    removed without leaving a space; a token that becomes empty vanishes; id 0 is padding and id 1 is out of vocabulary.
    """

    vocabulary_size: Annotated[int, Field(ge=3, le=1_000_000)] = _setting(
        10_000, "ids in use at most, padding and OOV included; the most frequent training words are kept"
    )
    standardize: Standardize = _setting(
        "lower_and_strip_punctuation", "as in Keras TextVectorization; 'none' leaves the text as it is"
    )
    sequence_length: Annotated[int, Field(ge=1, le=8192)] = _setting(64, "tokens read of a text (L)")
    byte_length: Annotated[int, Field(ge=0, le=65_536)] = _setting(
        0, "bytes read by the bytes input (N); 0 means 8 x sequence_length, rounded up to a multiple of 256"
    )
    truncation: Literal["prefix", "drop"] = _setting(
        "prefix", "texts that fill byte_length: keep a last word that may be cut ('prefix') or leave it out ('drop')"
    )

    @model_validator(mode="after")
    def _fill_byte_length(self) -> "TextSpec":
        if self.byte_length == 0:
            object.__setattr__(self, "byte_length", -(-8 * self.sequence_length // 256) * 256)
        return self


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Shape of the classifier and its routing (Fedus et al. 2021, arXiv 2101.03961, sections 2.1-2.4)."""

    d_model: Annotated[int, Field(ge=1, le=8192)] = _setting(64, "width of embeddings and of the residual stream")
    d_ff: Annotated[int, Field(ge=1, le=65_536)] = _setting(256, "hidden width of one expert: 4 x d_model is customary")
    num_heads: Annotated[int, Field(ge=1, le=256)] = _setting(4, "attention heads; must divide d_model")
    num_blocks: Annotated[int, Field(ge=1, le=256)] = _setting(1, "encoder blocks; one is enough for short reviews")
    num_experts: Annotated[int, Field(ge=0, le=4096)] = _setting(4, "experts per Switch layer; 0 is the dense twin")
    switch_every: Annotated[int, Field(ge=1)] = _setting(
        1, "every n-th block has a Switch layer, the others a dense one (T5 Switch models use 2)"
    )
    capacity_factor: Positive = _setting(1.25, "slots per expert over an even share, in training (section 2.2)")
    eval_capacity_factor: Positive = _setting(1.25, "the same outside training and in every export")
    min_capacity: Annotated[int, Field(ge=1)] = _setting(1, "slots an expert has at least")
    drop_tokens: bool = _setting(True, "false gives every expert a slot for every token: nothing dropped, more memory")
    dispatch: Dispatch = _setting(
        "gather", "how tokens reach experts; einsum is slower, for accelerators that refuse gathers. Same answers"
    )
    scale_by_gate: bool = _setting(
        True, "multiply by the router's probability p; false multiplies by p / stop_gradient(p), which is 1"
    )
    auxiliary_loss_weight: NonNegative = _setting(0.01, "load balancing, alpha of equation 4: the paper's value")
    z_loss_weight: NonNegative = _setting(0.0, "router z-loss (ST-MoE, arXiv 2202.08906, equation 5); it uses 0.001")
    router_jitter: Share = _setting(0.01, "router input times U(1-eps, 1+eps) in training only: the paper's eps")
    dropout: Share = _setting(0.2, "after embeddings, attention and feed-forward; the paper uses 0.1 on more data")
    expert_dropout: Share = _setting(
        0.2, "inside experts; the paper's 0.4 (section 2.4) is for fine-tuning, and too much beside token_dropout"
    )
    token_dropout: Share = _setting(
        0.4, "share of tokens left out of a text in training: it must not learn texts by heart. Small data wants much"
    )
    initializer_scale: Positive = _setting(0.1, "truncated normal of std sqrt(scale / fan_in) (section 2.4)")
    activation: Literal["relu", "gelu"] = _setting("relu", "inside the feed-forward layers; the paper's is relu")
    pooling: Literal["mean", "max"] = _setting("mean", "over the real tokens, for the classification head")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """How the weights are found; nothing here changes what a trained model computes."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = _setting(
        6, "at most; the learning rate falls to 0 over all of them"
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = _setting(64, "examples per step")
    learning_rate: Positive = _setting(1e-3, "peak of the schedule: linear warm-up, then cosine to zero")
    warmup_share: Share = _setting(0.05, "part of all steps spent warming up: routers settle before large steps")
    weight_decay: NonNegative = _setting(0.0, "AdamW's, on matrices only")
    gradient_clip_norm: NonNegative = _setting(1.0, "global norm; 0 is off. Keeps a bad batch from ruining the router")
    label_smoothing: Share = _setting(0.1, "mass spread over all classes: keeps small data from being overtrusted")
    validation_share: Annotated[float, Field(gt=0, lt=0.9)] = _setting(0.1, "of the training data, stratified by label")
    patience: Annotated[int, Field(ge=1)] = _setting(
        3, "epochs without a better validation accuracy (or loss, at the same) before stopping"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = _setting(0, "of the split, initial weights, shuffling and dropout")
    mixed_precision: bool = _setting(False, "experts and attention in bfloat16 while training; weights stay float32")
    jit_compile: bool = _setting(False, "compile the training step with XLA")
    deterministic: bool = _setting(True, "same numbers on every run of one machine, for a little speed")


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run."""

    text: TextSpec = field(default_factory=TextSpec)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


_TABLES: dict[str, Any] = {"text": TextSpec, "model": ModelConfig, "train": TrainConfig}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {},
    "base": {
        "text": {"vocabulary_size": 20_000, "sequence_length": 256},
        "model": {"num_experts": 8, "token_dropout": 0.7},
        "train": {"epochs": 5, "label_smoothing": 0.0},
    },
    "large": {
        "text": {"vocabulary_size": 50_000, "sequence_length": 400, "byte_length": 4096},
        "model": {"d_model": 128, "d_ff": 512, "num_blocks": 4, "num_experts": 16},
        "train": {"epochs": 5, "learning_rate": 5e-4},
    },
}


def load_config(preset: str = "tiny", file: Path | None = None, assignments: Sequence[str] = ()) -> Config:
    """Settings from a preset, then a TOML file, then assignments such as `model.num_experts=8`.

    Raises:
        ConfigError: a preset, table, key or value that does not exist or does not fit.
    """
    if preset not in PRESETS:
        raise ConfigError(f"Unknown preset {preset!r}. Expected one of: {', '.join(PRESETS)}.")
    values = {table: dict(keys) for table, keys in PRESETS[preset].items()}
    if file is not None:
        _merge(values, read_toml(file), where=str(file))
    for assignment in assignments:
        _merge(values, _parse_assignment(assignment), where=f"--set {assignment}")
    return config_from_dict(values, where="the settings")


def config_from_dict(values: dict[str, Any], where: str) -> Config:
    """A validated `Config` from nested dictionaries; `where` names their origin in a `ConfigError`."""
    _refuse_loose_settings(values, where)
    unknown = sorted(set(values) - set(_TABLES))
    problems = [f"there is no table [{table}]; expected [{'], ['.join(_TABLES)}]" for table in unknown]
    tables = {}
    for name, table in _TABLES.items():
        try:
            tables[name] = table(**values.get(name, {}))
        except ValidationError as error:
            problems += [_explain(name, problem) for problem in error.errors()]
    if problems:
        raise ConfigError(f"In {where}: {'; '.join(problems)}. `switch-tf train --help` lists every setting.")
    return Config(**tables)


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file, not yet validated.

    Raises:
        ConfigError: it is missing or not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no settings file {file}. Check the path given to --config.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}.") from error


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, ready for TOML or JSON."""
    return dataclasses.asdict(config)


def dense_twin(config: Config) -> Config:
    """The same computation per token with one set of feed-forward weights instead of experts."""
    return dataclasses.replace(config, model=dataclasses.replace(config.model, num_experts=0))


def describe_settings() -> list[tuple[str, Any, str]]:
    """Every setting as (dotted key, default, reason), in the order of the file."""
    return [
        (f"{table}.{setting.name}", setting.default, setting.metadata["why"])
        for table, settings in _TABLES.items()
        for setting in dataclasses.fields(settings)
    ]


def _parse_assignment(assignment: str) -> dict[str, Any]:
    """`model.num_experts=8` as {"model": {"num_experts": 8}}; a value that is not TOML is taken as a string."""
    matched = re.fullmatch(r"\s*(\w+)\.(\w+)\s*=\s*(.*?)\s*", assignment, re.DOTALL)
    if matched is None:
        raise ConfigError(f"Received --set {assignment!r}. Expected TABLE.KEY=VALUE, such as model.num_experts=8.")
    table, key, text = matched.groups()
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return {table: {key: value}}


def _merge(values: dict[str, dict[str, Any]], update: dict[str, Any], where: str) -> None:
    _refuse_loose_settings(update, where)
    for table, keys in update.items():
        values.setdefault(table, {}).update(keys)


def _refuse_loose_settings(values: dict[str, Any], where: str) -> None:
    for key, value in values.items():
        if not isinstance(value, dict):
            raise ConfigError(f"In {where}: {key!r} stands outside the tables [text], [model] and [train].")


def _explain(table: str, problem: Any) -> str:
    key = ".".join([table, *(str(part) for part in problem["loc"])])
    received = problem.get("input")
    if problem["type"] == "unexpected_keyword_argument":
        return f"there is no setting {key}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    shown = f" (received {received!r})" if problem["loc"] else ""
    return f"{key}: {message[0].lower()}{message[1:]}{shown}"
