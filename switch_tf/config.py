"""Settings: frozen, validated dataclasses that read from and write to TOML, each default with its reason.

A `Config` has four tables, `[text]`, `[model]`, `[train]` and `[wide]`. `load_config` builds one from a preset, then a
TOML file, then `KEY=VALUE` assignments, each overriding the one before:

>>> config = load_config(preset="tiny", assignments=["model.num_experts=8", "text.sequence_length=128"])
>>> config.model.num_experts, config.text.sequence_length, config.text.num_bytes
(8, 128, 1024)
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from switch_tf.errors import ConfigError
from switch_tf.expert_map import map_problem
from switch_tf.presets import PRESETS
from switch_tf.settings import (
    STRICT,
    NonNegative,
    Positive,
    Share,
    did_you_mean,
    explain,
    merge,
    parse_assignment,
    read_toml,
    refuse_loose_settings,
    setting,
)
from switch_tf.text.spec import TextSpec

Dispatch = Literal["gather", "einsum"]
Context = Literal["attention", "mean"]
Router = Literal["top1", "top2", "expert_choice", "xmoe", "token"]


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """Shape of the classifier and its routing (Fedus et al. 2021, arXiv 2101.03961, sections 2.1-2.4)."""

    d_model: Annotated[int, Field(ge=1, le=8192)] = setting(64, "width of embeddings and of the residual stream")
    d_ff: Annotated[int, Field(ge=1, le=65_536)] = setting(256, "hidden width of one expert: 4 x d_model is customary")
    num_heads: Annotated[int, Field(ge=1, le=256)] = setting(4, "attention heads; must divide d_model")
    num_blocks: Annotated[int, Field(ge=1, le=256)] = setting(1, "encoder blocks; one is enough for short reviews")
    num_experts: Annotated[int, Field(ge=0, le=4096)] = setting(4, "experts per Switch layer; 0 is the dense twin")
    expert_map: list[list[int]] | None = setting(
        None, "after pruning: of each Switch layer, the number of the weights that each expert has, -1 for none"
    )
    switch_every: Annotated[int, Field(ge=1)] = setting(
        1, "every n-th block has a Switch layer, the others a dense one (T5 Switch models use 2)"
    )
    router: Router = setting(
        "top1",
        "top1, top2 (twice the work), expert_choice, xmoe (cosines), or token: by the word alone, exact everywhere",
    )
    priority: Literal["position", "gate"] = setting(
        "position", "who finds room in a full expert: the first in the text, or those that the router is surest of"
    )
    normalize_gates: bool = setting(True, "with router = 'top2', divide both gates by their sum, as GShard does")
    context: Context = setting(
        "attention", "what tells a token its text: attention, or the mean of the text's vectors, O(L), for small data"
    )
    character_grams: bool = setting(
        False, "learn a word's vector as its own plus those of its 3 to 5 letters, with context = 'mean'; folded after"
    )
    pair_min_count: Annotated[int, Field(ge=0)] = setting(
        0, "neighbouring words seen together that often get a vector, with context = 'mean'; 0 is none"
    )
    pair_dropout: Share = setting(0.3, "share of these vectors left out in training, beside token_dropout")
    capacity_factor: Positive = setting(1.25, "slots per expert over an even share, in training (section 2.2)")
    eval_capacity_factor: Positive = setting(1.25, "the same outside training and in every export")
    min_capacity: Annotated[int, Field(ge=1)] = setting(1, "slots an expert has at least")
    drop_tokens: bool = setting(True, "false gives every expert a slot for every token: nothing dropped, more memory")
    dispatch: Dispatch = setting(
        "gather", "how tokens reach experts; einsum is slower, for accelerators that refuse gathers. Same answers"
    )
    scale_by_gate: bool = setting(
        True, "multiply by the router's probability p; false multiplies by p / stop_gradient(p), which is 1"
    )
    auxiliary_loss_weight: NonNegative = setting(0.01, "load balancing, alpha of equation 4: the paper's value")
    z_loss_weight: NonNegative = setting(0.0, "router z-loss (ST-MoE, arXiv 2202.08906, equation 5); it uses 0.001")
    balance_rate: NonNegative = setting(
        0.0, "per step, of a bias that evens loads out without a loss (arXiv 2408.15664); it uses 0.001; 0 is off"
    )
    router_jitter: Share = setting(0.01, "router input times U(1-eps, 1+eps) in training only: the paper's eps")
    dropout: Share = setting(0.2, "after embeddings, attention and feed-forward; the paper uses 0.1 on more data")
    expert_dropout: Share = setting(
        0.2, "inside experts; the paper's 0.4 (section 2.4) is for fine-tuning, and too much beside token_dropout"
    )
    token_dropout: Share = setting(
        0.4, "share of tokens left out of a text in training: it must not learn texts by heart. Small data wants much"
    )
    initializer_scale: Positive = setting(0.1, "truncated normal of std sqrt(scale / fan_in) (section 2.4)")
    activation: Literal["relu", "gelu"] = setting("relu", "inside the feed-forward layers; the paper's is relu")
    pooling: Literal["mean", "max"] = setting("mean", "over the real tokens, for the classification head")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelConfig":
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model = {self.d_model} is not a multiple of num_heads = {self.num_heads}")
        return self

    @model_validator(mode="after")
    def _router_has_choices(self) -> "ModelConfig":
        if self.router == "top2" and self.num_experts == 1:
            raise ValueError("router = 'top2' needs two experts at least, or none")
        if self.router == "expert_choice" and (self.balance_rate or self.priority == "gate"):
            raise ValueError("router = 'expert_choice' balances by itself: leave out balance_rate and priority")
        return self

    @model_validator(mode="after")
    def _expert_maps_fit(self) -> "ModelConfig":
        if self.expert_map is None:
            return self
        layers = self.num_blocks // self.switch_every if self.num_experts else 0
        if len(self.expert_map) != layers or not layers:
            raise ValueError(f"expert_map has {len(self.expert_map)} lists. Expected one for each of {layers} layers")
        for each in self.expert_map:
            problem = map_problem(each, self.num_experts, self.router)
            if problem:
                raise ValueError(f"expert_map = {self.expert_map}: each list {problem}")
        return self

    @model_validator(mode="after")
    def _composed_without_attention(self) -> "ModelConfig":
        if self.context == "attention" and (self.character_grams or self.pair_min_count):
            raise ValueError("character_grams and pair_min_count need context = 'mean'")
        return self


@dataclass(frozen=True, config=STRICT)
class WideConfig:
    """A linear model of words, pairs of words and their letters beside the deep one; it folds into tables over ids."""

    enabled: bool = setting(False, "add it, and answer a x wide + b x deep logits, a and b chosen on validation")
    pair_min_count: Annotated[int, Field(ge=1)] = setting(
        1, "pairs of neighbouring words seen that often are features; more is smaller, and better with many classes"
    )
    inverse_regularization: Positive | None = setting(
        None, "C of the ridge penalty |V|^2 / (2 C n) on n texts; unset: of 50, 10 and 2 what validation prefers"
    )
    rare_as_unknown: bool = setting(
        False, "a word of one training text also tells what unknown words tell: good where spam is full of odd words"
    )
    naive_bayes_power: NonNegative = setting(
        0.75, "of the naive-Bayes ratio that features are scaled by: 0 is no scale, 1 favours telling words the most"
    )


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """How the weights are found; nothing here changes what a trained model computes, but for the reject threshold."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = setting(
        6, "at most; the learning rate falls to 0 over all of them"
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = setting(64, "examples per step")
    learning_rate: Positive = setting(1e-3, "peak of the schedule: linear warm-up, then cosine to zero")
    table_learning_rate: Positive = setting(
        5e-3, "the same for embeddings with context = 'mean', of which a step moves only the rows it has seen"
    )
    warmup_share: Share = setting(0.05, "part of all steps spent warming up: routers settle before large steps")
    weight_decay: NonNegative = setting(0.0, "AdamW's, on matrices only")
    gradient_clip_norm: NonNegative = setting(1.0, "global norm; 0 is off. Keeps a bad batch from ruining the router")
    label_smoothing: Share = setting(0.1, "mass spread over all classes: keeps small data from being overtrusted")
    validation_share: Annotated[float, Field(gt=0, lt=0.9)] = setting(0.1, "of the training data, stratified by label")
    patience: Annotated[int, Field(ge=1)] = setting(
        3, "epochs without a better validation (train.select_by; at the same, a lower loss) before stopping"
    )
    select_by: Literal["accuracy", "macro_f1", "log_loss"] = setting(
        "accuracy", "what the kept epoch is best at on validation; macro_f1 counts every label alike, however rare"
    )
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = setting(
        None, "steps between checkpoints, beside the one after each epoch; unset: those alone. For epochs of hours"
    )
    shard_experts: bool = setting(
        False,
        "with several workers: each holds a share of a layer's experts, and tokens travel to them (section 5)",
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced: an example weighs n / (classes x examples of its label), so that rare labels count as much"
    )
    reject: Annotated[float, Field(gt=0, le=1)] | None = setting(
        None,
        "answer train.reject_label where the model is unsure, so that so large a share of what it answers is right",
    )
    reject_label: Annotated[str, Field(min_length=1)] | None = setting(
        None, "what such texts are answered, with train.reject; unset: unknown"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = setting(0, "of the split, initial weights, shuffling and dropout")
    mixed_precision: bool = setting(False, "experts and attention in bfloat16 while training; weights stay float32")
    baseline: bool = setting(
        True, "measure the majority class and TF-IDF + logistic regression beside the model: is it worth having?"
    )
    counted_tokens: Annotated[int, Field(ge=1)] = setting(
        2**23, "pairs of words and the wide path are counted on some so many; of more, on a random part"
    )
    twin: bool = setting(False, "train the dense twin too, for its figures alone: do the experts pay?")
    jit_compile: bool = setting(False, "compile the training step with XLA")
    deterministic: bool = setting(True, "same numbers on every run of one machine, for a little speed")

    @model_validator(mode="after")
    def _label_of_a_threshold(self) -> "TrainConfig":
        if self.reject_label is not None and self.reject is None:
            raise ValueError(f"reject_label = {self.reject_label!r} needs reject, the share that shall be right")
        return self


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run."""

    text: TextSpec = field(default_factory=TextSpec)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    wide: WideConfig = field(default_factory=WideConfig)

    def __post_init__(self) -> None:
        """Refuse tables that do not fit together.

        Raises:
            ConfigError: pairs are wanted that the wide path does not find, or letters without a wide path.
        """
        deep, wide = self.model.pair_min_count, self.wide
        if self.text.spells and not wide.enabled:
            raise ConfigError(
                "text.unknown_words = 'letters' with wide.enabled = false. The wide path weighs letters: expected it "
                "enabled, or unknown_words left out.",
                "settings",
            )
        if deep and not (wide.enabled and wide.pair_min_count <= deep):
            raise ConfigError(
                f"model.pair_min_count = {deep} with wide.enabled = {str(wide.enabled).lower()} and "
                f"wide.pair_min_count = {wide.pair_min_count}. The wide path finds the pairs: expected it enabled, "
                "with at most the same count.",
                "settings",
            )


_TABLES: dict[str, Any] = {"text": TextSpec, "model": ModelConfig, "train": TrainConfig, "wide": WideConfig}


def load_config(
    preset: str = "tiny",
    file: Path | None = None,
    assignments: Sequence[str] = (),
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Settings from a preset, then a TOML file, then assignments such as `model.num_experts=8`.

    Args:
        chosen: settings that go over the preset's and under the file's, as `switch_tf.training.auto` makes them.

    Raises:
        ConfigError: a preset, table, key or value that does not exist or does not fit.
    """
    values = _read_tables(preset, file, chosen)
    for assignment in assignments:
        merge(values, parse_assignment(assignment), where=repr(assignment))
    return config_from_dict(values, where="the settings")


def _read_tables(
    preset: str, file: Path | None, chosen: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """What a preset, then what was chosen, then a TOML file, set; not yet validated."""
    if preset not in PRESETS:
        raise ConfigError(f"Unknown preset {preset!r}. Expected one of: {', '.join(PRESETS)}.")
    values = {table: dict(keys) for table, keys in PRESETS[preset].items()}
    merge(values, {table: dict(keys) for table, keys in (chosen or {}).items()}, where="the chosen settings")
    if file is not None:
        merge(values, read_toml(file), where=str(file))
    return values


def config_from_call(
    preset: str | None = None,
    config: "Config | Mapping[str, Any] | str | os.PathLike[str] | None" = None,
    settings: Mapping[str, Any] | None = None,
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Settings as a Python call gives them: a preset, then `config`, then single ones, each overriding the one before.

    Args:
        preset: "tiny" unless `config` is a whole `Config`, which leaves nothing to a preset.
        config: a `Config`, a dictionary of tables, or the path of a TOML file.
        settings: by their own names, or with their table's before a dot.
        chosen: as for `load_config`.

    >>> config = config_from_call("base", {"text": {"sequence_length": 128}}, {"num_experts": 2, "train.epochs": 1})
    >>> config.text.sequence_length, config.model.num_experts, config.train.epochs, config.text.vocabulary_size
    (128, 2, 1, 20000)

    Raises:
        ConfigError: there is no such preset, file, table or setting, or a value does not fit.
    """
    if isinstance(config, Config):
        if preset is not None:
            raise ConfigError(f"Received preset={preset!r} and a whole Config. Leave one of them out.", "preset")
        values = config_to_dict(config)
    else:
        file = Path(config) if isinstance(config, str | os.PathLike) else None
        values = _read_tables(preset or "tiny", file, chosen)
        if isinstance(config, Mapping):
            merge(values, dict(config), where="config")
        elif file is None and config is not None:
            expected = "a Config, a dictionary of tables, or the path of a TOML file"
            raise ConfigError(f"config: received {type(config).__name__}. Expected {expected}.", argument="config")
    for name, value in (settings or {}).items():
        table, key = _find_setting(name)
        values.setdefault(table, {})[key] = value.item() if hasattr(value, "item") else value  # NumPy's numbers
    return config_from_dict(values, where="the settings")


def asked_for(
    config: "Config | Mapping[str, Any] | str | os.PathLike[str] | None" = None,
    settings: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> frozenset[str]:
    """Dotted keys of the settings that a call or a command asks for by name; a whole `Config` asks for none.

    >>> sorted(asked_for({"text": {"sequence_length": 128}}, {"num_experts": 2}, ["train.epochs=1"]))
    ['model.num_experts', 'text.sequence_length', 'train.epochs']
    """
    values: dict[str, dict[str, Any]] = {}
    if isinstance(config, str | os.PathLike):
        merge(values, read_toml(Path(config)), where=str(config))
    elif isinstance(config, Mapping):
        merge(values, dict(config), where="config")
    for assignment in assignments:
        merge(values, parse_assignment(assignment), where=repr(assignment))
    for name in settings or {}:
        table, key = _find_setting(name)
        values.setdefault(table, {})[key] = None
    return frozenset(f"{table}.{key}" for table, keys in values.items() for key in keys)


def _find_setting(name: str) -> tuple[str, str]:
    """The table and the key of a setting, by its own name or a dotted one."""
    keys = [(table, setting.name) for table, settings in _TABLES.items() for setting in dataclasses.fields(settings)]
    found = [(table, key) for table, key in keys if name in (key, f"{table}.{key}")]
    if len(found) == 1:
        return found[0]
    if found:
        several = " or ".join(f"{table}.{key}" for table, key in found)
        raise ConfigError(f"{name!r} may be {several}. Name the table too, as in config={{{found[0][0]!r}: ...}}.")
    known = [f"{table}.{key}" if "." in name else key for table, key in keys]
    raise ConfigError(
        f"There is no setting or argument {name!r}{did_you_mean(name, known)}. "
        "`switch_tf.config.describe_settings()` lists the settings.",
        argument="settings",
    )


def config_from_dict(values: dict[str, Any], where: str) -> Config:
    """A validated `Config` from nested dictionaries; `where` names their origin in a `ConfigError`."""
    refuse_loose_settings(values, where)
    unknown = sorted(map(str, set(values) - set(_TABLES)))
    problems = [f"there is no table [{table}]; expected [{'], ['.join(_TABLES)}]" for table in unknown]
    tables = {}
    for name, table in _TABLES.items():
        try:
            tables[name] = table(**{str(key): value for key, value in values.get(name, {}).items()})
        except ValidationError as error:
            known = [f"{name}.{setting.name}" for setting in dataclasses.fields(table)]
            problems += [explain(name, problem, known) for problem in error.errors()]
    if problems:
        raise ConfigError(
            f"In {where}: {'; '.join(problems)}. `switch_tf.config.describe_settings()` lists them all.", "settings"
        )
    return Config(**tables)


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, ready for TOML or JSON; what is unset is left out."""
    return {
        table: {key: value for key, value in settings.items() if value is not None}
        for table, settings in dataclasses.asdict(config).items()
    }


def dense_twin(config: Config) -> Config:
    """The same computation per token with one set of feed-forward weights instead of experts."""
    model = dataclasses.replace(config.model, num_experts=0, expert_map=None)
    return dataclasses.replace(config, model=model, train=dataclasses.replace(config.train, shard_experts=False))


def without_threshold(config: Config) -> Config:
    """The same settings without a reject threshold, which is chosen when all else is done."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, reject=None, reject_label=None))


def describe_settings() -> list[tuple[str, Any, str]]:
    """Every setting as (dotted key, default, reason), in the order of the file."""
    return [
        (f"{table}.{setting.name}", setting.default, setting.metadata["why"])
        for table, settings in _TABLES.items()
        for setting in dataclasses.fields(settings)
    ]
