"""What a model is worth: its figures beside those of baselines, of its own paths and of its dense twin."""

import shutil
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from switch_tf import files
from switch_tf.config import dense_twin
from switch_tf.data.examples import Examples
from switch_tf.measuring.baseline import linear_baseline, majority_baseline
from switch_tf.measuring.fusion import softmax
from switch_tf.measuring.scores import score
from switch_tf.models.fused import FusedClassifier, deep_arrays
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import WEIGHTS, Run
from switch_tf.text.plain_spelling import with_letters
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.training.counted import counted
from switch_tf.training.fusing import Fusion, choose_scales, deep_logits, grams_of
from switch_tf.training.loop import Progress, fit
from switch_tf.training.sampling import KnownPairs
from switch_tf.training.steps import Encoded
from switch_tf.training.trainer import logits_in_batches

_TWIN = "twin"  # folder in that of an unfinished run
_DETAILS = ("per_label", "confusions", "rejection")  # that a comparison leaves out


class Splits(NamedTuple):
    """Encoded texts; `test` is None where there are none."""

    training: Encoded
    validation: Encoded
    test: Encoded | None

    @property
    def measured(self) -> Encoded:
        """Those that models are compared on."""
        return self.validation if self.test is None else self.test


def compare(
    finished: Run, splits: Splits, own: dict[str, Any], fusion: Fusion | None, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Figures by model: `wide`, `deep`, `model` and, with `train.twin`, `dense_twin`, all without those of each label.

    On test texts the paths alone are those of the finished model; on validation texts, where there are no others, the
    wide path is that which had not seen them.

    Args:
        own: the figures of the model itself.
    """
    expected, labels = splits.measured.labels, finished.labels
    logits: dict[str, np.ndarray] = {}
    if fusion is not None:
        logits["wide"], logits["deep"] = fusion.wide, fusion.deep
        if splits.test is not None:
            logits["wide"], logits["deep"] = path_logits(finished, splits.test)
    models = {name: score(softmax(each), expected, labels) for name, each in logits.items()} | {"model": own}
    if finished.config.train.twin:
        progress.stage("Training the dense twin")
        twin = twin_logits(finished, splits, fusion, logits.get("wide"), progress)
        models["dense_twin"] = score(softmax(twin), expected, labels)
    return {name: brief(figures) for name, figures in models.items()}


def compare_baselines(
    training: Examples, measured: Examples, labels: list[str], progress: Progress
) -> dict[str, dict[str, Any]]:
    """The same of the `majority` class and of the `linear` model, fitted on `training`."""
    progress.stage("Fitting TF-IDF + logistic regression, to compare")
    return {
        "majority": brief(majority_baseline(training, measured, labels)),
        "linear": brief(linear_baseline(training, measured, labels)),
    }


def brief(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures without those of each label and of a threshold."""
    return {name: value for name, value in figures.items() if name not in _DETAILS}


def path_logits(finished: Run, texts: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """What the wide and the deep path of a finished run each answer, float64 [n, classes]."""
    model = load_classifier(finished).classifier
    assert isinstance(model, FusedClassifier)
    ids = texts.ids if texts.letters is None else with_letters(texts.ids, texts.letters)

    def both(ids: tf.Tensor) -> tf.Tensor:
        ids, letters = model.take_apart(ids)
        rows = model.wide.pair_rows(ids)  # [batch, length + 1]
        return tf.concat([model.wide(ids, rows, letters), model.deep(ids, pair_rows=rows[:, :-1]).logits], axis=1)

    signature = [tf.TensorSpec([None, ids.shape[1]], tf.int32)]
    wide, deep = np.split(logits_in_batches(tf.function(both, signature, autograph=False), ids), 2, axis=1)
    return wide, deep


def twin_logits(
    finished: Run,
    splits: Splits,
    fusion: Fusion | None,
    wide: np.ndarray | None,
    progress: Progress,
) -> np.ndarray:
    """Train the dense twin as the model was trained, and answer with it; nothing of it is left.

    With a wide path it gets the model's own, and scalars of its own, chosen on validation as the model's were.

    Args:
        wide: logits of the wide path for the texts that models are compared on.

    Returns:
        float64 [n, classes].
    """
    config, folder = dense_twin(finished.config), finished.path / _TWIN
    twin = Run(folder, config, finished.labels, finished.vocabulary, finished.data)
    folder.mkdir(exist_ok=True)  # a training that was cut off goes on
    grams = grams_of(config, finished.vocabulary)
    num_ids = len(finished.vocabulary) + FIRST_WORD_ID
    texts = counted(splits.training, config.train.counted_tokens)
    classes = len(finished.labels)
    fit(texts, splits.validation, num_ids, classes, config, folder, progress, grams, lessons=splits.training)
    weights = deep_arrays(files.read_tensors(folder / WEIGHTS)[0])
    known = KnownPairs(texts.ids, num_ids, config.model.pair_min_count)
    deep = deep_logits(twin, weights, known, splits.measured.ids)
    if fusion is not None and wide is not None:
        of_validation = deep if splits.test is None else deep_logits(twin, weights, known, splits.validation.ids)
        a, b, cooled = choose_scales(fusion.wide, of_validation, splits.validation.labels)
        deep = (a * wide + b * deep) / cooled
    shutil.rmtree(folder)
    return deep
