"""Weights in one file or several, of either kind."""

import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from switch_tf.errors import ModelError
from switch_tf.models.checkpoint import Checkpoint

FIXTURES = Path(__file__).parent / "data" / "huggingface"


def test_every_kind_of_file_gives_float32() -> None:
    for name, count in (("plain", 97), ("sharded", 159), ("bfloat16_bin", 100)):
        with Checkpoint(FIXTURES / name) as checkpoint:
            assert len(checkpoint.names()) == count
            assert checkpoint.shape("shared.weight") == (416, 16)
            assert checkpoint.read("shared.weight").dtype == np.float32
            assert "shared.weight" in checkpoint and "other" not in checkpoint
            assert checkpoint.shape("other") is None


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_narrow_types_are_read_exactly(tmp_path: Path, dtype: type) -> None:
    array: np.ndarray = np.array([[0.0, -1.5], [3.140625, 65280.0]]).astype(dtype)
    save_file({"a": array}, tmp_path / "model.safetensors")
    with Checkpoint(tmp_path) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("a"), array.astype(np.float32))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no weights\. Expected one of model\.safetensors, "):
        Checkpoint(tmp_path)


def test_other_types_are_refused_when_they_are_asked_for(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, np.int64)}, tmp_path / "model.safetensors")
    with Checkpoint(tmp_path) as checkpoint, pytest.raises(ModelError, match="the weight 'a' in another type"):
        checkpoint.shape("a")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.array([0.0, np.nan], np.float32)}, tmp_path / "model.safetensors")
    with Checkpoint(tmp_path) as checkpoint, pytest.raises(ModelError, match="not finite"):
        checkpoint.read("a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        b"\x02" + bytes(7) + b"{]",
        (71).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}   '
        + bytes(4),
    ],
    ids=["empty", "header of 2^64 bytes", "header of 2^40 bytes", "no JSON", "shape beyond the data"],
)
def test_hostile_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        Checkpoint(tmp_path)


class TestIndex:
    @staticmethod
    def changed(tmp_path: Path, **where: object) -> Path:
        folder = tmp_path / "sharded"
        shutil.copytree(FIXTURES / "sharded", folder)
        index = folder / "model.safetensors.index.json"
        content = json.loads(index.read_text(encoding="utf-8"))
        content["weight_map"].update(where)
        index.write_text(json.dumps(content), encoding="utf-8")
        return folder

    @pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "model.pkl", 3, None])
    def test_files_elsewhere_are_refused(self, tmp_path: Path, name: object) -> None:
        with pytest.raises(ModelError, match=r"names the file .*Expected \.safetensors or \.bin files beside it"):
            Checkpoint(self.changed(tmp_path, extra=name))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"lacks the file model-9\.safetensors"):
            Checkpoint(self.changed(tmp_path, extra="model-9.safetensors"))

    def test_a_weight_that_is_not_where_it_should_be_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"says that .* holds the weight 'extra', but it does not"):
            Checkpoint(self.changed(tmp_path, extra="model-00001-of-00004.safetensors"))

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": []}'])
    def test_an_index_without_a_map_is_refused(self, tmp_path: Path, content: str) -> None:
        folder = self.changed(tmp_path)
        (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=r"weight_map|cannot be read as JSON"):
            Checkpoint(folder)
