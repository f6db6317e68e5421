"""One checksum for a model: it changes with all that answers depend on, and with nothing else."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from switch_tf.artifacts.fine_tuned_folder import KIND
from switch_tf.errors import ModelError
from switch_tf.serving.model_digest import digest_of


def test_of_a_file_it_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a model")
    assert digest_of(tmp_path / "model.onnx") == hashlib.sha256(b"a model").hexdigest()


def test_of_an_export_of_a_fine_tuned_run_the_tokenizer_counts(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a model")
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": KIND}))
    (tmp_path / "spiece.model").write_bytes(b"pieces")
    before = digest_of(tmp_path / "model.onnx")
    assert before == digest_of(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"others")
    assert digest_of(tmp_path / "model.onnx") != before


def test_of_a_saved_model_it_is_that_of_the_newest_version(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version / "variables").mkdir(parents=True)
        (tmp_path / version / "saved_model.pb").write_text(version)
    before = digest_of(tmp_path)
    assert before == digest_of(tmp_path / "2") != digest_of(tmp_path / "1")
    (tmp_path / "2" / "variables" / "variables.index").write_text("other")
    assert digest_of(tmp_path) != before


@pytest.mark.slow
def test_of_a_run_exports_do_not_count(run_copy: Path) -> None:
    before = digest_of(run_copy)
    (run_copy / "export").mkdir()
    (run_copy / "export" / "model.onnx").write_text("")
    assert digest_of(run_copy) == before
    (run_copy / "manifest.json").write_text("{}")
    assert digest_of(run_copy) != before
    (run_copy / "manifest.json").unlink()
    before = digest_of(run_copy)
    (run_copy / "export" / "model.onnx").write_text("another")
    assert digest_of(run_copy) == before
    shutil.copy(run_copy / "labels.json", run_copy / "vocabulary.txt")
    assert digest_of(run_copy) != before


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"a model")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("switch_tf.checksums.describe", refuse)
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read: .*Permission denied"):
        digest_of(tmp_path / "model.onnx")
