"""What every training begins with: its data read, checked and split, and a place for its folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from switch_tf.data.examples import Examples, encode_labels, fingerprint, label_names, split_validation
from switch_tf.data.request import DataRequest, read_data, read_test
from switch_tf.errors import DataError, RunError
from switch_tf.runs.folder import FINE_TUNING, UNFINISHED, newest_run, unfinished
from switch_tf.runs.held_out import HELD_OUT_TEXTS, write_held_out
from switch_tf.text.spec import TextSpec
from switch_tf.training.threshold import Threshold, refuse_reject_label

NOTHING: Mapping[str, Examples] = {}


class SplitSettings(Threshold, Protocol):
    """The settings that say how examples are split, and which label none of them may have."""

    @property
    def validation_share(self) -> float: ...

    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Prepared:
    """Data that is ready to train on.

    Attributes:
        learnt: the last vocabularies that were chosen for it, as `switch_tf.training.encoding` keeps them.
    """

    labels: list[str]
    training: Examples
    validation: Examples
    test: Examples | None
    fingerprint: str
    learnt: dict[tuple[TextSpec, bool], list[str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def held_out(self) -> dict[str, Examples]:
        """The splits that are measured on, by name."""
        return {"validation": self.validation} | ({} if self.test is None else {"test": self.test})


def prepare_examples(
    request: DataRequest, settings: SplitSettings, in_memory: Mapping[str, Examples] = NOTHING, table: str = "train"
) -> Prepared:
    """Read and split the examples; the test set is checked before anything long begins.

    Args:
        table: of the settings, as messages name it.

    Raises:
        DataError: they cannot be used.
        ConfigError: the reject label is one of theirs.
    """
    everything = in_memory["data"] if "data" in in_memory else read_data(request)
    labels = label_names(everything)
    test = in_memory["test"] if "test" in in_memory else read_test(request)
    if test is not None:
        encode_labels(test, labels)
    refuse_reject_label(settings, labels, request.data, table)
    training, validation = split_validation(everything, settings.validation_share, settings.seed)
    return Prepared(labels, training, validation, test, fingerprint(everything))


def describe_data(request: DataRequest, prepared: Prepared, in_memory: Mapping[str, Examples]) -> dict[str, Any]:
    """What a run keeps of its data, by which the same can be found again."""
    # What was in memory cannot be read again: whoever measures a model on it has to bring it.
    held = {"in_memory": sorted(in_memory)} if in_memory else {}
    return (
        asdict(request)
        | held
        | {
            "fingerprint": prepared.fingerprint,
            "training_examples": len(prepared.training),
            "validation_examples": len(prepared.validation),
            "test_examples": 0 if prepared.test is None else len(prepared.test),
            "test_fingerprint": None if prepared.test is None else fingerprint(prepared.test),
        }
    )


def refuse_finished(output: Path, resume: bool = False) -> None:
    """
    Raises:
        RunError: `output`, the finished folder, is in the way, or can be called so by no run.
    """
    unfinished(output)
    if output.exists():
        finished = "is finished: there is nothing to resume" if resume else "already exists"
        raise RunError(f"{output} {finished}. Name another folder, or remove it first.", argument="output")


def check_folders(output: Path, folder: Path, resume: bool, checkpoint: bool = False) -> None:
    """
    Args:
        output: the finished folder.
        folder: its name while it is trained.
        checkpoint: whether what is trained is the encoder of a checkpoint.

    Raises:
        RunError: one of the folders is in the way; or there is nothing of this kind to resume.
    """
    refuse_finished(output, resume)
    if resume and not folder.is_dir():
        raise RunError(f"There is nothing to resume: no folder {folder}. Train from the start.", argument="resume")
    if resume and (folder / FINE_TUNING).is_file() != checkpoint:
        said = "without a checkpoint. Leave it out" if checkpoint else "from a checkpoint. Give it again"
        raise RunError(f"{folder} was started {said} to resume.", argument="from_hf")
    if not resume and folder.exists():
        raise RunError(f"{folder} holds an unfinished training. Resume it, or remove it first.", argument="resume")


def find_unfinished(output: Path | None, checkpoint: bool = False) -> tuple[Path, Path]:
    """The folder of an unfinished training into `output` (default: the newest under ./runs), and `output`.

    Raises:
        RunError: there is none of this kind; `checkpoint` is as for `check_folders`.
    """
    folder = newest_run(unfinished=True) if output is None else unfinished(output)
    output = folder.with_name(folder.name.removesuffix(UNFINISHED))
    check_folders(output, folder, resume=True, checkpoint=checkpoint)
    return folder, output


def refuse_other_data(folder: Path, started_with: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """
    Raises:
        DataError: what `describe_data` says is not what a folder was started with.
    """
    for key in ("fingerprint", "test_fingerprint"):
        if started_with.get(key) != data[key]:
            raise DataError(f"{folder} was started on other data: {key} differs. Restore the data, or start again.")


def refuse_lost(folder: Path, in_memory: list[str], output: Path) -> None:
    """
    Raises:
        RunError: data that was given in memory is to be read again.
    """
    call = f"switch_tf.train(data, ..., output={str(output)!r}, resume=True)"
    raise RunError(
        f"{folder} was started on data that was given in memory ({' and '.join(in_memory)}), which no folder keeps. "
        f"Give the same again, in Python: {call}."
    )


def keep_sample(folder: Path, prepared: Prepared) -> None:
    """Write the sample of held-out texts that exports are checked on."""
    last = next(reversed(prepared.held_out.values()))
    sample = last.take(np.sort(np.random.default_rng(0).permutation(len(last))[:HELD_OUT_TEXTS]))
    write_held_out(folder, sample.texts.to_pylist(), sample.labels.to_pylist())
