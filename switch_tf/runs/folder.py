"""A run folder: everything one training left behind, readable by a person and loadable without pickle.

    config.toml           every setting; a training with this file trains the same again
    weights.safetensors   the best epoch's weights, float32
    vocabulary.txt        one word a line; line i (from 0) has id i + 2; of unigram pieces each with a tab and its score
    sentencepiece.model   unigram pieces as the library of that name reads them; nothing here does
    labels.json           class names, in the order of the probabilities
    reject.json           the reject threshold and what it was measured to do, where there is one
    data.json             the folder's format, and what it was trained on: names, columns, sizes, fingerprints
    metrics.json          figures on validation and test data
    history.csv           one row of figures per epoch
    history.png           the same, drawn
    held_out.parquet      some held-out texts, which exports are checked on
    summary.md            the run on a page
    manifest.json         size and SHA-256 of what answers depend on, written last and checked on opening

While training goes on, the folder has the name RUN.unfinished and holds a checkpoint; it is renamed when all is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switch_tf import checksums, files
from switch_tf.config import Config, config_from_dict, config_to_dict
from switch_tf.errors import ConfigError, RunError
from switch_tf.runs.labels import labels_problem
from switch_tf.runs.rejection import Rejection, read_rejection, rejection_problem
from switch_tf.settings import read_toml

CONFIG = "config.toml"
WEIGHTS = "weights.safetensors"
VOCABULARY = "vocabulary.txt"
TOKENIZER = "sentencepiece.model"
LABELS = "labels.json"
REJECT = "reject.json"
DATA = "data.json"
METRICS = "metrics.json"
HELD_OUT = "held_out.parquet"
MANIFEST = "manifest.json"
FINE_TUNING = "fine_tuning.json"  # of a folder of another kind: see `switch_tf.runs.fine_tuned`
SETTINGS = (CONFIG, DATA, LABELS, VOCABULARY)  # what a manifest describes while training goes on
DESCRIBED = (*SETTINGS, HELD_OUT, METRICS, WEIGHTS)  # and in the end
# Of the folder. 1 had no number, and wrote text.byte_length down where nobody had asked for it; 2 had no manifest;
# 4 has a reject threshold, which a release of before would pass over. A folder without one is written as 3.
FORMAT = 4
FIRST_WITH_MANIFEST = 3
_FIRST_WITH_REJECT = 4
_VOCABULARY_LIMIT = 2**30  # bytes: far above a million words

UNFINISHED = ".unfinished"
RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """A finished run, without its weights; `switch_tf.models.text_classifier.load_classifier` reads those.

    Attributes:
        path: the folder.
        config: its settings.
        labels: class names, in the order of the probabilities.
        vocabulary: words, the first of which has id 2.
        data: what it was trained on.
        rejection: when it answers by no class, or None.
        checked: whether its files are those that its manifest names; False in a folder of a format without one.
    """

    path: Path
    config: Config
    labels: list[str]
    vocabulary: list[str]
    data: dict[str, Any]
    checked: bool = True
    rejection: Rejection | None = None

    @property
    def split(self) -> tuple[float, int]:
        """The share of the texts that validation took, and the seed that it was drawn with."""
        return self.config.train.validation_share, self.config.train.seed


def unfinished(path: Path) -> Path:
    """The name that the run folder `path` has while it is trained.

    Raises:
        RunError: no run can be called `path`.
    """
    if path.name in ("", ".."):
        raise RunError(f"{path} is no name for a new folder. Expected one such as runs/reviews.")
    if path.name.endswith(UNFINISHED):
        raise RunError(f"{path} ends in {UNFINISHED}, which marks a training in progress. Leave that ending out.")
    return path.with_name(path.name + UNFINISHED)


def is_run(path: Path) -> bool:
    """Whether the folder looks like a finished run."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file() and not path.name.endswith(UNFINISHED)


def open_run(path: Path) -> Run:
    """A finished run.

    Every file that the manifest names is read once to be checked against it, the weights too.

    Raises:
        RunError: there is none, it is unfinished, or a file of it is missing, damaged or was changed.
    """
    if not path.is_dir():
        raise RunError(f"There is no run folder {path}. Expected what a training wrote.")
    if path.name.endswith(UNFINISHED):
        finished = path.name.removesuffix(UNFINISHED)
        raise RunError(f"{path} is unfinished. Resume the training of {path.with_name(finished)}.", argument="resume")
    if (path / FINE_TUNING).is_file():
        raise RunError(
            f"{path} was fine-tuned from a checkpoint of Hugging Face's: its ids are pieces of words, and its routers "
            "look at whole texts. Expected a run whose vocabulary is of words."
        )
    if not is_run(path):
        raise RunError(f"{path} is not a run folder: it lacks {CONFIG} or {WEIGHTS}. Expected what `train` wrote.")
    checked = check_manifest(path)
    try:
        config = config_from_dict(read_toml(path / CONFIG), where=str(path / CONFIG))
    except ConfigError as error:
        raise RunError(f"{error} Restore the file, or train again.") from error
    data = files.read_json(path / DATA)
    if not isinstance(data, dict):
        raise RunError(f"{path / DATA} does not hold a JSON object. Restore it, or train again.")
    number = data.get("format", 1)
    if type(number) is not int or not 1 <= number <= FORMAT:  # JSON's true is an integer to Python, and no number
        received = f"{path} has the format {number!r}"
        raise RunError(
            f"{received}. Expected at most {FORMAT}: open it with the release that wrote it, or a newer one."
        )
    if not checked and data.get("format", 1) >= FIRST_WITH_MANIFEST:
        raise RunError(f"{path} has lost its {MANIFEST}, which tells whether it is whole. Restore it, or train again.")
    labels = read_labels(path)
    rejection = read_threshold(path, labels) if number >= _FIRST_WITH_REJECT else None
    return Run(path, config, labels, read_vocabulary(path / VOCABULARY), data, checked, rejection)


def write_manifest(folder: Path, names: Sequence[str] = DESCRIBED) -> None:
    """Write down the size and checksum of files, by default all that answers depend on; they must not change any more.

    Raises:
        RunError: one is missing, or the manifest cannot be written.
    """
    if names == DESCRIBED and (folder / REJECT).exists():
        names = [*names, REJECT]
    with files.refusing(folder / MANIFEST):
        described = {name: checksums.describe(folder / name) for name in names}
    files.write_json(folder / MANIFEST, {"files": described})


def check_manifest(path: Path, names: Sequence[str] = DESCRIBED) -> bool:
    """Whether there is a manifest, which must describe `names`.

    Raises:
        RunError: a file is not what it says.
    """
    if not (path / MANIFEST).exists():
        return False
    manifest = files.read_json(path / MANIFEST)
    described = manifest.get("files") if isinstance(manifest, dict) else None
    problem = checksums.difference(path, described, required=names)
    if problem:
        raise RunError(f"{path} is damaged or was changed by hand: {problem}. Restore it, or train again.")
    return True


def newest_run(runs: Path = RUNS, unfinished: bool = False) -> Path:
    """The run folder under `runs` that was written last.

    Raises:
        RunError: there is none.
    """
    kind = "unfinished run" if unfinished else "run"
    every = [path for path in runs.glob("*") if path.name.endswith(UNFINISHED) == unfinished]
    found = every if unfinished else [path for path in every if is_run(path) or (path / FINE_TUNING).is_file()]
    if not found:
        raise RunError(f"There is no {kind} under {runs.resolve()}. Name a folder, or train one.")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def fresh_name(data: str, runs: Path = RUNS) -> Path:
    """A folder name for a run on `data` that nothing has yet: runs/reviews, runs/reviews-2, ..."""
    name = Path(data).name.split(".")[0] or "run"
    if name in ("train", "training", "data") and Path(data).absolute().parent.name:
        name = Path(data).absolute().parent.name
    return free_name(runs / name)


def free_name(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that neither a run nor an unfinished one has."""
    number, candidate = 1, path
    while candidate.exists() or candidate.with_name(candidate.name + UNFINISHED).exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def write_settings(
    folder: Path, config: Config, labels: list[str], vocabulary: list[str], data: dict[str, Any]
) -> None:
    """The files that are known before training starts."""
    import tomli_w

    (folder / MANIFEST).unlink(missing_ok=True)  # of other settings: a kill in between leaves none, not a wrong one
    files.write_text(folder / VOCABULARY, "".join(f"{word}\n" for word in vocabulary))
    files.write_json(folder / LABELS, labels)
    number = FORMAT if config.train.reject is not None else _FIRST_WITH_REJECT - 1
    files.write_json(folder / DATA, {"format": number, **data})
    files.write_text(folder / CONFIG, tomli_w.dumps(config_to_dict(config)))
    write_manifest(folder, SETTINGS)


def read_vocabulary(path: Path) -> list[str]:
    """The words of a vocabulary file, split at line feeds alone: U+0085 and its like occur in words.

    Raises:
        RunError: it cannot be read.
    """
    try:
        text = files.read_bytes(path, _VOCABULARY_LIMIT).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}. Restore the file, or train again.") from error
    return text.removesuffix("\n").split("\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """What training measured, of the run folder `path`: figures by split, and of the training itself.

    Raises:
        RunError: the file is missing or damaged.
    """
    metrics: dict[str, Any] = files.read_json(path / METRICS)
    return metrics


def read_labels(path: Path) -> list[str]:
    """The class names of a folder, in the order of the probabilities.

    Raises:
        RunError: they are none, or damaged.
    """
    labels: list[str] = files.read_json(path / LABELS)
    problem = labels_problem(labels)
    if problem:
        raise RunError(f"The labels in {path / LABELS} {problem}. Restore the file, or train again.")
    return labels


def write_rejection(folder: Path, rejection: Rejection, measured: dict[str, Any]) -> None:
    """The threshold, and what it was measured to do when it was chosen.

    Raises:
        RunError: the file cannot be written.
    """
    files.write_json(folder / REJECT, rejection.as_dict() | measured)


def read_threshold(path: Path, labels: list[str]) -> Rejection:
    """The reject threshold of a folder.

    Raises:
        RunError: it is none, or damaged.
    """
    value = files.read_json(path / REJECT)
    problem = rejection_problem(value, labels)
    if problem:
        raise RunError(f"{path / REJECT} {problem}. Restore the file, or train again.")
    return read_rejection(value)
