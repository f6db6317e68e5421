"""Weights of other programs, tensor by tensor: safetensors, `pytorch_model.bin`, or either in several files.

Nothing is executed and nothing is read before it is asked for, so that memory is bounded by one tensor beside what the
caller keeps.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ml_dtypes
import numpy as np

from switch_tf import files
from switch_tf.errors import ModelError, RunError
from switch_tf.models.torch_file import TorchFile

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
_NAMES = (SAFETENSORS, f"{SAFETENSORS}.index.json", BIN, f"{BIN}.index.json")  # the first that is there is read
_PLAIN_NAME = re.compile(r"[\w.-]+\.(safetensors|bin)")
_SAFETENSORS_TYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}


class Tensor(NamedTuple):
    """A tensor that is not read yet."""

    shape: tuple[int, ...]
    is_float: bool  # float32, float16 or bfloat16
    read: Callable[[], np.ndarray]


class _File(Protocol):
    def tensors(self) -> dict[str, Tensor]: ...

    def close(self) -> None: ...


class Checkpoint:
    """The weights in a folder as `save_pretrained` leaves it, by name.

    Attributes:
        folder: where they stand.
    """

    def __init__(self, folder: Path):
        """Read the tables of contents.

        Raises:
            ModelError: there are no weights, or a file of them cannot be used.
        """
        self.folder = folder
        name = next((name for name in _NAMES if (folder / name).is_file()), None)
        if name is None:
            raise ModelError(f"{folder} holds no weights. Expected one of {', '.join(_NAMES)} in it.")
        self._files: list[_File] = []
        self._tensors: dict[str, Tensor] = {}
        try:
            if name.endswith(".json"):
                self._open_index(folder / name)
            else:
                self._tensors = self._open(folder / name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> list[str]:
        """Of all tensors, sorted."""
        return sorted(self._tensors)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor of floating-point numbers; None where there is none of that name.

        Raises:
            ModelError: it holds other numbers.
        """
        tensor = self._tensors.get(name)
        if tensor is not None and not tensor.is_float:
            raise ModelError(
                f"{self.folder} has the weight {name!r} in another type than float32, float16 or bfloat16. "
                "Save the model in one of those."
            )
        return None if tensor is None else tensor.shape

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32, which holds every float16 and bfloat16 exactly.

        Raises:
            ModelError: its file is damaged, or it holds a value that is not finite.
        """
        array = self._tensors[name].read().astype(np.float32)
        if not np.isfinite(array).all():
            raise ModelError(f"{self.folder} is damaged: the weight {name!r} holds a value that is not finite.")
        return array

    def _open(self, path: Path) -> dict[str, Tensor]:
        file = _Safetensors(path) if path.suffix == ".safetensors" else _Bin(path)
        self._files.append(file)
        return file.tensors()

    def _open_index(self, path: Path) -> None:
        """The tensors of several files, of which an index says which stands in which."""
        where = _weight_map(path)
        for name in sorted(set(where.values())):
            found = self._open(path.parent / name)
            for tensor in (tensor for tensor, file in where.items() if file == name):
                if tensor not in found:
                    raise ModelError(f"{path} says that {name} holds the weight {tensor!r}, but it does not.")
                self._tensors[tensor] = found[tensor]


def _weight_map(path: Path) -> dict[str, str]:
    """The file of each tensor, all of them beside the index."""
    try:
        index = files.read_json(path)
    except RunError as error:
        raise ModelError(f"{path} cannot be read as JSON. Restore it from where the checkpoint came from.") from error
    where = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(where, dict) or not where:
        raise ModelError(f"{path} has no weight_map. Restore it from where the checkpoint came from.")
    for name in where.values():
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise ModelError(f"{path} names the file {name!r}. Expected .safetensors or .bin files beside it.")
        if not (path.parent / name).is_file():
            raise ModelError(f"{path.parent} lacks the file {name}, which {path.name} names. Fetch it too.")
    return where


class _Safetensors:
    """A safetensors file: eight bytes that say how long the header is, the header in JSON, and the numbers.

    The library checks the header, and with it that every tensor lies within the file and none over another. Numbers
    are read from the file rather than mapped, since pages of a map count as memory until the system takes them back.
    """

    def __init__(self, path: Path):
        from safetensors import SafetensorError, safe_open

        self._path = path
        try:
            with safe_open(path, framework="numpy"), path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                self._header: dict[str, Any] = json.loads(stream.read(length))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} cannot be read as safetensors: {error}. Fetch it anew.") from error
        self._begin = 8 + length

    def tensors(self) -> dict[str, Tensor]:
        return {name: self._describe(name, each) for name, each in self._header.items() if name != "__metadata__"}

    def close(self) -> None:
        """Nothing stays open: each tensor is read by itself."""

    def _describe(self, name: str, described: dict[str, Any]) -> Tensor:
        dtype = _SAFETENSORS_TYPES.get(described["dtype"])
        begin, end = described["data_offsets"]
        shape = tuple(described["shape"])

        def read() -> np.ndarray:
            with self._path.open("rb") as stream:
                stream.seek(self._begin + begin)
                content = stream.read(end - begin)
            if dtype is None or len(content) != end - begin:
                raise ModelError(f"{self._path} ends within the tensor {name!r}. Fetch it anew.")
            return np.frombuffer(content, dtype).reshape(shape)

        return Tensor(shape, dtype is not None, read)


class _Bin:
    """A file of torch's."""

    def __init__(self, path: Path):
        self._file = TorchFile(path)

    def tensors(self) -> dict[str, Tensor]:
        return {name: self._describe(name, each.shape) for name, each in self._file.tensors.items()}

    def close(self) -> None:
        self._file.close()

    def _describe(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(shape, True, lambda: self._file.read(name))
