"""Distillation: a dense student learns from a run's answers beside the labels (Switch Transformers, section 4.2).

The student's loss is a quarter of its cross-entropy to the teacher's probabilities and three quarters of that to the
labels, as in the paper; texts without a label have the teacher's probabilities alone. Weights that are no experts begin
as the teacher's, where names and shapes agree. A student with a wide path fits its own on the labels.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import checksums, files
from switch_tf.config import Config, config_from_dict, config_to_dict, dense_twin, without_threshold
from switch_tf.data.examples import Examples, fingerprint
from switch_tf.data.request import DataRequest, read_data, read_test, request_of
from switch_tf.errors import ArgumentError, DataError
from switch_tf.locks import scratch
from switch_tf.measuring.fusion import softmax
from switch_tf.runs import folder as runs
from switch_tf.runs.folder import Run, read_metrics, unfinished
from switch_tf.settings import merge, parse_assignment
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.timing import timed
from switch_tf.training.encoding import token_ids
from switch_tf.training.paths import Teaching
from switch_tf.training.prepared import check_folders
from switch_tf.training.session import train

if TYPE_CHECKING:
    from switch_tf.training.loop import Progress
    from switch_tf.training.steps import Encoded
    from switch_tf.training.trainer import Start

_TEXT_BATCH = 1024
_LEAST = 1e-12  # probability whose logarithm is taken
_FIGURES = ("accuracy", "macro_f1", "log_loss")


@dataclass(frozen=True)
class Distillation:
    """How a student learns from its teacher.

    Attributes:
        share: of the teacher in the loss of a labelled text, 0 to 1; the paper's is 0.25.
        temperature: that both models' logits are divided by where the student learns the teacher's probabilities.
        unlabelled: texts without labels, of which the teacher says all that there is to learn.
        alone: train the same student without the teacher too, to compare.

    Raises:
        ArgumentError: a value that means nothing.
    """

    share: float = 0.25
    temperature: float = 1.0
    unlabelled: Sequence[str] = ()
    alone: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ArgumentError(f"Received teacher_share={self.share}. Expected 0 to 1.", "teacher_share")
        if not 0.0 < self.temperature < float("inf"):
            raise ArgumentError(f"Received temperature={self.temperature}. Expected above 0.", "temperature")


def student_config(run: Run, settings: Mapping[str, Any] | Sequence[str] = ()) -> Config:
    """The settings of a student: the teacher's without experts, and those given over them.

    Args:
        settings: words such as "model.d_model=16", or tables of settings.

    Raises:
        ConfigError: a setting does not exist or does not fit.
    """
    config = dense_twin(run.config)
    values = config_to_dict(dataclasses.replace(config, train=dataclasses.replace(config.train, twin=False)))
    if isinstance(settings, Mapping):
        merge(values, {table: dict(keys) for table, keys in settings.items()}, where="the settings")
    else:
        for assignment in settings:
            merge(values, parse_assignment(assignment), where=repr(assignment))
    return config_from_dict(values, where="the settings")


def distill(
    run: Run,
    wanted: Distillation,
    config: Config,
    output: Path,
    progress: "Progress",
    data: str | Examples | None = None,
    test: str | Examples | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a student of `run` on the data that it was trained on, and leave it in the folder `output`.

    Args:
        config: the student's, of `student_config`.
        data: where the run's training data is now, or its examples; None where it was.
        test: the same of its test data.
        resume: go on where the same call was cut off.

    Returns:
        run; and what the student's metrics.json has under "distillation": the split that is measured, figures and sizes
        of the teacher, the student and, if wanted, the same student alone, and the share of the teacher's gain over
        that one that the student keeps, None where there is no gain.

    Raises:
        DataError: the data is not there any more, or is other data.
        RunError, ConfigError: as `switch_tf.training.session.train` says.
    """
    check_folders(output, unfinished(output), resume)  # before the student that is compared is trained
    request, in_memory = _request(run, data, test)
    _refuse_other_data(run, request, in_memory)
    alone: dict[str, Any] | None = None
    if wanted.alone:
        progress.stage("Training the student without its teacher, to compare")
        with scratch() as folder:
            alone = _train_alone(request, config, folder / "alone", progress, in_memory)
        progress.stage("Training the student")
    teaching = _teaching(run, wanted, alone)
    student = train(request, config, output, progress, resume, in_memory, teaching=teaching)
    distilled: dict[str, Any] = read_metrics(student.path)["distillation"]
    return {"run": str(output), **distilled}


def _request(
    run: Run, data: str | Examples | None, test: str | Examples | None
) -> tuple[DataRequest, dict[str, Examples]]:
    """What the run was trained on, and what of it the caller holds.

    Raises:
        DataError: it was given in memory, and is not given again; or it is other data.
    """
    request, held = request_of(run.data), {}
    if isinstance(data, str) or isinstance(test, str):  # what they are is what is there now
        request = dataclasses.replace(request, embedded=None)
    request = dataclasses.replace(request, data=data) if isinstance(data, str) else request
    request = dataclasses.replace(request, test=test) if isinstance(test, str) else request
    for name, given in (("data", data), ("test", test)):
        if isinstance(given, Examples):
            held[name] = given
        elif given is None and name in run.data.get("in_memory", ()):
            problem = f"{run.path} was trained on {name} that was given in memory, which no run keeps"
            raise DataError(f"{problem}. Give it again, or a file with the same rows.", name)
    return request.resolved(), held


def _refuse_other_data(run: Run, request: DataRequest, in_memory: Mapping[str, Examples]) -> None:
    """
    Raises:
        DataError: the labelled texts are not those that the run was trained and tested on.
    """
    examples = in_memory["data"] if "data" in in_memory else read_data(request)
    if fingerprint(examples) != run.data["fingerprint"]:
        raise DataError(f"{examples.source} is not what {run.path} was trained on. Say where that is.", "data")
    test = in_memory["test"] if "test" in in_memory else read_test(request)
    if (None if test is None else fingerprint(test)) != run.data["test_fingerprint"]:
        name = "There are no test texts" if test is None else f"{test.source} is not what there was"
        raise DataError(f"{name} to measure {run.path} on. Say where those are.", "test")
    other = set(examples.labels.unique().to_pylist()) ^ set(run.labels)
    if other:  # a pruned run may have been given texts of some labels alone, or some that are to be rejected
        problem = f"{min(other)!r} is a label of {examples.source} or of {run.path} alone"
        raise DataError(f"{problem}. Distil the run that it was pruned from.")


def _train_alone(
    request: DataRequest, config: Config, folder: Path, progress: "Progress", in_memory: Mapping[str, Examples]
) -> dict[str, Any]:
    """Figures and size of the student that has no teacher; nothing of it is left."""
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, baseline=False))
    config = without_threshold(config)  # which counts in no figure, and which this student might not reach
    trained = train(request, config, folder, progress, in_memory=in_memory)
    return _sized(trained.path, read_metrics(trained.path))


def _teaching(run: Run, wanted: Distillation, alone: dict[str, Any] | None) -> Teaching:
    digest = hashlib.sha256("".join(f"{len(text)} {text}" for text in wanted.unlabelled).encode("utf-8", "replace"))
    description = {
        "teacher": str(run.path),
        "teacher_weights": checksums.describe(run.path / runs.WEIGHTS)["sha256"],
        "teacher_share": wanted.share,
        "temperature": wanted.temperature,
        "unlabelled_texts": len(wanted.unlabelled),
        "unlabelled_fingerprint": digest.hexdigest(),
    }
    return Teaching(description, partial(_lessons, run, wanted), partial(_compared, run, alone))


def _lessons(
    run: Run, wanted: Distillation, student: Run, texts: Examples, training: "Encoded"
) -> tuple["Encoded", "Start"]:
    """What the student learns from, the unlabelled texts behind the labelled ones, and what it begins with."""
    from switch_tf.models.text_classifier import load_classifier
    from switch_tf.text.front_ends import reading_front_end
    from switch_tf.training.steps import Encoded, Taught

    ids, weights = training.ids, training.weights
    unlabelled = [np.array(wanted.unlabelled[i : i + _TEXT_BATCH], dtype=object) for i in _starts(wanted.unlabelled)]
    if unlabelled:
        front_end = reading_front_end(student.config.text, student.vocabulary)
        ids = np.concatenate([ids, token_ids(unlabelled, len(wanted.unlabelled), front_end)])
    with timed(f"Asking the teacher about {len(ids):,} texts"):
        teacher = load_classifier(run)
        batches = chain(texts.text_batches(_TEXT_BATCH), unlabelled)
        answers = np.concatenate([teacher.probabilities(batch) for batch in batches])  # [n, classes]
    count, more = len(training.ids), len(wanted.unlabelled)
    lessons = Encoded(
        ids,
        np.append(training.labels, answers[count:].argmax(axis=1).astype(np.int32)),  # the latter for figures alone
        None if weights is None else np.append(weights, np.ones(more, np.float32)),
        Taught(
            soften(answers, wanted.temperature),
            np.repeat([wanted.share, 1.0], [count, more]).astype(np.float32),
            np.float32(wanted.temperature),
        ),
    )
    return lessons, _start(run, student, training)


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / T): float32 [n, classes] to the same.

    >>> soften(np.array([[0.9, 0.1]]), 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), _LEAST)) / temperature
    return softmax(logits).astype(np.float32)


def _start(run: Run, student: Run, training: "Encoded") -> "Start":
    """The teacher's weights that are no expert's; those of words and pairs if the student knows the same ones."""
    from switch_tf.models.fused import deep_arrays, deep_pairs
    from switch_tf.models.weights import EMBEDDINGS, PAIR_EMBEDDINGS
    from switch_tf.training.counted import counted
    from switch_tf.training.sampling import KnownPairs
    from switch_tf.training.trainer import Start

    path = run.path / runs.WEIGHTS
    weights, _ = files.read_tensors(path)
    config = student.config
    texts = counted(training, config.train.counted_tokens)
    known = KnownPairs(texts.ids, len(student.vocabulary) + FIRST_WORD_ID, config.model.pair_min_count)
    left_out = set() if student.vocabulary == run.vocabulary else {EMBEDDINGS, PAIR_EMBEDDINGS}
    if not np.array_equal(deep_pairs(weights, str(path)), known.pairs):
        left_out.add(PAIR_EMBEDDINGS)
    return Start({name: array for name, array in deep_arrays(weights).items() if name not in left_out})


def _compared(run: Run, alone: dict[str, Any] | None, student: Run, metrics: dict[str, Any]) -> dict[str, Any]:
    """The student beside its teacher and the student alone, on the split that models are compared on."""
    own, teacher = _sized(student.path, metrics), _sized(run.path, read_metrics(run.path))
    compared = {"split": metrics["comparison"]["split"], "teacher": teacher, "student": own}
    if alone is None:
        return compared
    gain = teacher["accuracy"] - alone["accuracy"]
    kept = (own["accuracy"] - alone["accuracy"]) / gain if gain > 0 else None
    return compared | {"student_alone": alone, "gain_kept": kept}


def _sized(path: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Figures on test texts, or else on validation texts, and sizes."""
    measured = metrics.get("test") or metrics["validation"]
    size = {"parameters": metrics["training"]["parameters"], "bytes": (path / runs.WEIGHTS).stat().st_size}
    return {name: measured[name] for name in ("n", *_FIGURES)} | size


def _starts(texts: Sequence[str]) -> range:
    return range(0, len(texts), _TEXT_BATCH)
