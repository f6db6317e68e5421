"""A file carries its checksum to wherever it is moved, and a manifest beside it must be its own."""

import hashlib
import json
from pathlib import Path

import pytest

from switch_tf.artifacts import seal
from switch_tf.artifacts.seal import check_file, manifest_path
from switch_tf.checksums import describe
from switch_tf.errors import ModelError

CONTENT = b"a model of any format" * 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(seal.sealed(CONTENT + seal.ONNX))
    return path


def test_the_last_64_bytes_are_the_checksum_of_all_before(file: Path) -> None:
    content = file.read_bytes()
    assert content[-64:].decode() == hashlib.sha256(content[:-64]).hexdigest()
    assert check_file(file, seal.ONNX, "x")
    assert check_file(content, seal.ONNX, "x")


@pytest.mark.parametrize("byte", [0, 1000, len(CONTENT) - 1, -64, -1])
def test_a_flipped_bit_is_noticed(byte: int, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[byte] ^= 4
    file.write_bytes(content)
    with pytest.raises(
        ModelError, match=r"^x is damaged or was changed: its checksum is not that of its content\. Exp"
    ):
        check_file(file, seal.ONNX, "x")
    with pytest.raises(ModelError, match=r"^x is damaged or was changed"):
        check_file(bytes(content), seal.ONNX, "x")


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, seal.ONNX, CONTENT + seal.TFLITE + bytes(64)])
def test_a_file_without_one_is_not_checked(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert not check_file(file, seal.ONNX, "x")
    assert not check_file(content, seal.ONNX, "x")


def test_a_manifest_checks_a_file_without_a_seal(file: Path) -> None:
    file.write_bytes(CONTENT)
    manifest_path(file).write_text(json.dumps({"files": {"renamed.onnx": describe(file)}}))
    assert check_file(file, seal.ONNX, "x")
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match=r"model\.onnx is not the file that .*model\.onnx\.manifest\.json describes"):
        check_file(file, seal.ONNX, "x")


def test_the_manifest_of_another_file_is_noticed(file: Path) -> None:
    manifest_path(file).write_text(json.dumps({"files": {"model.onnx": describe(CONTENT)}}))
    with pytest.raises(ModelError, match=r"is not the file that .*describes\. Export it again, or remove the latter\."):
        check_file(file, seal.ONNX, "x")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": {}}', b'{"files": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(content: bytes, file: Path) -> None:
    manifest_path(file).write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest\.json is damaged: .*Export .*model\.onnx again, or remove it\."):
        check_file(file, seal.ONNX, "x")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="x cannot be read"):
        check_file(tmp_path / "none", seal.ONNX, "x")
