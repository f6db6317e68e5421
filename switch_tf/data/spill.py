"""Tables and arrays that may be larger than memory: on disk from some size on, and used as if they were not.

They lie in files without a name, mapped into memory: what is not in use the operating system takes out of memory again,
and nothing is left when the process ends, however it ends. The files are where temporary files are (TMPDIR), which
should be on a disk.

What was read once counts as the process's memory until something else wants it. `relieving` gives it back in passing.
Rows here and there would bring all of an array into memory, for what surrounds each comes with it, on some systems two
MiB: `rows_of` reads them from the file instead.
"""

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from switch_tf import files

LIMIT = 256 * 2**20  # bytes of a table or an array that stays in memory
_CHUNK = 2**22  # numbers of an array that are computed at a time
_maps: "weakref.WeakKeyDictionary[mmap.mmap, int]" = weakref.WeakKeyDictionary()  # all in use, to descriptors of files
_T = TypeVar("_T")


def _kept(content: mmap.mmap, file: int) -> mmap.mmap:
    """What a file is mapped to, with a descriptor of the file that is open as long."""
    _maps[content] = os.dup(file)
    weakref.finalize(content, os.close, _maps[content])
    return content


def relieving(items: Iterable[_T], every: int) -> Iterator[_T]:
    """The items, after so many of which what is on disk leaves memory; whoever needs it again reads it again."""
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            relieve()


def relieve() -> None:
    """Take what is on disk out of this process's memory. What has been written to it stays written."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for each in list(_maps):
            each.madvise(mmap.MADV_DONTNEED)


def computed(shape: tuple[int, ...], kind: type[np.generic], rows: Callable[[slice], np.ndarray]) -> np.ndarray:
    """An array made some rows at a time, on disk if it is large.

    >>> computed((3, 2), np.int32, lambda some: np.arange(6).reshape(3, 2)[some]).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    made = empty_array(shape, kind)
    step = max(1, _CHUNK // max(1, int(np.prod(shape[1:]))))
    for start in relieving(range(0, shape[0], step), 8):
        made[start : start + step] = rows(slice(start, start + step))
    return made


def rows_of(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`array[rows]`, of rows in any order; of an array on disk nothing else comes into memory.

    Args:
        array: [n, ...].
        rows: int [m], from 0 to n - 1.
    """
    content = _map_of(array)
    if content is None or not hasattr(os, "preadv"):
        return array[rows]
    file, begin = _maps[content], array.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data
    made = np.empty((len(rows), *array.shape[1:]), array.dtype)
    size = made.nbytes // max(len(rows), 1)
    room = made.reshape(-1).view(np.uint8).data
    for place, row in enumerate(rows.tolist()):
        os.preadv(file, [room[place * size : (place + 1) * size]], begin + row * size)
    return made


def _map_of(array: np.ndarray) -> mmap.mmap | None:
    """What an array on disk lies in, if its rows lie there one behind the other."""
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner if isinstance(owner, mmap.mmap) and owner in _maps and array.flags.c_contiguous else None


def gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables of one schema behind each other, on disk if they are large.

    Raises:
        RunError: there is no room for them.
    """
    remaining = iter(tables)
    first: list[pa.Table] = []
    size = 0
    for table in remaining:
        first.append(table)
        size += table.nbytes
        if size > LIMIT:
            return _on_disk(chain(first, remaining), schema)
    return pa.concat_tables(first) if first else schema.empty_table()


def _on_disk(tables: Iterator[pa.Table], schema: pa.Schema) -> pa.Table:
    with files.refusing(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        with pa.ipc.new_file(file, schema) as writer:
            for table in tables:
                writer.write_table(table)
        file.flush()
        content = _kept(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), file.fileno())
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()


def take_rising(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows at these positions, int [n], which rise; a piece at a time.

    >>> take_rising(pa.table({"n": [5, 6, 7, 8]}), np.array([1, 3]))["n"].to_pylist()
    [6, 8]
    """
    return gathered(_taken(table, rows), table.schema)


def _taken(table: pa.Table, rows: np.ndarray) -> Iterator[pa.Table]:
    start = 0
    for batch in relieving(table.to_batches(), 8):
        low, high = np.searchsorted(rows, [start, start + batch.num_rows])
        if low < high:
            yield pa.Table.from_batches([batch.take(pa.array(rows[low:high] - start))])
        start += batch.num_rows


def empty_array(shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    """An array to be filled, on disk if it is large.

    Raises:
        RunError: there is no room for it.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size <= LIMIT:
        return np.empty(shape, kind)
    with files.refusing(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # or else a full disk would end the process at some later write
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        content = _kept(mmap.mmap(file.fileno(), size), file.fileno())
        return np.frombuffer(content, kind).reshape(shape)
