"""TensorFlow's C++ loader answers as TF Serving would: every signature, the empty batch, and what it must refuse."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from switch_tf.errors import ExportError, ModelError
from switch_tf.export.saved_model import loader_child
from switch_tf.export.saved_model.loader import Answered, Call, as_examples, run_in_loader, strings

pytestmark = pytest.mark.slow


class Small(tf.Module):
    """A table and an addition: enough to go wrong in every way that matters."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(keys, -1)
        self.one = tf.Variable([1.0, 2.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def look_up(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"number": self.table.lookup(text), "shout": tf.strings.join([text, "!"])}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="row")])
    def add(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": row + self.one, "type": tf.cast(row, tf.int32)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="row")], jit_compile=True)
    def compiled(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"sum": row + self.one}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, module = tmp_path_factory.mktemp("small") / "model", Small()
    signatures = {"look_up": module.look_up, "add": module.add, "compiled": module.compiled}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def changed(saved_model: Path, to: Path, change: Callable[[Any], None]) -> Path:
    """A copy whose graph is changed."""
    shutil.copytree(saved_model, to)
    parsed = saved_model_pb2.SavedModel.FromString((to / "saved_model.pb").read_bytes())
    change(parsed.meta_graphs[0])
    (to / "saved_model.pb").write_bytes(parsed.SerializeToString())
    return to


LONG = b"\xff\0" * 40 + b"\0"  # no UTF-8, and longer than what TensorFlow keeps inside of a string's own 24 bytes
LOOK_UP = Call("look_up", {"text": strings([b"a", b"", b"b", LONG])}, 3)
ADD = Call("add", {"row": np.array([[1, 2], [3, 4]], np.float32)}, 1)


def test_it_answers_strings_and_numbers_in_batches_and_none_at_all(small):
    empty = [Call("look_up", {"text": strings([])}, 1), Call("add", {"row": np.zeros([0, 2], np.float32)}, 1)]
    again = Call("look_up", {"text": Answered(0, "shout")}, 64)
    looked_up, added, none, nothing, twice = run_in_loader(small, "x", [LOOK_UP, ADD, *empty, again])
    assert looked_up["number"].tolist() == [1, -1, 2, -1]
    assert looked_up["shout"].tolist() == [b"a!", b"!", b"b!", LONG + b"!"]
    assert added["sum"].tolist() == [[2, 4], [4, 6]] and added["type"].dtype == np.int32
    assert none["number"].shape == none["shout"].shape == (0,) and nothing["sum"].shape == (0, 2)
    assert twice["shout"].tolist() == [b"a!!", b"!!", b"b!!", LONG + b"!!"]


def test_it_needs_nothing_outside_of_the_folder(small, tmp_path):
    shutil.copytree(small, tmp_path / "moved")
    small.rename(small.with_name("away"))
    try:
        (answer,) = run_in_loader(tmp_path / "moved", "x", [ADD])
    finally:
        small.with_name("away").rename(small)
    assert answer["sum"].tolist() == [[2, 4], [4, 6]]


def test_an_operator_that_the_loader_lacks_is_refused(small, tmp_path):
    def rename(graph):
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "StringJoin":
                    node.op = "OfAnotherLibrary"

    bad = changed(small, tmp_path / "bad", rename)
    with pytest.raises(ModelError, match=r"x does not run in TensorFlow's C.. loader, .*OfAnotherLibrary"):
        run_in_loader(bad, "x", [LOOK_UP])


def test_a_table_that_nothing_fills_is_refused_though_python_fills_it(small, tmp_path):
    def forget(graph):
        del graph.signature_def["__saved_model_init_op"], graph.collection_def["saved_model_main_op"]

    bad = changed(small, tmp_path / "bad", forget)
    in_python = tf.saved_model.load(str(bad)).signatures["look_up"](text=tf.constant(["b"]))
    assert in_python["number"].numpy().tolist() == [2]
    assert run_in_loader(bad, "x", [ADD])  # what needs no table works
    with pytest.raises(ModelError, match=r"the signature look_up: .*Table not initialized"):
        run_in_loader(bad, "x", [ADD, LOOK_UP])


def test_a_compiled_signature_is_refused_as_the_stock_server_has_no_xla(small):
    row = tf.constant([[1.0, 2.0]])
    assert tf.saved_model.load(str(small)).signatures["compiled"](row=row)["sum"].numpy().tolist() == [[2, 4]]
    with pytest.raises(ModelError, match=r"the signature compiled: .*XLA compilation disabled"):
        run_in_loader(small, "x", [Call("compiled", {"row": row.numpy()}, 1)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call("other", {}, 1), r"no signature other, but \['add', 'compiled', 'look_up'\]"),
        (Call("add", {"rows": ADD.inputs["row"]}, 1), r"gives add the inputs \['rows'\]. Expected \['row'\]"),
        (Call("add", {"row": np.zeros([1, 2])}, 1, "record 3"), r"record 3 gives .* float64 .* Expected float32"),
        (Call("add", {"row": np.zeros([1, 3], np.float32)}, 1), r"float32 \[1, 3\]. Expected float32 \[None, 2\]"),
    ],
)
def test_what_a_signature_does_not_take_is_refused(small, call, message):
    with pytest.raises(ModelError, match=message):
        run_in_loader(small, "x", [call])


def test_a_folder_without_a_graph_to_serve_is_refused(small, tmp_path):
    with pytest.raises(ModelError, match="cannot be read as a SavedModel"):
        run_in_loader(tmp_path, "x", [ADD])
    (tmp_path / "saved_model.pb").write_bytes(b"no protocol buffer")
    with pytest.raises(ModelError, match="cannot be read as a SavedModel"):
        run_in_loader(tmp_path, "x", [ADD])

    def retag(graph):
        graph.meta_info_def.tags[:] = ["train"]

    with pytest.raises(ModelError, match="no graph with the tag serve"):
        run_in_loader(changed(small, tmp_path / "bad", retag), "x", [ADD])


def test_a_tensorflow_that_cannot_turn_xla_off_is_refused(small, tmp_path, monkeypatch):
    program = tmp_path / "child.py"
    source = Path(loader_child.__file__).read_text(encoding="utf-8")
    program.write_text(source.replace("DisableXlaCompilation", "NoSuchThing"), encoding="utf-8")
    monkeypatch.setattr(loader_child, "__file__", str(program))
    with pytest.raises(ExportError, match="cannot turn XLA off as TF Serving does"):
        run_in_loader(small, "x", [ADD])


def test_the_child_says_so_when_pythons_tensorflow_came_in(small, tmp_path, monkeypatch):
    program = tmp_path / "child.py"
    source = Path(loader_child.__file__).read_text(encoding="utf-8")
    lie = "sys.modules['tensorflow.python'] = sys\nimport numpy as np\n"
    program.write_text(source.replace("import numpy as np\n", lie), encoding="utf-8")
    monkeypatch.setattr(loader_child, "__file__", str(program))
    with pytest.raises(ExportError, match=r"the process imported \['tensorflow.python'\]"):
        run_in_loader(small, "x", [ADD])


def test_strings_travel_as_they_are():
    arrays = {"a": strings([b"", b"\0", LONG]), "b": np.array([[b"x", b"yz"]], object), "c": np.arange(3)}
    arrays["none"] = np.empty([0, 2], object)
    back = loader_child.unpack(loader_child.pack(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        assert back[name].tolist() == array.tolist()


def test_an_example_is_what_tensorflow_parses():
    (example,) = as_examples([LONG])
    parsed = tf.io.parse_single_example(example, {"text": tf.io.FixedLenFeature([], tf.string)})
    assert parsed["text"].numpy() == LONG
