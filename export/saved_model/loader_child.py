"""Run signatures of a SavedModel in TensorFlow's C++ loader, in a process that never imports TensorFlow for Python.

Usage: python -I loader_child.py SAVED_MODEL REQUEST.npz RESPONSE.npz

It stands for TF Serving: the same call loads the model (`TF_LoadSessionFromSavedModel` is C for `LoadSavedModel`), with
XLA off, as in the stock server. The shared libraries are those of the installed TensorFlow, called through ctypes.

REQUEST holds `calls`, JSON as uint8: a list of {"what", "feeds", "fetches", "batch"}. `feeds` names, for each tensor to
feed, an array of REQUEST; or [i, key], what call i gave under that key; or {"texts", "width"}, an array of strings that
go in as rows of so many bytes. `fetches` names the tensor to fetch under each key; the rows go in batches of `batch`.
RESPONSE gets `i/key` for each call i. Strings travel as `pack` says. Ends with 3 where the SavedModel is to blame, with
1 where this TensorFlow is.
"""

import ctypes
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

# TensorFlow's numbers of its types, from tensorflow/core/framework/types.proto.
_STRING = 7
_TYPES = {1: np.float32, 3: np.int32, 4: np.uint8, 9: np.int64}
_STRING_BYTES = 24  # of a TF_TString, from tensorflow/c/tf_tstring.h and ctstring_internal.h
# RunOptions with inter_op_thread_pool = -1: a run stays on the thread that asks, instead of waking another for each
# operator of a batch of one text, which takes longer than the operator does.
_ON_THIS_THREAD = b"\x18" + b"\xff" * 9 + b"\x01"
_DISABLE_XLA = "_ZN10tensorflow21DisableXlaCompilationEv"  # void tensorflow::DisableXlaCompilation()


def main(saved_model: str, request: str, response: str) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with np.load(request, allow_pickle=False) as stored:
        calls = json.loads(stored["calls"].tobytes())
        arrays = unpack({name: stored[name] for name in stored.files if name != "calls"})
    session = Session(saved_model)
    answers: dict[str, np.ndarray] = {}
    for number, call in enumerate(calls):
        feeds = {tensor: _find(source, arrays, answers) for tensor, source in call["feeds"].items()}
        try:
            received = session.run_in_batches(feeds, call["fetches"], call["batch"])
        except SavedModelError as error:
            raise SavedModelError(f"{call['what']}: {error}") from error
        answers |= {f"{number}/{key}": array for key, array in received.items()}

    python = sorted(name for name in sys.modules if name.split(".")[0] in ("tensorflow", "switch_tf", "tf_keras"))
    if python:
        raise LoaderError(f"the process imported {python}")
    np.savez(response, **pack(answers))


def _find(source: Any, arrays: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a feed of the request means."""
    if isinstance(source, str):
        return arrays[source]
    if isinstance(source, list):
        return answers[f"{source[0]}/{source[1]}"]
    texts = arrays[source["texts"]]
    rows = np.zeros([len(texts), source["width"]], np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = np.frombuffer(text[: len(row)], np.uint8)
    return rows


def pack(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays without objects: one of `bytes` becomes its lengths, int64 of the same shape, and NAME:content, uint8."""
    packed: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype == object:
            packed[f"{name}:content"] = np.frombuffer(b"".join(array.flat), np.uint8)
            array = np.array([len(item) for item in array.flat], np.int64).reshape(array.shape)
        packed[name] = array
    return packed


def unpack(packed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that `pack` was given."""
    arrays = {}
    for name, array in packed.items():
        if f"{name}:content" in packed:
            content, end = packed[f"{name}:content"].tobytes(), 0
            strings = np.empty(array.shape, object)
            for position, length in np.ndenumerate(array):
                strings[position], end = content[end : end + length], end + length
            array = strings
        if not name.endswith(":content"):
            arrays[name] = array
    return arrays


class LoaderError(Exception):
    """This TensorFlow cannot be used without Python."""


class SavedModelError(Exception):
    """What TensorFlow says is wrong with the SavedModel."""


class _Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class _Buffer(ctypes.Structure):
    """TF_Buffer: bytes of a protocol buffer."""

    _fields_ = (("data", c_char_p), ("length", c_size_t), ("deallocator", c_void_p))


class Session:
    """A loaded SavedModel."""

    def __init__(self, saved_model: str):
        """
        Raises:
            LoaderError: this TensorFlow cannot be used without Python.
            SavedModelError: it does not load the model.
        """
        self._tf = _load_library()
        self._status = self._tf.TF_NewStatus()
        self._graph = self._tf.TF_NewGraph()
        self._outputs: dict[str, _Output] = {}
        self._options = ctypes.byref(_Buffer(_ON_THIS_THREAD, len(_ON_THIS_THREAD), None))
        tags = (c_char_p * 1)(b"serve")
        options = self._tf.TF_NewSessionOptions()
        self._session = self._tf.TF_LoadSessionFromSavedModel(
            options, None, os.fsencode(saved_model), tags, len(tags), self._graph, None, self._status
        )
        self._check()

    def run_in_batches(
        self, feeds: Mapping[str, np.ndarray], fetches: Mapping[str, str], batch: int
    ) -> dict[str, np.ndarray]:
        """What is fetched for all rows of the feeds, `batch` rows at a time; no rows are a batch too."""
        rows = max((len(array) for array in feeds.values()), default=0)
        parts = [
            self.run({name: array[start : start + batch] for name, array in feeds.items()}, list(fetches.values()))
            for start in range(0, max(rows, 1), batch)
        ]
        try:
            return {key: np.concatenate(each) for key, each in zip(fetches, zip(*parts, strict=True), strict=True)}
        except ValueError as error:  # single numbers, or rows of another shape in each batch
            raise SavedModelError(f"answers that are no rows: {error}") from error

    def run(self, feeds: Mapping[str, np.ndarray], fetches: list[str]) -> list[np.ndarray]:
        """One session run: arrays by the name of the tensor they are fed to -> what is fetched."""
        given = (c_void_p * len(feeds))(*map(self._tensor, feeds.values()))
        received = (c_void_p * len(fetches))()
        inputs = (_Output * len(feeds))(*map(self._output, feeds))
        outputs = (_Output * len(fetches))(*map(self._output, fetches))
        self._tf.TF_SessionRun(
            *(self._session, self._options, inputs, given, len(given), outputs, received, len(received)),
            *(None, 0, None, self._status),
        )
        self._check()
        arrays = [self._array(tensor) for tensor in received]
        for tensor in (*given, *received):
            self._tf.TF_DeleteTensor(tensor)
        return arrays

    def _output(self, name: str) -> _Output:
        """The output that a tensor name such as "StatefulPartitionedCall:1" means."""
        if name not in self._outputs:
            operation, _, index = name.partition(":")
            found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
            if not found:
                raise SavedModelError(f"the graph has no operation {operation}")
            self._outputs[name] = _Output(found, int(index or 0))
        return self._outputs[name]

    def _tensor(self, array: np.ndarray) -> int:
        """A TF_Tensor of the array; it shows the array's strings where they are, so they must outlive it."""
        strings = array.dtype == object
        array = np.ascontiguousarray(array)
        size = _STRING_BYTES * array.size if strings else array.nbytes
        number = _STRING if strings else next(key for key, each in _TYPES.items() if array.dtype == each)
        tensor = self._tf.TF_AllocateTensor(number, (c_int64 * array.ndim)(*array.shape), array.ndim, size)
        data = self._tf.TF_TensorData(tensor)
        if strings:
            for position, string in enumerate(array.flat):
                self._tf.TF_StringInit(data + _STRING_BYTES * position)
                self._tf.TF_StringAssignView(data + _STRING_BYTES * position, string, len(string))
        elif size:
            ctypes.memmove(data, array.ctypes.data, size)
        return tensor

    def _array(self, tensor: int | None) -> np.ndarray:
        """A copy of what a TF_Tensor holds."""
        shape = [self._tf.TF_Dim(tensor, axis) for axis in range(self._tf.TF_NumDims(tensor))]
        number, data = self._tf.TF_TensorType(tensor), self._tf.TF_TensorData(tensor)
        if number not in (_STRING, *_TYPES):
            raise SavedModelError(f"an answer of TensorFlow's type {number}, which no signature of ours has")
        if number != _STRING:
            content = ctypes.string_at(data, self._tf.TF_TensorByteSize(tensor)) if data else b""
            return np.frombuffer(content, _TYPES[number]).reshape(shape)
        strings = np.empty(int(np.prod(shape)), object)
        for position in range(len(strings)):
            string = data + _STRING_BYTES * position
            strings[position] = ctypes.string_at(
                self._tf.TF_StringGetDataPointer(string), self._tf.TF_StringGetSize(string)
            )
        return strings.reshape(shape)

    def _check(self) -> None:
        if self._tf.TF_GetCode(self._status):
            raise SavedModelError(self._tf.TF_Message(self._status).decode("utf-8", "replace"))


def _load_library() -> Any:
    """TensorFlow's shared library, its functions declared as in tensorflow/c/c_api.h, with XLA off.

    Raises:
        LoaderError: the installed TensorFlow has no such library, or no way to turn XLA off.
    """
    found = importlib.util.find_spec("tensorflow")  # finds, does not import
    if found is None or not found.submodule_search_locations:
        raise LoaderError("TensorFlow is not installed")
    folder = Path(found.submodule_search_locations[0])
    names = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")
    if sys.platform == "darwin":
        names = ("libtensorflow_framework.2.dylib", "libtensorflow_cc.2.dylib")
    try:
        libraries = [ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL) for name in names]
    except OSError as error:
        raise LoaderError(f"TensorFlow's C++ library cannot be loaded: {error}") from error
    library = libraries[-1]
    try:
        disable_xla = library[_DISABLE_XLA]
    except AttributeError as error:
        raise LoaderError("this TensorFlow cannot turn XLA off as TF Serving does: take the newest release") from error
    disable_xla.restype, disable_xla.argtypes = None, []
    disable_xla()
    pointer, outputs, tensors = c_void_p, POINTER(_Output), POINTER(c_void_p)
    declarations: dict[str, tuple[Any, list[Any]]] = {
        "TF_NewStatus": (pointer, []),
        "TF_GetCode": (c_int, [pointer]),
        "TF_Message": (c_char_p, [pointer]),
        "TF_NewGraph": (pointer, []),
        "TF_NewSessionOptions": (pointer, []),
        "TF_LoadSessionFromSavedModel": (
            pointer,
            [pointer, pointer, c_char_p, POINTER(c_char_p), c_int, pointer, pointer, pointer],
        ),
        "TF_GraphOperationByName": (pointer, [pointer, c_char_p]),
        "TF_SessionRun": (
            None,
            [pointer, pointer, outputs, tensors, c_int, outputs, tensors, c_int, pointer, c_int, pointer, pointer],
        ),
        "TF_AllocateTensor": (pointer, [c_int, POINTER(c_int64), c_int, c_size_t]),
        "TF_DeleteTensor": (None, [pointer]),
        "TF_TensorType": (c_int, [pointer]),
        "TF_NumDims": (c_int, [pointer]),
        "TF_Dim": (c_int64, [pointer, c_int]),
        "TF_TensorData": (pointer, [pointer]),
        "TF_TensorByteSize": (c_size_t, [pointer]),
        "TF_StringInit": (None, [pointer]),
        "TF_StringAssignView": (None, [pointer, c_char_p, c_size_t]),
        "TF_StringGetDataPointer": (pointer, [pointer]),
        "TF_StringGetSize": (c_size_t, [pointer]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (LoaderError, SavedModelError) as problem:
        print(" ".join(str(problem).split()), file=sys.stderr)
        sys.exit(3 if isinstance(problem, SavedModelError) else 1)
