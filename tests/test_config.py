"""Settings are a contract with users: what is read in which order, what is refused, and in which words."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch_tf import config as module
from switch_tf.config import (
    Config,
    ModelConfig,
    TrainConfig,
    WideConfig,
    config_from_call,
    config_from_dict,
    config_to_dict,
    describe_settings,
    load_config,
)
from switch_tf.errors import ConfigError
from switch_tf.presets import PRESETS
from switch_tf.text.spec import TextSpec

HELP = "`switch_tf.config.describe_settings()` lists them all."


def refused(*assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(assignments=assignments)
    return str(caught.value)


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return file


# --- reading


def test_tiny_is_the_default_of_every_setting() -> None:
    assert load_config() == load_config("tiny") == Config() == Config(TextSpec(), ModelConfig(), TrainConfig())


@pytest.mark.parametrize(
    ("preset", "vocabulary", "length", "byte_length", "d_model", "d_ff", "blocks", "experts"),
    [
        ("tiny", 10_000, 64, 512, 64, 256, 1, 4),
        ("base", 20_000, 256, 2048, 64, 256, 1, 8),
        ("large", 50_000, 400, 4096, 128, 512, 4, 16),
    ],
)
def test_presets_are_the_documented_ones(
    preset: str, vocabulary: int, length: int, byte_length: int, d_model: int, d_ff: int, blocks: int, experts: int
) -> None:
    config = load_config(preset)
    text, model = config.text, config.model
    assert (text.vocabulary_size, text.sequence_length, text.num_bytes) == (vocabulary, length, byte_length)
    assert (model.d_model, model.d_ff, model.num_blocks, model.num_experts) == (d_model, d_ff, blocks, experts)
    assert (model.num_heads, model.min_capacity, model.pooling, config.train.patience) == (4, 1, "mean", 3)
    assert model.capacity_factor == model.eval_capacity_factor == 1.25
    assert (model.context, model.pair_min_count, config.wide.enabled) == ("attention", 0, False)
    assert set(PRESETS) == {"auto", "tiny", "base", "large"}


def test_auto_routes_by_the_word_and_the_others_as_the_paper_does() -> None:
    routers = {preset: load_config(preset).model.router for preset in PRESETS}
    assert routers == {"auto": "token", "tiny": "top1", "base": "top1", "large": "top1"}


def test_auto_has_both_paths() -> None:
    config = load_config("auto")
    assert (config.model.context, config.model.num_experts, config.model.character_grams) == ("mean", 8, True)
    assert (config.wide.enabled, config.train.select_by, config.train.learning_rate) == (True, "log_loss", 3e-3)


def test_what_was_chosen_goes_over_the_preset_and_under_all_else(tmp_path: Path) -> None:
    file = written(tmp_path, "[model]\nd_model = 12\n")
    chosen = {"model": {"d_model": 24, "d_ff": 7}, "train": {"epochs": 3, "seed": 4}}
    config = load_config("auto", file, ["train.seed=5"], chosen)
    assert (config.model.d_model, config.model.d_ff, config.train.epochs, config.train.seed) == (12, 7, 3, 5)
    assert chosen["model"] == {"d_model": 24, "d_ff": 7}


def test_assignments_override_the_file_and_the_file_the_preset(tmp_path: Path) -> None:
    file = written(tmp_path, "[model]\nnum_experts = 6\nd_ff = 99\n[train]\nepochs = 3\n")
    config = load_config("large", file, ["model.d_ff=77", "text.truncation=drop", "model.d_ff=78"])
    assert config.model.num_blocks == 4  # of the preset
    assert config.model.num_experts == 6  # of the file, over the preset's 16
    assert config.model.d_ff == 78  # of the last assignment, over the file's
    assert (config.train.epochs, config.text.truncation) == (3, "drop")


def test_presets_are_not_changed_by_use() -> None:
    before = {name: load_config(name) for name in PRESETS}
    for name in PRESETS:
        load_config(name, assignments=["text.sequence_length=8", "model.num_experts=2", "train.epochs=1"])
    assert {name: load_config(name) for name in PRESETS} == before


@pytest.mark.parametrize(
    ("assignment", "table", "key", "value"),
    [
        ("model.num_experts=8", "model", "num_experts", 8),
        ("  model.num_experts  =  8  ", "model", "num_experts", 8),
        ("train.learning_rate=3e-4", "train", "learning_rate", 3e-4),
        ("train.learning_rate=1", "train", "learning_rate", 1.0),
        ("train.batch_size=1_000", "train", "batch_size", 1000),
        ("model.drop_tokens=false", "model", "drop_tokens", False),
        ("text.standardize=none", "text", "standardize", "none"),
        ("text.standardize='lower'", "text", "standardize", "lower"),
        ('text.standardize="lower"', "text", "standardize", "lower"),
        ("model.activation=gelu", "model", "activation", "gelu"),
    ],
)
def test_assignments_are_toml_or_plain_words(assignment: str, table: str, key: str, value: Any) -> None:
    assert getattr(getattr(load_config(assignments=[assignment]), table), key) == value


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(
    st.builds(
        ModelConfig,
        d_model=st.sampled_from([4, 8, 96]),
        num_experts=st.integers(0, 4096),
        capacity_factor=st.floats(0, 100, exclude_min=True),
        dropout=st.floats(0, 1, exclude_max=True),
        initializer_scale=st.floats(0, 1e6, exclude_min=True),
        activation=st.sampled_from(["relu", "gelu"]),
        scale_by_gate=st.booleans(),
    ),
    st.builds(TextSpec, sequence_length=st.integers(1, 8192), byte_length=st.integers(0, 65_536)),
)
def test_a_config_survives_toml(model: ModelConfig, text: TextSpec) -> None:
    config = Config(text, model)
    read = tomllib.loads(tomli_w.dumps(config_to_dict(config)))
    assert config_from_dict(read, "a test") == config


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_a_file(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    values = config_to_dict(config)
    assert list(values) == ["text", "model", "train", "wide"]
    assert load_config(file=written(tmp_path, tomli_w.dumps(values))) == config


def test_absent_tables_and_settings_take_their_defaults(tmp_path: Path) -> None:
    assert config_from_dict({}, "a test") == Config()
    assert config_from_dict({"model": {}}, "a test") == Config()
    assert load_config(file=written(tmp_path, "")) == Config()


# --- byte_length


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, 256), (31, 256), (32, 256), (33, 512), (64, 512), (65, 768), (256, 2048), (400, 3328), (8192, 65_536)],
)
def test_byte_length_is_8_bytes_a_token_rounded_up_to_256(length: int, expected: int) -> None:
    assert TextSpec(sequence_length=length).num_bytes == expected
    assert TextSpec(sequence_length=length, byte_length=0).num_bytes == expected


def test_byte_length_follows_the_sequence_length_it_is_replaced_with() -> None:
    assert dataclasses.replace(TextSpec(), sequence_length=256).num_bytes == 2048
    assert dataclasses.replace(TextSpec(byte_length=100), sequence_length=256).num_bytes == 100


def test_a_given_byte_length_stays() -> None:
    assert TextSpec(sequence_length=400, byte_length=100).num_bytes == 100


# --- refusals


def test_unknown_names_are_refused_with_those_that_exist(tmp_path: Path) -> None:
    assert refused("model.experts=8") == (
        "In the settings: there is no setting model.experts (did you mean model.num_experts or model.expert_map?). "
        f"{HELP}"
    )
    assert refused("model.x=8") == f"In the settings: there is no setting model.x. {HELP}"
    assert refused("modle.num_experts=8") == (
        f"In the settings: there is no table [modle]; expected [text], [model], [train], [wide]. {HELP}"
    )
    with pytest.raises(ConfigError) as caught:
        load_config("huge")
    assert str(caught.value) == "Unknown preset 'huge'. Expected one of: auto, tiny, base, large."
    with pytest.raises(ConfigError, match=r"there is no setting train.epoch"):
        load_config(file=written(tmp_path, "[train]\nepoch = 3\n"))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.d_ff=1.5", "model.d_ff: input should be a valid integer (received 1.5)"),
        ("model.d_ff=256.0", "model.d_ff: input should be a valid integer (received 256.0)"),
        ("model.d_ff=many", "model.d_ff: input should be a valid integer (received 'many')"),
        ("model.d_ff='8'", "model.d_ff: input should be a valid integer (received '8')"),
        ("model.d_ff=", "model.d_ff: input should be a valid integer (received '')"),
        ("model.d_ff=[8]", "model.d_ff: input should be a valid integer (received [8])"),
        ("model.d_ff=true", "model.d_ff: input should be a valid integer (received True)"),
        ("model.dropout=false", "model.dropout: input should be a valid number (received False)"),
        ("model.dropout='0.1'", "model.dropout: input should be a valid number (received '0.1')"),
        ("model.drop_tokens=1", "model.drop_tokens: input should be a valid boolean (received 1)"),
        ("model.drop_tokens=False", "model.drop_tokens: input should be a valid boolean (received 'False')"),
        ("model.pooling=sum", "model.pooling: input should be 'mean' or 'max' (received 'sum')"),
        ("model.pooling=1", "model.pooling: input should be 'mean' or 'max' (received 1)"),
        ("train.learning_rate=nan", "train.learning_rate: input should be a finite number (received nan)"),
        ("train.learning_rate=inf", "train.learning_rate: input should be a finite number (received inf)"),
        ("train.learning_rate=0.0", "train.learning_rate: input should be greater than 0 (received 0.0)"),
        ("model.d_model=0", "model.d_model: input should be greater than or equal to 1 (received 0)"),
        ("model.num_experts=-1", "model.num_experts: input should be greater than or equal to 0 (received -1)"),
        ("model.dropout=1.0", "model.dropout: input should be less than 1 (received 1.0)"),
        ("model.dropout=-0.1", "model.dropout: input should be greater than or equal to 0 (received -0.1)"),
        (
            "text.sequence_length=8193",
            "text.sequence_length: input should be less than or equal to 8192 (received 8193)",
        ),
        ("text.vocabulary_size=2", "text.vocabulary_size: input should be greater than or equal to 3 (received 2)"),
        ("text.byte_length=-1", "text.byte_length: input should be greater than or equal to 0 (received -1)"),
        ("train.seed=2147483648", "train.seed: input should be less than 2147483648 (received 2147483648)"),
        ("train.validation_share=0", "train.validation_share: input should be greater than 0 (received 0)"),
        ("model.d_model=65", "model: d_model = 65 is not a multiple of num_heads = 4"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(assignment: str, message: str) -> None:
    assert refused(assignment) == f"In the settings: {message}. {HELP}"


def test_all_problems_are_told_at_once() -> None:
    message = refused("model.d_ff=0", "model.experts=2", "train.epochs=x", "here.there=1", "text.truncation=cut")
    for part in ("[here]", "model.d_ff: ", "no setting model.experts", "train.epochs: ", "text.truncation: "):
        assert message.count(part) == 1, part
    assert message.count("; ") == 5  # one of them in the list of tables


@pytest.mark.parametrize(
    "assignment", ["", "model", "model.num_experts", "num_experts=8", "=8", "a.b.c=1", "model..a=1"]
)
def test_assignments_without_table_key_and_value_are_refused(assignment: str) -> None:
    expected = f"Received the setting {assignment!r}. Expected TABLE.KEY=VALUE, such as model.num_experts=8."
    assert refused(assignment) == expected


def test_settings_outside_a_table_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "num_experts = 8\n[model]\nd_ff = 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file=file)
    assert (
        str(caught.value) == f"In {file}: 'num_experts' stands outside the tables [text], [model], [train] and [wide]."
    )
    for loose in ({"model": 5}, {"model": None}, {"text": {}, "model": [{"d_ff": 3}]}, {"seed": 1}):
        with pytest.raises(ConfigError, match=r"^In a run: '(model|seed)' stands outside the tables"):
            config_from_dict(loose, "a run")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no settings file .*none.toml. Check the path"):
        load_config(file=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read as TOML: .*line 2"):
        load_config(file=written(tmp_path, "[model]\nd_ff 3\n"))
    with pytest.raises(ConfigError, match=r"cannot be read as TOML: .*directory"):
        load_config(file=tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[model]\n# \xe9\n")
    with pytest.raises(ConfigError, match=r"latin.toml cannot be read as TOML: .*utf-8"):
        load_config(file=tmp_path / "latin.toml")


def test_a_file_that_is_named_in_the_error_is_the_one_at_fault() -> None:
    with pytest.raises(ConfigError, match=r"^In /a/run/config.toml: there is no table \[x\]"):
        config_from_dict({"x": {}}, "/a/run/config.toml")


# --- the settings themselves


def test_every_setting_has_a_reason_that_fits_a_line() -> None:
    described = describe_settings()
    tables = (TextSpec, ModelConfig, TrainConfig, WideConfig)
    assert len(described) == sum(len(dataclasses.fields(table)) for table in tables)
    for key, _, why in described:
        assert 10 <= len(why) <= 110, key
        assert not why.endswith("."), key
    assert len({why for _, _, why in described}) == len(described)


def test_described_defaults_are_those_in_use() -> None:
    values = config_to_dict(Config())
    for key, default, _ in describe_settings():
        table, name = key.split(".")
        assert values[table].get(name) == default  # what is unset stands in no file


@pytest.mark.parametrize("table", [TextSpec(), ModelConfig(), TrainConfig(), Config()])
def test_settings_are_frozen(table: Any) -> None:
    name = dataclasses.fields(table)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(table, name, 1)
    assert hash(table) == hash(dataclasses.replace(table))


# --- settings as a Python call gives them


def test_a_call_overrides_config_which_overrides_the_preset(tmp_path: Path) -> None:
    tables = {"text": {"sequence_length": 100}, "train": {"epochs": 2}}
    file = written(tmp_path, "[text]\nsequence_length = 100\n[train]\nepochs = 2\n")
    for config in (tables, file, str(file)):
        made = config_from_call("base", config, {"epochs": np.int64(9), "model.num_experts": 3})
        assert (made.text.vocabulary_size, made.text.sequence_length) == (20_000, 100)
        assert (made.train.epochs, made.model.num_experts) == (9, 3)
    assert tables == {"text": {"sequence_length": 100}, "train": {"epochs": 2}}
    assert config_from_call() == load_config("tiny")


def test_a_whole_config_is_changed_by_single_settings_alone() -> None:
    whole = load_config("base")
    assert config_from_call(None, whole, {"seed": 3}) == load_config("base", assignments=["train.seed=3"])
    with pytest.raises(ConfigError, match=r"Received preset='tiny' and a whole Config\. Leave one of them out\."):
        config_from_call("tiny", whole)


def test_settings_that_fit_together_alone_are_judged_together() -> None:
    made = config_from_call(None, {"model": {"d_model": 90}}, {"num_heads": 3})
    assert (made.model.d_model, made.model.num_heads) == (90, 3)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (None, {"validation_split": 0.2}, "no setting or argument 'validation_split' (did you mean validation_share?)"),
        (None, {"model.num_expert": 2}, "no setting or argument 'model.num_expert' (did you mean model.num_experts?)"),
        (None, {"x": 2}, "There is no setting or argument 'x'. `switch_tf.config.describe_settings()` lists"),
        (None, {"epochs": "2"}, "train.epochs: input should be a valid integer (received '2')"),
        ({"model": {"num_expert": 2}}, {}, "there is no setting model.num_expert (did you mean model.num_experts?)"),
        ({"model": {3: 2}}, {}, "there is no setting model.3"),
        ({"epochs": 2}, {}, "In config: 'epochs' stands outside the tables [text], [model], [train] and [wide]."),
        ({5: {}}, {}, "there is no table [5]"),
        (5, {}, "config: received int. Expected a Config, a dictionary of tables, or the path of a TOML file."),
        ("none.toml", {}, "There is no settings file none.toml."),
    ],
)  # fmt: skip
def test_a_call_is_refused_with_what_may_have_been_meant(config: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_call(None, config, settings)
    assert message in str(caught.value)


def test_a_name_in_two_tables_wants_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._TABLES, "other", module.TrainConfig)
    with pytest.raises(
        ConfigError, match=r"'seed' may be train\.seed or other\.seed\. Name the table too, as in config"
    ):
        config_from_call(None, None, {"seed": 1})


# --- experts that were pruned


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["model.expert_map=[]"], "expert_map has 0 lists. Expected one for each of 1 layers"),
        (["model.expert_map=[[0, 1]]"], "must have a number for each of num_experts = 4 experts"),
        (["model.expert_map=[[-1, -1, -1, -1]]"], "one of them at least not -1"),
        (["model.expert_map=[[0, 2, 2, 0]]"], "must have every number from 0 to the highest one"),
        (["model.expert_map=[[-2, 0, 0, 0]]"], "must have every number from 0 to the highest one"),
        (["model.expert_map=[[0, -1, -1, -1]]", "model.router=top2"], "must leave two experts"),
        (["model.expert_map=[[0, 1, 1, -1]]", "model.router=expert_choice"], "has a number twice"),
        (["model.expert_map=[[0, 1, 2, 3]]", "model.num_blocks=2"], "Expected one for each of 2 layers"),
        (["model.expert_map=[[0, 1, 2, 3]]", "model.num_experts=0"], "Expected one for each of 0 layers"),
        (["model.expert_map=[[0, 1, 2, 3.5]]"], "input should be a valid integer"),
        (["model.expert_map=[[0, 1, 2, true]]"], "input should be a valid integer"),
    ],
)
def test_an_expert_map_that_does_not_fit_is_refused(changes: list[str], problem: str) -> None:
    assert problem in refused(*changes)


def test_an_expert_map_is_kept_and_dense_twins_have_none() -> None:
    config = load_config(assignments=["model.expert_map=[[0, -1, 1, 0]]"])
    assert config_from_dict(tomllib.loads(tomli_w.dumps(config_to_dict(config))), "here") == config
    assert module.dense_twin(config).model.expert_map is None
    assert "expert_map" not in config_to_dict(load_config())["model"]
