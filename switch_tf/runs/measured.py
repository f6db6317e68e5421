"""Which labelled texts a run was measured on, read again from where they are."""

from dataclasses import replace

from switch_tf.data.examples import EMBEDDED, Examples, as_spelled, fingerprint, split_validation
from switch_tf.data.request import DataRequest, read_data, read_test, request_of
from switch_tf.errors import DataError, RunError
from switch_tf.runs.opening import Trained


def read_measured(finished: Trained, data: str | Examples | None = None) -> Examples:
    """The labelled examples that a run was measured on: its whole test split, or else its validation split.

    Args:
        data: where the run's test data, or else its training data, is now, or its examples; None where it was.

    Raises:
        DataError: it is not there any more, is other data, or was in memory alone.
        RunError: the run does not say what it was.
    """
    try:
        request = request_of(finished.data)
        tested = finished.data["test_fingerprint"] is not None
        expected = finished.data["test_fingerprint" if tested else "fingerprint"]
    except KeyError as error:
        raise RunError(f"{finished.path} does not say {error} of its data. Restore it, or train again.") from error
    if isinstance(data, Examples):
        name, found = data.source, _matching(finished, data, expected)
    else:
        name, found = _read_again(finished, request, tested, data, expected)
    if found is None:
        raise DataError(f"{name} is not what {finished.path} was measured on. Say where that is.", "measured_on")
    if tested:
        return found
    return split_validation(found, *finished.split)[1]


def _matching(finished: Trained, found: Examples | None, expected: str) -> Examples | None:
    """The examples, their labels as the run spells them, if they have the fingerprint."""
    found = None if found is None else as_spelled(found, finished.labels)
    return found if found is not None and fingerprint(found) == expected else None


def _read_again(
    finished: Trained, request: DataRequest, tested: bool, data: str | None, expected: str
) -> tuple[str, Examples | None]:
    """What the test data, or else the training data, is called, and its examples; None where others are there."""
    if data is not None:
        request = replace(request, test=data) if tested else replace(request, data=data)
        request = replace(request, embedded=None)  # it is where it is said to be now
    name = request.test or request.data
    if data is None and ("test" if request.test else "data") in finished.data.get("in_memory", ()):
        problem = f"{finished.path} was measured on data that was given in memory ({name}), which no run keeps"
        raise DataError(f"{problem}. Give it again, or a file with the same rows.", argument="measured_on")
    try:
        if request.embedded is None and name in EMBEDDED:  # which of the two it is, their content tells
            ours = _read(replace(request, embedded=("data", "test")), tested)
            if (found := _matching(finished, ours, expected)) is not None:
                return name, found
        return name, _matching(finished, _read(request, tested), expected)
    except DataError as error:
        problem = f"{finished.path} was measured on {name}, which cannot be read: {error}"
        raise DataError(f"{problem} Say where it is now.", argument="measured_on") from error


def _read(request: DataRequest, tested: bool) -> Examples | None:
    return read_test(request) if tested else read_data(request)
