"""A reader of `pytorch_model.bin` that runs nothing: it interprets the few pickle operations that such a file needs.

The file is a zip archive: `data.pkl` says which tensors there are, and every other entry holds the numbers of one
storage. Unpickling would call whatever the file names; this reader steps through the operations itself, knows four
kinds of names, and refuses the file at the first operation or name beyond them. Numbers are read tensor by tensor.
"""

import math
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

from switch_tf.errors import ModelError

_PICKLE_LIMIT = 64 * 2**20  # bytes of data.pkl: a model of 2,048 experts in 24 layers needs a third of it
_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
}
_DICTIONARY = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"
_NAMES = {_DICTIONARY, _REBUILD, *(f"torch {name}" for name in _STORAGES)}
_MARK = object()


class Stored(NamedTuple):
    """Where one tensor's numbers stand: in the storage `key`, from the element `offset` on, in C order."""

    key: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]


class TorchFile:
    """The tensors of one `.bin` file.

    Attributes:
        tensors: where each stands, by name.
    """

    def __init__(self, path: Path):
        """Read the table of contents.

        Raises:
            ModelError: it is no archive that torch.save wrote, or holds more than a dictionary of tensors.
        """
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise self._refusal(f"cannot be read as the zip archive of torch since 1.6 ({error})") from error
        self._root = self._find_root()
        self.tensors = self._read_table()

    def read(self, name: str) -> np.ndarray:
        """One tensor, in its own type.

        Raises:
            ModelError: its numbers are missing, compressed or too few.
        """
        stored = self.tensors[name]
        count, size = math.prod(stored.shape), stored.dtype.itemsize
        entry = self._entry(f"data/{stored.key}")
        if (stored.offset + count) * size > entry.file_size:
            raise self._refusal(f"has too few numbers for the tensor {name!r}")
        with self._open(entry) as stream:
            stream.seek(stored.offset * size)
            content = stream.read(count * size)
        if len(content) != count * size:
            raise self._refusal(f"ends within the tensor {name!r}")
        return np.frombuffer(content, stored.dtype).reshape(stored.shape)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _find_root(self) -> str:
        """The folder inside the archive that all its entries stand in; its name is that of the file as it was saved."""
        found = [name for name in self._archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1:
            raise self._refusal("holds no single data.pkl")
        root = found[0].removesuffix("data.pkl")
        order = self._archive.NameToInfo.get(f"{root}byteorder")
        if order is not None:
            with self._open(order) as stream:
                if stream.read(16) != b"little":
                    raise self._refusal("is of a big-endian machine")
        return root

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._archive.NameToInfo.get(f"{self._root}{name}")
        if entry is None:
            raise self._refusal(f"lacks its entry {name!r}")
        return entry

    def _open(self, entry: zipfile.ZipInfo) -> IO[bytes]:
        """A stream of an entry, which must be stored as it is: torch compresses nothing, a bomb does."""
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > self._path.stat().st_size:
            raise self._refusal(f"has its entry {entry.filename!r} compressed")
        try:
            return self._archive.open(entry)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: encrypted
            raise self._refusal(f"cannot be read: {error}") from error

    def _read_table(self) -> dict[str, Stored]:
        entry = self._entry("data.pkl")
        if entry.file_size > _PICKLE_LIMIT:
            raise self._refusal(f"has a data.pkl of {entry.file_size:,} bytes, expected at most {_PICKLE_LIMIT:,}")
        with self._open(entry) as stream:
            content = stream.read()
        try:
            with warnings.catch_warnings():  # of escapes in strings of a kind that is refused
                warnings.simplefilter("ignore")
                table = _Interpreter().run(content)
        except _Refused as error:
            raise self._refusal(str(error)) from error
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise self._refusal(f"has a damaged data.pkl ({type(error).__name__}: {error})") from error
        if not isinstance(table, dict):
            raise self._refusal("holds no dictionary of tensors")
        for name, tensor in table.items():
            if not isinstance(name, str) or not isinstance(tensor, Stored):
                raise self._refusal(f"holds {name!r}, which is no tensor")
        return table

    def _refusal(self, problem: str) -> ModelError:
        return ModelError(
            f"{self._path} {problem}. Expected the dictionary of float32, float16 or bfloat16 tensors that torch.save "
            "writes: save the model anew with transformers, as safetensors."
        )


class _Refused(Exception):
    """An operation, name or value that no dictionary of tensors needs."""


class _Name(NamedTuple):
    """A name of the file's, which stands for nothing but itself."""

    name: str


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype


class _Interpreter:
    """A stack machine for those pickle operations that write dictionaries, tuples, numbers, strings and tensors."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """What the operations leave on the stack.

        Raises:
            _Refused: there is another kind of operation, or a name that tensors do not need.
        """
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "STOP":
                return self._stack.pop()
            if operation.name in _PUSHED:
                self._stack.append(argument)
            elif operation.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[operation.name])
            else:
                step = getattr(self, f"_{operation.name.lower()}", None) if operation.name in _STEPS else None
                if step is None:
                    raise _Refused(f"has the pickle operation {operation.name} in its data.pkl")
                step(argument)
        raise _Refused("has a data.pkl without an end")

    def _proto(self, version: int) -> None:
        if version > 4:
            raise _Refused(f"is of pickle's protocol {version}")

    def _frame(self, length: int) -> None:
        """Where a frame begins says nothing to a reader that has all of it."""

    def _mark(self, _: None) -> None:
        self._stack.append(_MARK)

    def _empty_dict(self, _: None) -> None:
        self._stack.append({})

    def _global(self, name: str) -> None:
        if name not in _NAMES:
            raise _Refused(f"names {name.replace(' ', '.')!r} in its data.pkl, and would have it called")
        self._stack.append(_Name(name))

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    _binget = _long_binget = _get

    def _tuple(self, _: None) -> None:
        self._stack.append(tuple(self._marked()))

    def _tuple1(self, _: None) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _tuple2(self, _: None) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self, _: None) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _setitem(self, _: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._into_dictionary([key, value])

    def _setitems(self, _: None) -> None:
        self._into_dictionary(self._marked())

    def _build(self, _: None) -> None:
        """Attributes of a dictionary, of which torch writes versions of its modules: not needed."""
        self._stack.pop()

    def _binpersid(self, _: None) -> None:
        kind, storage, key, _, count = self._stack.pop()
        if kind != "storage" or not isinstance(storage, _Name) or not isinstance(key, str) or not key.isdecimal():
            raise _Refused(f"refers to {kind!r}, which is no storage of numbers")
        dtype = _STORAGES.get(storage.name.removeprefix("torch "))
        if dtype is None or not _is_count(count):
            raise _Refused(f"has a storage of {storage.name!r}")
        self._stack.append(_Storage(key, dtype))

    def _reduce(self, _: None) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if function == _Name(_DICTIONARY) and arguments == ():
            self._stack.append({})
        elif function == _Name(_REBUILD):
            self._stack.append(_tensor(*arguments))
        else:
            raise _Refused("calls what is neither a dictionary nor a tensor")

    def _marked(self) -> list[Any]:
        """What stands above the last mark, which goes with it."""
        place = max(number for number, value in enumerate(self._stack) if value is _MARK)
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _into_dictionary(self, pairs: list[Any]) -> None:
        dictionary = self._stack[-1]
        if not isinstance(dictionary, dict):
            raise _Refused("sets an item of what is no dictionary")
        dictionary.update(zip(pairs[::2], pairs[1::2], strict=True))


_PUSHED = ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1")
_CONSTANTS = {"EMPTY_TUPLE": (), "NEWFALSE": False, "NEWTRUE": True, "NONE": None}
_STEPS = {
    *("PROTO", "FRAME", "MARK", "EMPTY_DICT", "GLOBAL", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM", "SETITEMS", "BUILD", "BINPERSID", "REDUCE"),
}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Stored:
    """A tensor that `torch._utils._rebuild_tensor_v2` would make; what follows the strides is about gradients."""
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise _Refused("has a tensor without a storage or shape")
    if not all(map(_is_count, (offset, *shape, *strides))):
        raise _Refused(f"has a tensor of the shape {shape!r}")
    if any(size > 1 and step != expected for size, step, expected in zip(shape, strides, _c_order(shape), strict=True)):
        raise _Refused("has a tensor that is no plain array: its strides skip or repeat numbers")
    return Stored(storage.key, storage.dtype, offset, shape)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _c_order(shape: tuple[int, ...]) -> Iterator[int]:
    """The strides, in elements, of an array whose last axis is dense."""
    for axis in range(len(shape)):
        yield math.prod(shape[axis + 1 :])
