"""From labelled texts and a Hugging Face checkpoint to a folder that classifies.

The encoder and a new head are trained together, each at its own learning rate; the best epoch on validation is kept,
its probabilities made honest, and its reject threshold chosen where one is wanted.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import files
from switch_tf.data.examples import Examples, encode_labels
from switch_tf.data.request import DataRequest, request_of
from switch_tf.errors import RunError
from switch_tf.locks import locked
from switch_tf.measuring.fusion import FEWEST_TEXTS, expected_calibration_error, softmax, temperature
from switch_tf.measuring.scores import score
from switch_tf.runs import fine_tuned as folders
from switch_tf.runs.fine_tuned import BEST, CHECKPOINT, FineTuneSettings
from switch_tf.runs.folder import (
    FINE_TUNING,
    METRICS,
    REJECT,
    RUNS,
    UNFINISHED,
    WEIGHTS,
    newest_run,
    unfinished,
    write_rejection,
)
from switch_tf.training.prepared import (
    NOTHING,
    Prepared,
    check_folders,
    describe_data,
    find_unfinished,
    keep_sample,
    prepare_examples,
    refuse_lost,
    refuse_other_data,
)
from switch_tf.training.threshold import find_threshold

if TYPE_CHECKING:
    from switch_tf.models.encoder_classifier import FineTunedClassifier
    from switch_tf.training.steps import Encoded

Tell = Callable[[str], None]
_TABLE = "fine_tune"


def fine_tune(
    request: DataRequest,
    checkpoint: Path,
    settings: FineTuneSettings,
    output: Path,
    tell: Tell = lambda _: None,
    resume: bool = False,
    in_memory: Mapping[str, Examples] = NOTHING,
) -> dict[str, Any]:
    """Train a classifier and leave it in the folder `output`, which must not exist yet; return its metrics.

    Args:
        checkpoint: the folder of Hugging Face's.
        tell: gets a line about each step of the way.
        resume: go on where a training into `output` was cut off; data, checkpoint and settings must be the same, but
            for the reject threshold.
        in_memory: the examples of `request.data` or `request.test` (under "data" or "test") where the caller holds
            them and these are only descriptions.

    Raises:
        DataError: the data cannot be used, or is not what the training was started on.
        ModelError: the checkpoint is missing, damaged or not supported.
        ConfigError: the reject label is a class, or the threshold is not reached, which leaves an unfinished training.
        RunError: the folder exists, there is none to resume, it cannot be written, the loss is no number, or the
            memory does not suffice.
    """
    started = time.perf_counter()
    folder, request = unfinished(output), request.resolved()
    with locked(output, "trained"):
        check_folders(output, folder, resume, checkpoint=True)
        files.remove_parts(output.parent, folder.name)
        prepared = prepare_examples(request, settings, in_memory, _TABLE)
        data = describe_data(request, prepared, in_memory) | {"checkpoint": str(checkpoint.absolute())}
        if resume:
            _check_same(folder, checkpoint, settings, data)
            files.remove_parts(folder)
            # The settings may want another reject threshold now.
            folders.describe_fine_tuning(folder, settings, prepared.labels, data)
        else:
            with files.new_folder(folder) as new, files.refusing(folder):
                _copy_checkpoint(checkpoint, new)
                folders.describe_fine_tuning(new, settings, prepared.labels, data)
        try:
            return _train(folder, prepared, checkpoint, settings, output, tell, started)
        except BaseException:
            if not (folder / CHECKPOINT).exists():  # nothing is lost
                files.remove(folder)
            raise


def read_unfinished_fine_tuning(
    output: Path | None, has_data: bool = False
) -> tuple[DataRequest, Path, FineTuneSettings, Path]:
    """What the fine-tuning into `output` (default: the newest unfinished under ./runs) was started with, and `output`.

    Returns:
        The data, the checkpoint, the settings, and the folder that it shall have.

    Raises:
        RunError: there is none, or its data was in memory and the caller does not have it.
    """
    folder, output = find_unfinished(output, checkpoint=True)
    kept = folders.read_fine_tuning(folder)
    try:
        if not has_data and "in_memory" in kept.data:
            refuse_lost(folder, kept.data["in_memory"], output)
        return request_of(kept.data), Path(kept.data["checkpoint"]), kept.settings, output
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder} cannot be resumed: {error}. Remove it and train again.") from error


def is_unfinished_fine_tuning(output: Path | None) -> bool:
    """Whether what a training into `output` (default: the newest unfinished under ./runs) left is one of these."""
    if output is None and not any(RUNS.glob(f"*{UNFINISHED}")):
        return False
    folder = newest_run(unfinished=True) if output is None else unfinished(output)
    return (folder / FINE_TUNING).is_file()


def _check_same(folder: Path, checkpoint: Path, settings: FineTuneSettings, data: dict[str, Any]) -> None:
    """Refuse to go on with something else than another reject threshold."""
    kept = folders.read_fine_tuning(folder)
    if _without_threshold(kept.settings) != _without_threshold(settings):
        raise RunError(f"{folder} was started with other settings. Resume without settings: they are kept there.")
    refuse_other_data(folder, kept.data, data)
    for name in (folders.CONFIG, folders.PIECES):
        try:
            same = files.read_bytes(checkpoint / name) == files.read_bytes(folder / name)
        except OSError as error:
            raise RunError(f"{folder} was started from {checkpoint}: {error}. Restore it, or start again.") from error
        if not same:
            raise RunError(f"{folder} was started from another checkpoint: {name} of {checkpoint} differs.")


def _without_threshold(settings: FineTuneSettings) -> FineTuneSettings:
    return replace(settings, reject=None, reject_label=None)


def _copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """What turns texts into ids, and the settings; a checkpoint that cannot be used is refused here."""
    from switch_tf.models.huggingface import read_settings
    from switch_tf.models.tokenizer import load_pieces

    load_pieces(checkpoint, read_settings(checkpoint))
    for name in (folders.CONFIG, folders.PIECES, folders.TOKENIZER):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)


def _train(
    folder: Path,
    prepared: Prepared,
    checkpoint: Path,
    settings: FineTuneSettings,
    output: Path,
    tell: Tell,
    started: float,
) -> dict[str, Any]:
    """Fit, calibrate and measure in the folder, and give it its name."""
    import tensorflow as tf

    from switch_tf.models.encoder_classifier import FineTunedClassifier, classifier_from_checkpoint
    from switch_tf.models.tokenizer import load_pieces
    from switch_tf.reporting.history import write_history
    from switch_tf.training.fine_tuner import FineTuner
    from switch_tf.training.loop import best_epoch

    tell(f"Loading the encoder of {checkpoint}")
    model = classifier_from_checkpoint(checkpoint, len(prepared.labels), settings.pooling, settings.seed)
    trained = model.trained_variables(settings.frozen_layers)
    classifier = FineTunedClassifier(model, load_pieces(folder, model.settings), prepared.labels, settings.length)
    tell(f"Tokenizing {len(prepared.training) + len(prepared.validation):,} texts")
    encoded, held_out = (_encode(each, classifier) for each in (prepared.training, prepared.validation))
    try:
        history = FineTuner(classifier, trained, settings, len(encoded.ids)).fit(encoded, held_out, folder, tell)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        problem = f"The memory does not suffice to train with batches of {settings.batch_size} texts"
        raise RunError(f"{problem}. Train again with a smaller batch_size, or frozen_layers.") from error
    metrics = _finish(folder, prepared, settings, classifier, held_out)
    metrics["training"] = {
        "epochs": len(history),
        "best_epoch": history[best_epoch(history)]["epoch"],
        "seconds": round(max(time.perf_counter() - started, sum(row["seconds"] for row in history)), 1),
        "parameters": int(model.count_params()),
        "trained_parameters": sum(int(np.prod(variable.shape)) for variable in trained),
    }
    files.write_json(folder / METRICS, metrics)
    write_history(folder, history)
    keep_sample(folder, prepared)
    folders.write_manifest(folder)
    files.move_folder(folder, output)
    for name in (BEST, CHECKPOINT):  # last: until the folder has its name, a training that is cut off needs them
        (output / name).unlink()
    return metrics


def _finish(
    folder: Path,
    prepared: Prepared,
    settings: FineTuneSettings,
    classifier: "FineTunedClassifier",
    validation: "Encoded",
) -> dict[str, Any]:
    """Calibrate, choose the threshold, write the weights; the figures of all held-out texts."""
    from switch_tf.models.weights import arrays_of

    logits = classifier.logits_of_ids(validation.ids)  # [n, classes]
    found: dict[str, Any] = {}
    if settings.calibrate and len(logits) >= FEWEST_TEXTS:  # fewer would ask for answers as sure as can be
        cooled = temperature(logits, validation.labels)
        found["calibration"] = {
            "temperature": cooled,
            "error_before": expected_calibration_error(softmax(logits), validation.labels),
            "error_after": expected_calibration_error(softmax(logits / cooled), validation.labels),
        }
        classifier.model.divide_logits(cooled)
    (folder / REJECT).unlink(missing_ok=True)  # of a training that was resumed
    probabilities = {"validation": classifier.probabilities_of_ids(validation.ids)}
    if settings.reject is not None:
        rejection, measured = find_threshold(settings, probabilities["validation"], validation.labels, _TABLE)
        write_rejection(folder, rejection, measured)
        classifier.rejection = rejection
    files.write_tensors(folder / WEIGHTS, arrays_of(classifier.model))
    if prepared.test is not None:
        probabilities["test"] = classifier.probabilities_of_ids(_encode(prepared.test, classifier).ids)
    labels = prepared.labels
    return {
        name: score(probabilities[name], encode_labels(examples, labels), labels, classifier.rejection)
        for name, examples in prepared.held_out.items()
    } | found


def _encode(examples: Examples, classifier: "FineTunedClassifier") -> "Encoded":
    from switch_tf.training.steps import Encoded

    ids = classifier.tokenize([str(text) for text in examples.texts.to_pylist()])
    return Encoded(ids, encode_labels(examples, classifier.labels))
