"""Traced functions as a SavedModel: what an export to TFLite and those of Hugging Face's models begin with."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions

# A file may hold so many bytes, as on a full disk: enough for none of what is written (0), or for the graph alone.
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import tensorflow as tf
from switch_tf.errors import ExportError
from switch_tf.export.functions import save_functions
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
weight = tf.Variable(tf.random.normal([64, 1024]), name="weight")
double = tf.function(lambda x: {"y": x @ weight}, input_signature=[tf.TensorSpec([None, 64], name="x")])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    save_functions([weight], {"double": double}, Path(sys.argv[1]))
except ExportError as error:
    print(error)
"""


def test_what_is_saved_answers_by_its_signature_and_holds_no_python_class(tmp_path: Path) -> None:
    weight = tf.Variable([[2.0], [3.0]], name="weight")
    double = tf.function(lambda x: {"y": x @ weight}, input_signature=[tf.TensorSpec([None, 2], name="x")])
    save_functions([weight], {"double": double}, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert list(loaded.signatures) == ["double"]
    assert loaded.signatures["double"](x=tf.constant([[1.0, 10.0]]))["y"].numpy().tolist() == [[32.0]]
    assert not (tmp_path / "saved" / "keras_metadata.pb").exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 65_536])
def test_a_full_disk_is_told(size: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "saved"), str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'saved'} cannot be written: ")
    assert done.stdout.endswith("Make room there.\n")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    double = tf.function(lambda x: {"y": 2.0 * x}, input_signature=[tf.TensorSpec([None], name="x")])
    with pytest.raises(ExportError, match=r"file/saved cannot be written: .*Make room there\.$"):
        save_functions([], {"double": double}, tmp_path / "file" / "saved")
