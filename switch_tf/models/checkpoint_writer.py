"""An encoder-decoder as `model.safetensors` with the names that Hugging Face's files have, tensor by tensor."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from switch_tf import files
from switch_tf.models.checkpoint import Checkpoint
from switch_tf.models.huggingface import Weights
from switch_tf.models.seq2seq import NAME, Seq2Seq

_ALIGNMENT = 8  # bytes, of the header


def write_checkpoint(model: Seq2Seq, source: Path, path: Path) -> None:
    """Write the weights of a model, float32, under the names that they have in the checkpoint it was loaded from.

    Tables that the checkpoint has under several names it has again; one that the model does not use is copied.

    Args:
        source: the folder of that checkpoint.
        path: of the file.

    Raises:
        ModelError: the checkpoint cannot be read any more.
        RunError: the file cannot be written.
    """
    with Checkpoint(source) as checkpoint, files.new_file(path) as stream:
        reads = dict(_tensors(model, checkpoint))
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        place = 0
        for name in reads:
            shape = checkpoint.shape(name) or ()
            size = 4 * int(np.prod(shape))
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
            place += size
        described = json.dumps(header).encode()
        described += b" " * (-len(described) % _ALIGNMENT)
        stream.write(len(described).to_bytes(8, "little") + described)
        for read in reads.values():
            stream.write(np.ascontiguousarray(read(), "<f4").data)


def _tensors(model: Seq2Seq, checkpoint: Checkpoint) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Every tensor of the checkpoint by its name, and what it shall hold now."""
    weights = Weights(checkpoint, model.settings, prefix=NAME)
    variables = {variable.name.removesuffix(":0"): variable for variable in model.variables}
    found: dict[str, Callable[[], np.ndarray]] = {}
    for ours in weights:
        for name, read in weights[ours].parts(variables[ours]):
            found[name] = read
    for name in checkpoint.names():
        if name in found:
            yield name, found[name]
        elif model.settings.tie_word_embeddings:  # one table, under another of its names
            yield name, model.tokens.embeddings.numpy
        else:
            yield name, _copy(checkpoint, name)


def _copy(checkpoint: Checkpoint, name: str) -> Callable[[], np.ndarray]:
    return lambda: checkpoint.read(name)
