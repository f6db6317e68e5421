"""Settings of `config.json` and names of weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from switch_tf.errors import ModelError
from switch_tf.models.checkpoint import Checkpoint
from switch_tf.models.huggingface import T5Settings, Weights, is_huggingface, read_settings

FIXTURES = Path(__file__).parent / "data" / "huggingface"
# As google/switch-base-8 has it.
RELEASED = {
    "architectures": ["SwitchTransformersForConditionalGeneration"],
    "d_ff": 3072,
    "d_kv": 64,
    "d_model": 768,
    "decoder_sparse_step": 2,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "encoder_sparse_step": 2,
    "eos_token_id": 1,
    "expert_capacity": 64,
    "feed_forward_proj": "relu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "is_gated_act": False,
    "layer_norm_epsilon": 1e-06,
    "model_type": "switch_transformers",
    "num_decoder_layers": 12,
    "num_experts": 8,
    "num_heads": 12,
    "num_layers": 12,
    "num_selected_experts": 1,
    "num_sparse_decoder_layers": 6,
    "num_sparse_encoder_layers": 6,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "router_bias": False,
    "router_dtype": "float32",
    "router_ignore_padding_tokens": False,
    "router_jitter_noise": 0.01,
    "router_type": "tokens_masked",
    "torch_dtype": "float32",
    "transformers_version": "4.25.0.dev0",
    "use_cache": True,
    "vocab_size": 32128,
}


def settings_of(folder: Path, **changes: Any) -> T5Settings:
    values = {name: value for name, value in (RELEASED | changes).items() if value != "left out"}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return read_settings(folder)


class TestSettings:
    def test_the_released_ones_are_read(self, tmp_path: Path) -> None:
        settings = settings_of(tmp_path)
        assert (settings.num_layers, settings.d_ff, settings.num_experts, settings.expert_capacity) == (12, 3072, 8, 64)
        assert settings.tie_word_embeddings and not settings.router_bias
        assert [i for i in range(12) if settings.is_sparse_encoder_layer(i)] == [1, 3, 5, 7, 9, 11]

    @pytest.mark.parametrize(
        ("changes", "sparse"),
        [
            ({"encoder_sparse_step": 1}, list(range(6))),
            ({"encoder_sparse_step": 3}, [1, 4]),
            ({"encoder_sparse_step": 0}, []),
            ({"encoder_sparse_step": "left out", "num_sparse_encoder_layers": 6}, list(range(6))),
            ({"encoder_sparse_step": "left out", "num_sparse_encoder_layers": 3}, [1, 3, 5]),
            ({"encoder_sparse_step": None, "num_sparse_encoder_layers": 0}, [1]),
            ({"encoder_sparse_step": "left out", "num_sparse_encoder_layers": "left out"}, [1, 3, 5]),
        ],
    )
    def test_which_layers_are_sparse(self, tmp_path: Path, changes: dict[str, Any], sparse: list[int]) -> None:
        settings = settings_of(tmp_path, num_layers=6, **changes)
        assert [i for i in range(6) if settings.is_sparse_encoder_layer(i)] == sparse

    def test_decoder_layers_default_to_those_of_the_encoder(self, tmp_path: Path) -> None:
        assert settings_of(tmp_path, num_layers=7, num_decoder_layers=None).num_decoder_layers == 7
        assert settings_of(tmp_path, num_layers=7, num_decoder_layers="left out").num_decoder_layers == 7

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"model_type": "t5"}, "of the model type 't5'"),
            ({"dense_act_fn": "gelu_new"}, "dense_act_fn = 'gelu_new', which is not supported. Expected 'relu'"),
            ({"feed_forward_proj": "gated-gelu"}, "feed_forward_proj = 'gated-gelu'"),
            ({"is_gated_act": True}, "is_gated_act = True"),
            ({"num_selected_experts": 2}, "num_selected_experts = 2"),
            ({"router_dtype": "bfloat16"}, "router_dtype = 'bfloat16'"),
            ({"attention_scale": 0.5}, "attention_scale = 0.5, a setting that is not known here"),
            ({"d_model": 0}, "d_model = 0. Expected an integer from 1"),
            ({"d_model": 768.0}, "d_model = 768.0"),
            ({"num_heads": True}, "num_heads = True"),
            ({"num_experts": 10**9}, "num_experts = 1000000000"),
            ({"num_layers": "12"}, "num_layers = '12'"),
            ({"encoder_sparse_step": -1}, "encoder_sparse_step = -1"),
            ({"eos_token_id": 32128}, "eos_token_id = 32128. Expected an id below vocab_size"),
            ({"eos_token_id": [1, 2]}, "eos_token_id = [1, 2]"),
            ({"router_bias": "yes"}, "router_bias = 'yes'"),
            ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon = nan"),
            ({"dropout_rate": 1}, "dropout_rate = 1"),
            ({"relative_attention_max_distance": 16}, "Expected more than half of"),
        ],
    )
    def test_what_we_do_not_compute_is_refused_by_name(
        self, tmp_path: Path, changes: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ModelError) as caught:
            settings_of(tmp_path, **changes)
        assert problem in str(caught.value)

    @pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
    def test_what_is_no_object_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=r"Expected the .* of a Switch-Transformer"):
            read_settings(tmp_path)
        assert not is_huggingface(tmp_path)

    def test_folders_are_told_apart(self, tmp_path: Path) -> None:
        assert is_huggingface(FIXTURES / "plain")
        assert not is_huggingface(tmp_path)
        settings = RELEASED | {"model_type": "bert"}
        (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        assert not is_huggingface(tmp_path)


class TestWeights:
    @staticmethod
    def changed(tmp_path: Path, remove: Any = "", **arrays: Any) -> Path:
        folder = tmp_path / "plain"
        shutil.copytree(FIXTURES / "plain", folder)
        stored = load_file(folder / "model.safetensors")
        stored.pop(remove, None)
        save_file(stored | arrays, folder / "model.safetensors")
        return folder

    @staticmethod
    def opened(folder: Path, **options: bool) -> Weights:
        return Weights(Checkpoint(folder), read_settings(folder), prefix="model", **options)

    def test_experts_are_stacked_and_projections_transposed(self) -> None:
        weights = self.opened(FIXTURES / "plain")
        assert weights["model/encoder/block_1/ffn/w_in"].shape == (4, 16, 24)
        assert weights["model/encoder/block_0/ffn/w_in/kernel"].shape == (16, 24)
        assert weights["model/decoder/block_2/text_attention/query/kernel"].shape == (16, 18)
        assert weights["model/encoder/positions/embeddings"].shape == (32, 3)
        assert len(weights) == len(list(weights)) == 79

    def test_the_encoder_can_be_had_alone(self) -> None:
        weights = self.opened(FIXTURES / "untied", with_decoder=False)
        assert not [name for name in weights if "decoder" in name or "head" in name]

    def test_a_missing_weight_is_named(self, tmp_path: Path) -> None:
        name = "encoder.block.1.layer.1.mlp.experts.expert_3.wo.weight"
        with pytest.raises(ModelError, match=f"lacks the weight '{name}', which its config.json calls for"):
            self.opened(self.changed(tmp_path, remove=name))

    def test_a_weight_too_many_is_named(self, tmp_path: Path) -> None:
        extra = {"encoder.block.9.layer.0.layer_norm.weight": np.ones(16, np.float32)}
        with pytest.raises(ModelError, match=r"holds the weight 'encoder\.block\.9.*no place for"):
            self.opened(self.changed(tmp_path, **extra))

    def test_experts_of_different_shapes_are_refused(self, tmp_path: Path) -> None:
        extra = {"encoder.block.1.layer.1.mlp.experts.expert_3.wo.weight": np.ones([16, 25], np.float32)}
        weights = self.opened(self.changed(tmp_path, **extra))
        with pytest.raises(ModelError, match="experts of different shapes"):
            weights["model/encoder/block_1/ffn/w_out"]
