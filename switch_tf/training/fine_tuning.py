"""From labelled texts and a Hugging Face checkpoint to a folder that classifies.

The encoder and a new head are trained together, each at its own learning rate; the best epoch on validation is kept. An
epoch's order and dropout are drawn from the seed, so that the same call ends with the same weights.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import files
from switch_tf.data.examples import Examples, encode_labels, fingerprint, label_names, split_validation
from switch_tf.data.request import DataRequest, read_data, read_test
from switch_tf.errors import RunError
from switch_tf.measuring.fusion import cross_entropy_of
from switch_tf.measuring.scores import score
from switch_tf.runs import fine_tuned as folders
from switch_tf.runs.fine_tuned import FineTuneSettings
from switch_tf.runs.held_out import HELD_OUT_TEXTS, write_held_out

if TYPE_CHECKING:
    import tensorflow as tf

    from switch_tf.models.encoder_classifier import EncoderClassifier, FineTunedClassifier
    from switch_tf.training.steps import Encoded

_WARMUP = 0.1  # of all steps
_CLIP = 1.0  # of the gradients' norm


def fine_tune(
    request: DataRequest,
    checkpoint: Path,
    settings: FineTuneSettings,
    output: Path,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train a classifier and leave it in the folder `output`, which must not exist yet; return its metrics.

    Args:
        tell: gets a line about each step of the way.

    Raises:
        DataError: the data cannot be used.
        ModelError: the checkpoint is missing, damaged or not supported.
        RunError: the folder exists or cannot be written, the loss is no number, or the memory does not suffice.
    """
    if output.exists():
        raise RunError(f"{output} already exists. Name another folder, or remove it first.", argument="output")
    started = time.perf_counter()
    everything, test = read_data(request), read_test(request)
    labels = label_names(everything)
    training, validation = split_validation(everything, settings.validation_share, settings.seed)
    if test is not None:
        encode_labels(test, labels)

    import tensorflow as tf

    from switch_tf.models.encoder_classifier import FineTunedClassifier, classifier_from_checkpoint
    from switch_tf.models.tokenizer import load_pieces

    tell(f"Loading the encoder of {checkpoint}")
    model = classifier_from_checkpoint(checkpoint, len(labels), settings.pooling, settings.seed)
    trained = model.trained_variables(settings.frozen_layers)
    classifier = FineTunedClassifier(model, load_pieces(checkpoint, model.settings), labels, settings.length)
    tell(f"Tokenizing {len(everything):,} texts")
    encoded, held_out = (_encode(each, classifier) for each in (training, validation))
    with files.parents(output), files.new_folder(output) as folder:
        try:
            history = _Trainer(classifier, trained, settings, len(training)).fit(encoded, held_out, folder, tell)
        except (tf.errors.ResourceExhaustedError, MemoryError) as error:
            problem = f"The memory does not suffice to train with batches of {settings.batch_size} texts"
            raise RunError(f"{problem}. Train again with a smaller batch_size, or frozen_layers.") from error
        splits = {"validation": validation} | ({} if test is None else {"test": test})
        metrics: dict[str, Any] = {
            name: score(
                classifier.probabilities([str(text) for text in examples.texts.to_pylist()]),
                encode_labels(examples, labels),
                labels,
            )
            for name, examples in splits.items()
        }
        metrics["training"] = {
            "epochs": len(history),
            "best_epoch": 1 + _best(history),
            "seconds": round(time.perf_counter() - started, 1),
            "parameters": int(model.count_params()),
            "trained_parameters": sum(int(np.prod(variable.shape)) for variable in trained),
        }
        counts = {"training_examples": len(training), "validation_examples": len(validation)}
        data = asdict(request) | counts | {"fingerprint": fingerprint(everything), "checkpoint": str(checkpoint)}
        _write(folder, checkpoint, settings, labels, data, metrics, history)
        last = next(reversed(splits.values()))
        rows = np.sort(np.random.default_rng(0).permutation(len(last))[:HELD_OUT_TEXTS])
        write_held_out(folder, last.take(rows).texts.to_pylist(), last.take(rows).labels.to_pylist())
        folders.write_manifest(folder)
    return metrics


def _encode(examples: Examples, classifier: "FineTunedClassifier") -> "Encoded":
    from switch_tf.training.steps import Encoded

    ids = classifier.tokenize([str(text) for text in examples.texts.to_pylist()])
    return Encoded(ids, encode_labels(examples, classifier.labels))


def _write(
    folder: Path,
    checkpoint: Path,
    settings: FineTuneSettings,
    labels: list[str],
    data: dict[str, Any],
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """All files but the weights, which are there, the held-out texts and the manifest."""
    from switch_tf.reporting.history import write_history

    for name in (folders.CONFIG, folders.PIECES, folders.TOKENIZER):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
    folders.describe_fine_tuning(folder, settings, labels, data)
    files.write_json(folder / folders.METRICS, metrics)
    write_history(folder, history)


class _Trainer:
    """The step, compiled once for each length that batches have, and the epochs."""

    def __init__(
        self, classifier: "FineTunedClassifier", trained: "list[tf.Variable]", settings: FineTuneSettings, examples: int
    ):
        import tensorflow as tf

        self._classifier = classifier
        self._model: EncoderClassifier = classifier.model
        self._settings = settings
        steps = settings.epochs * -(-examples // settings.batch_size)
        head = {id(variable) for variable in self._model.head.trainable_variables}
        self._groups = [
            (
                _optimizer(rate, steps, settings.weight_decay),
                [each for each in trained if (id(each) in head) == is_head],
            )
            for rate, is_head in ((settings.learning_rate, False), (settings.head_learning_rate, True))
        ]
        for optimizer, variables in self._groups:
            optimizer.build(variables)
        self._step = tf.function(self._update, autograph=False, reduce_retracing=False)

    def fit(
        self, training: "Encoded", validation: "Encoded", folder: Path, tell: Callable[[str], None]
    ) -> list[dict[str, Any]]:
        """A row of figures for each epoch; the best epoch's weights are left in the folder and in the model."""
        from switch_tf.models.weights import assign_weights, named_weights
        from switch_tf.training.loop import epoch_batches

        history: list[dict[str, Any]] = []
        weights = folder / folders.WEIGHTS
        for epoch in range(self._settings.epochs):
            started = time.perf_counter()
            batches = epoch_batches(len(training.ids), self._settings.batch_size, self._settings.seed, epoch)
            sums = np.zeros(4)  # cross-entropy and right answers of examples; dropped and routed tokens
            for number, rows in enumerate(batches):
                sums += self._train_on(training, rows, epoch * len(batches) + number)
            probabilities = self._classifier.probabilities_of_ids(validation.ids).astype(np.float64)
            row = {
                "epoch": epoch + 1,
                "loss": sums[0] / len(training.ids),
                "accuracy": sums[1] / len(training.ids),
                "validation_loss": cross_entropy_of(np.log(np.maximum(probabilities, 1e-30)), validation.labels),
                "validation_accuracy": float(np.mean(probabilities.argmax(axis=1) == validation.labels)),
                "dropped_share": sums[2] / max(sums[3], 1.0),
                "seconds": time.perf_counter() - started,
            }
            if not np.isfinite([row["loss"], row["validation_loss"]]).all():
                raise RunError(f"The loss is no number in epoch {epoch + 1}. Train again at a lower learning_rate.")
            history.append(row)
            if _best(history) == epoch:
                arrays = {name: variable.numpy() for name, variable in named_weights(self._model).items()}
                files.write_tensors(weights, arrays)
            tell(
                f"Epoch {epoch + 1} of {self._settings.epochs}: loss {row['loss']:.4f}, validation "
                f"{row['validation_loss']:.4f}, accuracy {row['validation_accuracy']:.4f}, {row['seconds']:.0f} s"
            )
        assign_weights(self._model, files.read_tensors(weights)[0], str(weights))
        return history

    def _train_on(self, data: "Encoded", rows: np.ndarray, number: int) -> np.ndarray:
        import tensorflow as tf

        from switch_tf.training.steps import padded_length

        padding, size = self._model.settings.pad_token_id, self._settings.batch_size
        longest = int((data.ids[rows] != padding).sum(axis=1).max())
        length = padded_length(longest, data.ids.shape[1])
        ids = np.full([size, length], padding, np.int32)
        labels = np.zeros([size], np.int32)
        ids[: rows.size], labels[: rows.size] = data.ids[rows, :length], data.labels[rows]
        weights = data.weights_of(rows, size)
        answer = self._step(*(tf.constant(each) for each in (ids, labels, weights)), tf.constant(number))
        return np.array([float(each) for each in answer])

    def _update(
        self, ids: "tf.Tensor", labels: "tf.Tensor", weights: "tf.Tensor", number: "tf.Tensor"
    ) -> "tuple[tf.Tensor, ...]":
        """One update of both groups; weights is 0 for rows that fill up the batch."""
        import tensorflow as tf

        settings = self._model.settings
        variables = [variable for _, group in self._groups for variable in group]
        with tf.GradientTape() as tape:
            output = self._model(ids, training=True, seed=tf.stack([self._settings.seed, number]))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output.logits)  # [batch]
            loss = tf.reduce_sum(each * weights) / tf.reduce_sum(weights)
            for report in output.reports:
                loss += settings.router_aux_loss_coef * report.auxiliary_loss
                loss += settings.router_z_loss_coef * report.z_loss
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), _CLIP)
        for optimizer, group in self._groups:
            optimizer.apply_gradients(zip(gradients[: len(group)], group, strict=True))
            gradients = gradients[len(group) :]
        right = tf.cast(tf.argmax(output.logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
        routed = [report.routing for report in output.reports]
        dropped = tf.add_n([each.dropped for each in routed]) if routed else tf.zeros([])
        tokens = tf.add_n([tf.reduce_sum(each.tokens_per_expert) for each in routed]) if routed else tf.zeros([])
        return tf.reduce_sum(each * weights), tf.reduce_sum(right * weights), dropped, tokens


def _optimizer(rate: float, steps: int, weight_decay: float) -> Any:
    """AdamW with a linear warm-up and a cosine decay to zero; neither norms nor biases decay."""
    import tf_keras as keras

    warmup = max(1, int(_WARMUP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warmup, 1), warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias", "scale", "positions"])
    return optimizer


def _best(history: list[dict[str, Any]]) -> int:
    """The epoch, from 0, of the highest accuracy on validation; of equals the one with the lowest loss."""
    return max(
        range(len(history)), key=lambda i: (history[i]["validation_accuracy"], -history[i]["validation_loss"], -i)
    )
