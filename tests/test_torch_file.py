"""The reader of torch's files: what transformers wrote, and files that would do harm elsewhere."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch_tf.errors import ModelError
from switch_tf.models.torch_file import TorchFile

WRITTEN = Path(__file__).parent / "data" / "huggingface" / "bfloat16_bin" / "pytorch_model.bin"
# Operations of pickle's protocol 2, written out so that no test needs the module.
PROTO, STOP, MARK, TUPLE, REDUCE, SETITEMS, PERSID, BUILD = b"\x80\x02", b".", b"(", b"t", b"R", b"u", b"Q", b"b"
EMPTY_DICT, EMPTY_TUPLE, FALSE = b"}", b")", b"\x89"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def numbers(*values: int) -> bytes:
    return MARK + b"".join(map(integer, values)) + TUPLE


def storage(kind: str = "FloatStorage", key: str = "0", count: int = 6) -> bytes:
    return MARK + text("storage") + name("torch", kind) + text(key) + text("cpu") + integer(count) + TUPLE + PERSID


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, stored: bytes | None = None) -> bytes:
    ordered = name("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE
    arguments = (storage() if stored is None else stored) + integer(offset) + numbers(*shape) + numbers(*strides)
    return name("torch._utils", "_rebuild_tensor_v2") + MARK + arguments + FALSE + ordered + TUPLE + REDUCE


def dictionary(**values: bytes) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in values.items()) + SETITEMS


def write(
    folder: Path,
    table: bytes,
    content: bytes = np.arange(6, dtype="<f4").tobytes(),
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", PROTO + table + STOP)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", content)
    return path


def refusal(path: Path, reading: str | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        file = TorchFile(path)
        assert reading is not None
        file.read(reading)
    assert "save the model anew with transformers, as safetensors" in str(caught.value)
    return str(caught.value)


def test_what_torch_wrote_is_read_in_its_own_types() -> None:
    file = TorchFile(WRITTEN)
    experts = [each for each in file.tensors if "experts" in each]
    assert len(file.tensors) == 100 and len(experts) == 24
    assert {str(file.read(each).dtype) for each in experts} == {"bfloat16"}
    table = file.read("shared.weight")
    assert table.dtype == np.float32 and table.shape == (416, 16)
    np.testing.assert_array_equal(table, file.read("lm_head.weight"))  # one storage for both
    file.close()


def test_a_tensor_begins_where_its_offset_says(tmp_path: Path) -> None:
    path = write(tmp_path, dictionary(a=tensor((2, 2), (2, 1), offset=1), b=tensor((), (), offset=5)))
    file = TorchFile(path)
    np.testing.assert_array_equal(file.read("a"), [[1.0, 2.0], [3.0, 4.0]])
    assert file.read("b") == 5.0


def test_attributes_of_the_dictionary_are_left_out(tmp_path: Path) -> None:
    ordered = name("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE
    table = ordered + MARK + text("a") + tensor((1,), (1,)) + SETITEMS + dictionary(_metadata=integer(1)) + BUILD
    assert list(TorchFile(write(tmp_path, table)).tensors) == ["a"]


def test_nothing_is_called(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    harm = name("os", "system") + MARK + text(f"touch {mark}") + TUPLE + REDUCE
    assert "names 'os.system' in its data.pkl, and would have it called" in refusal(write(tmp_path, harm))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (name("builtins", "eval"), "names 'builtins.eval'"),
        (name("torch", "load"), "names 'torch.load'"),
        (text("os") + text("system") + b"\x93", "operation STACK_GLOBAL"),
        (b"(iposix\nsystem\n", "operation INST"),
        (b"\x82\x01", "operation EXT1"),
        (name("torch", "FloatStorage") + EMPTY_TUPLE + b"\x81", "operation NEWOBJ"),
        (name("torch", "FloatStorage") + EMPTY_TUPLE + REDUCE, "calls what is neither"),
        (name("collections", "OrderedDict") + numbers(1) + REDUCE, "calls what is neither"),
        (integer(3), "holds no dictionary"),
        (dictionary(a=integer(3)), "holds 'a', which is no tensor"),
        (dictionary(a=tensor((6,), (0,))), "skip or repeat numbers"),
        (dictionary(a=tensor((2, 3), (1, 2))), "skip or repeat numbers"),
        (dictionary(a=tensor((-6,), (1,))), "the shape (-6,)"),
        (dictionary(a=tensor((6,), (1,), offset=-1)), "the shape (6,)"),
        (dictionary(a=tensor((2, 3), (3,))), "damaged data.pkl"),
        (dictionary(a=tensor((6,), (1,), stored=storage("IntStorage"))), "names 'torch.IntStorage'"),
        (dictionary(a=tensor((6,), (1,), stored=storage(key="../0"))), "is no storage of numbers"),
        (dictionary(a=tensor((6,), (1,), stored=integer(3))), "without a storage or shape"),
        (integer(3) + integer(4) + integer(5) + b"s", "what is no dictionary"),
        (b"h\x07", "damaged data.pkl"),
        (b"u", "damaged data.pkl"),
        (b"R", "damaged data.pkl"),
        (b"", "damaged data.pkl"),
        (b"\xff", "damaged data.pkl"),
    ],
)
def test_other_operations_and_values_are_refused(tmp_path: Path, table: bytes, problem: str) -> None:
    assert problem in refusal(write(tmp_path, table))


@pytest.mark.parametrize(
    ("shape", "problem"), [((7,), "too few numbers for the tensor 'a'"), ((2**20, 2**20), "too few numbers")]
)
def test_a_tensor_beyond_its_storage_is_refused_before_it_takes_memory(
    tmp_path: Path, shape: tuple[int, ...], problem: str
) -> None:
    strides = (1,) if len(shape) == 1 else (shape[1], 1)
    assert problem in refusal(write(tmp_path, dictionary(a=tensor(shape, strides))), "a")


def test_a_missing_storage_is_named(tmp_path: Path) -> None:
    table = dictionary(a=tensor((6,), (1,), stored=storage(key="8")))
    assert "lacks its entry 'data/8'" in refusal(write(tmp_path, table), "a")


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, dictionary(a=tensor((6,), (1,))), bytes(2**16), zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(path)


def test_a_file_of_a_big_endian_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", PROTO + EMPTY_DICT + STOP)
        archive.writestr("archive/byteorder", "big")
    assert "big-endian" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert "cannot be read as the zip archive" in refusal(path)


def test_an_archive_without_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/other", "")
    assert "holds no single data.pkl" in refusal(path)


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 300))
def test_any_table_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int) -> None:
    table = dictionary(a=tensor((2, 3), (3, 1)))
    path = write(tmp_path_factory.mktemp("noise"), table[:place] + noise + table[place + len(noise) :])
    try:
        file = TorchFile(path)
        for each in file.tensors:
            file.read(each)
    except ModelError:
        pass
