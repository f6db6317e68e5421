"""Some texts that a run was not trained on, which its exports are checked on wherever the folder goes."""

from collections.abc import Iterable
from pathlib import Path

from switch_tf import files
from switch_tf.runs.folder import HELD_OUT
from switch_tf.runs.opening import Trained

HELD_OUT_TEXTS = 256


def write_held_out(folder: Path, texts: Iterable[str], labels: Iterable[str]) -> None:
    """A sample of texts that were not trained on, so that an export can be checked wherever the folder goes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": pa.array(texts, pa.large_string()), "label": pa.array(labels, pa.string())})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    files.write_bytes(folder / HELD_OUT, sink.getvalue().to_pybytes())


def read_held_out(run: Trained) -> list[str]:
    """The texts that `write_held_out` kept.

    Raises:
        DataError: the file is missing or damaged.
    """
    from switch_tf.data.examples import iter_texts

    return list(iter_texts(run.path / HELD_OUT))
