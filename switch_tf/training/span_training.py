"""Continues the pre-training of a Hugging Face checkpoint on plain texts, by span corruption.

    texts -> pieces of at most `length` ids -> spans cut out (switch_tf.data.span_corruption) -> encoder-decoder

What comes out is a checkpoint of the same form, with weights that know the texts. The loss is the mean cross-entropy of
the ids that the decoder has to write, plus the auxiliary loss and the z-loss of the routers (arXiv 2101.03961, section
2.2; arXiv 2202.08906, equation 5), with the checkpoint's own weights.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import files
from switch_tf.data.span_corruption import span_counts
from switch_tf.errors import ArgumentError, DataError, RunError
from switch_tf.locks import locked
from switch_tf.models.huggingface import CONFIG, read_settings
from switch_tf.models.tokenizer import load_pieces
from switch_tf.training.span_settings import SpanSettings

if TYPE_CHECKING:
    from switch_tf.text.sentencepiece_model import SentencePieces

RECORD = "span_training.json"
_COPIED = ("generation_config.json", "spiece.model", "tokenizer_config.json", "tokenizer.json")
_FEWEST_PIECES = 20
_SHORTEST = 2  # ids of a piece: one is cut out, one is kept
Tell = Callable[[str], None]


def train_on_spans(
    texts: Iterable[str],
    source: str,
    checkpoint: Path,
    settings: SpanSettings,
    output: Path,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Train a checkpoint on texts and leave the new one in the folder `output`, which must not exist yet.

    Args:
        source: what the texts are called.
        checkpoint: the folder of Hugging Face's, with its tokenizer.
        tell: gets a line about each step of the way.

    Returns:
        What is also written to span_training.json: `validation_loss_before` and `validation_loss`, in nats for each id
        that has to be written; `pieces`, `validation_pieces`, `best_epoch`, `seconds` and a row for each epoch.

    Raises:
        DataError: there are too few texts.
        ModelError: the checkpoint is missing, damaged or not supported, or has too few sentinels.
        RunError: the folder exists or cannot be written, the loss is no number, or the memory does not suffice.
    """
    started = time.perf_counter()
    with locked(output, "trained"):
        if output.exists():
            raise RunError(f"{output} already exists. Name another folder, or remove it first.", argument="output")
        pieces = load_pieces(checkpoint, read_settings(checkpoint))
        sentinels = _sentinels(pieces, settings)
        tell(f"Tokenizing the texts of {source}")
        training, validation = _split(texts, pieces, settings, source)
        with files.new_folder(output) as folder, files.refusing(output):
            found = _train(checkpoint, folder, settings, sentinels, training, validation, tell)
            found["seconds"] = round(time.perf_counter() - started, 1)
            _describe(checkpoint, folder, {"data": source, "settings": asdict(settings), **found})
    return found


def _train(
    checkpoint: Path,
    folder: Path,
    settings: SpanSettings,
    sentinels: list[int],
    training: list[list[int]],
    validation: list[list[int]],
    tell: Tell,
) -> dict[str, Any]:
    """Fit, and write the best epoch's weights into the folder; what was measured."""
    import tensorflow as tf

    from switch_tf.models.checkpoint_writer import write_checkpoint
    from switch_tf.models.seq2seq import load_seq2seq
    from switch_tf.training.loop import best_epoch
    from switch_tf.training.span_steps import SpanTrainer

    tell(f"Loading {checkpoint}")
    model = load_seq2seq(checkpoint)
    best = folder / "best.safetensors"
    try:
        trainer = SpanTrainer(model, settings, sentinels, len(training))
        before, history = trainer.fit(training, validation, best, tell)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        problem = f"The memory does not suffice to train with batches of {settings.batch_size} pieces"
        raise RunError(f"{problem}. Train again with a smaller batch_size.") from error
    best.unlink()
    write_checkpoint(model, checkpoint, folder / "model.safetensors")
    chosen = history[best_epoch(history, "log_loss")]
    return {
        "validation_loss_before": before,
        "validation_loss": chosen["validation_loss"],
        "best_epoch": chosen["epoch"],
        "pieces": len(training),
        "validation_pieces": len(validation),
        "epochs": history,
    }


def _sentinels(pieces: "SentencePieces", settings: SpanSettings) -> list[int]:
    """Their ids, as many as the longest piece has spans."""
    needed = max(span_counts(size, settings.rate, settings.mean_span)[1] for size in range(2, settings.length + 1))
    if len(pieces.sentinels) < needed:
        raise ArgumentError(
            f"A piece of {settings.length} ids has up to {needed} spans, and the tokenizer {len(pieces.sentinels)} "
            "sentinels. Take a smaller length or rate, or a larger mean_span.",
            argument="length",
        )
    return pieces.sentinels[:needed]


def _split(
    texts: Iterable[str], pieces: "SentencePieces", settings: SpanSettings, source: str
) -> tuple[list[list[int]], list[list[int]]]:
    """Pieces of texts to train on and to validate on, of at least two ids each, without the end's.

    Equal texts stay on one side.
    """
    random = np.random.default_rng(settings.seed)
    parts: tuple[list[list[int]], list[list[int]]] = ([], [])
    for text in dict.fromkeys(texts):
        ids = pieces.encode(text)[:-1]
        side = parts[int(random.random() < settings.validation_share)]
        cut = (ids[start : start + settings.length] for start in range(0, len(ids), settings.length))
        side.extend(each for each in cut if len(each) >= _SHORTEST)
    training, validation = parts
    if not validation and training:  # of few texts, chance may choose none
        validation = [training.pop()]
    if len(training) < _FEWEST_PIECES:
        problem = f"{source} has {len(training)} pieces of text to train on"
        raise DataError(f"{problem}. Expected at least {_FEWEST_PIECES}: give more texts.")
    return training, validation


def _describe(checkpoint: Path, folder: Path, record: dict[str, Any]) -> None:
    """The small files of the checkpoint, and what was done."""
    values = files.read_json(checkpoint / CONFIG)
    for name in ("dtype", "torch_dtype"):
        if name in values:
            values[name] = "float32"
    files.write_json(folder / CONFIG, values)
    for name in _COPIED:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    files.write_json(folder / RECORD, record)
