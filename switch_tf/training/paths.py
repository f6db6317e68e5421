"""The paths of a model, fitted in its run folder: the deep one, which several workers may train, then the wide one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from switch_tf.data.examples import Examples
from switch_tf.runs.folder import Run
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.timing import timed
from switch_tf.training.encoding import encode, encode_validation
from switch_tf.training.prepared import Prepared

if TYPE_CHECKING:
    import scipy.sparse

    from switch_tf.training.fusing import Fusion
    from switch_tf.training.loop import Progress
    from switch_tf.training.steps import Encoded
    from switch_tf.training.team import Team
    from switch_tf.training.trainer import Start


class Teaching(NamedTuple):
    """What a training by a teacher has beside the labelled texts; `switch_tf.training.distilling` makes it.

    Attributes:
        description: of the teacher and the way of teaching, kept in data.json; equal where a training is gone on with.
        lessons: of the run in training and its training texts, also encoded, what the deep path learns from, and what
            it begins with.
        figures: of the run and its metrics, what is kept beside these, as "distillation".
    """

    description: dict[str, Any]
    lessons: "Callable[[Run, Examples, Encoded], tuple[Encoded, Start]]"
    figures: Callable[[Run, dict[str, Any]], dict[str, Any]]


class Fitted(NamedTuple):
    """A row of figures for each epoch, what joining the wide path gave if there is one, and the texts as encoded.

    `validation` has words as unknown that no training text has; `as_read` does not. `known` are the training texts that
    pairs and the wide path are counted on, `grams` those of the words.
    """

    history: list[dict[str, Any]]
    fusion: "Fusion | None"
    training: "Encoded"
    validation: "Encoded"
    as_read: "Encoded"
    known: "Encoded"
    grams: "scipy.sparse.csr_matrix | None"


def fit_deep(
    started: Run,
    prepared: Prepared,
    progress: "Progress",
    teaching: Teaching | None = None,
    team: "Team | None" = None,
) -> Fitted:
    """Train the deep path in the folder of `started`."""
    from switch_tf.text.front_ends import reading_front_end
    from switch_tf.training.counted import counted
    from switch_tf.training.fusing import grams_of
    from switch_tf.training.loop import balanced_weights, fit

    with timed(f"Tokenizing {len(prepared.training):,} texts to train on, {len(prepared.validation):,} to validate on"):
        front_end = reading_front_end(started.config.text, started.vocabulary)
        training = encode(prepared.training, started.labels, front_end)
        validation, unseen = encode_validation(prepared.validation, started.labels, front_end, training)
    config, num_ids = started.config, len(started.vocabulary) + FIRST_WORD_ID
    if config.train.class_weights == "balanced":
        training = training._replace(weights=balanced_weights(training.labels, len(started.labels)))
    grams = grams_of(config, started.vocabulary)
    lessons, start = (None, None) if teaching is None else teaching.lessons(started, prepared.training, training)
    known = counted(training, config.train.counted_tokens)
    with timed("Training"):
        history = fit(
            known,
            unseen,
            num_ids,
            len(started.labels),
            config,
            started.path,
            progress,
            grams,
            start,
            lessons or training,
            team,
        )
    return Fitted(history, None, training, unseen, validation, known, grams)


def with_wide_path(started: Run, fitted: Fitted, progress: "Progress") -> Fitted:
    """The wide path fitted beside the deep one, where the settings have it."""
    from switch_tf.training.fusing import add_wide_path

    known, grams = fitted.known, fitted.grams
    if not started.config.wide.enabled or grams is None:
        return fitted
    part = "" if known is fitted.training else f", on {len(known.ids):,} of {len(fitted.training.ids):,} texts"
    progress.stage(f"Fitting the wide path{part}")
    with timed("Fitting the wide path, twice"):
        fusion = add_wide_path(started, known, fitted.validation, fitted.as_read, grams)
    return fitted._replace(fusion=fusion)
