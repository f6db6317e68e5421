"""A fine-tuned classifier as an artifact that takes ids: SavedModel, TFLite, ONNX, each proven before it gets its name.

    ids: int32 [batch, length], padding at the end alone -> probabilities: float32 [batch, classes], label: [batch]

The label is an index into `labels.json`: int64, in a TFLite file int32. `spiece.model` beside it turns texts into ids.

An artifact is kept only if its probabilities are within 1e-5 of the model's and its labels equal, for the run's
held-out texts and for made-up ids (of every length, one id over and over), and a text alone gets what it gets among
others to 1e-6. Texts of which an id has two experts within 1e-6 of each other, where rounding decides, are counted
apart and judged as `switch_tf.export.proof.bounds` says.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import checksums, files
from switch_tf.errors import ArgumentError, ParityError, RunError
from switch_tf.export.proof.bounds import INVARIANCE_BOUND, NEAR_TIE_BOUND, PROBABILITY_BOUND, too_many_near_ties
from switch_tf.export.proof.reference import near_ties
from switch_tf.runs.fine_tuned import CONFIG, LABELS, PIECES, TOKENIZER, FineTunedRun, open_fine_tuned

if TYPE_CHECKING:
    from switch_tf.models.encoder_classifier import FineTunedClassifier

FORMATS = ("saved_model", "tflite", "onnx")
ALL = "all"
SIGNATURE = "ids"
MANIFEST, TFLITE_FILE, ONNX_FILE, ONNX_WEIGHTS = "manifest.json", "model.tflite", "model.onnx", "model.weights"
_BATCH, _MADE_UP = 16, 64
Ask = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # ids to probabilities and labels


@dataclass(frozen=True)
class FineTunedComparison:
    """How an artifact compared.

    Attributes:
        path: of the artifact.
        texts: that were asked.
        max_abs_diff: of probabilities, those counted apart left out.
        labels_equal: how many labels were the same.
        near_ties: texts that differ where two experts are nearly as good.
        alone_max_abs_diff: between a text alone and among others.
        seconds: that it took.
        problems: what is wrong, as sentences.
    """

    path: str
    texts: int
    max_abs_diff: float
    labels_equal: int
    near_ties: int
    alone_max_abs_diff: float
    seconds: float
    problems: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def export_fine_tuned(
    path: Path, format: str, output: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> list[tuple[Path, FineTunedComparison]]:
    """Write artifacts of the fine-tuned run `path`: each is a folder, with labels, settings and tokenizer.

    Args:
        path: of the run.
        format: "saved_model", "tflite", "onnx", or "all" for each of them.
        output: the folder to make; PATH/export/FORMAT unless given.
        tell: gets a line about each step.

    Raises:
        ArgumentError: there is no such format, or an output is given with "all".
        ParityError: an artifact does not answer as the model does; nothing of it is left.
        ExportError: it cannot be made.
        RunError: the run is damaged, the name is taken, or it cannot be written.
    """
    if format not in (*FORMATS, ALL):
        raise ArgumentError(f"Received the format {format!r}. Expected {', '.join([*FORMATS, ALL])}.", "format")
    if format == ALL and output is not None:
        raise ArgumentError("Received an output with the format all. Expected one format.", argument="output")
    run = open_fine_tuned(path)
    destinations = {name: output or path / "export" / name for name in (FORMATS if format == ALL else (format,))}
    for destination in destinations.values():
        if destination.exists():
            raise RunError(f"{destination} already exists. Choose another name, or remove it first.", "output")
    tell("Loading the model")
    from switch_tf.models.encoder_classifier import load_fine_tuned
    from switch_tf.models.huggingface import read_settings
    from switch_tf.models.tokenizer import load_pieces

    model = load_fine_tuned(run, load_pieces(path, read_settings(path)))
    proof = FineTunedProof(model, _ids_to_ask(run, model))
    exported = []
    for name, destination in destinations.items():
        tell(f"Writing {destination}")
        with files.parents(destination), files.new_folder(destination) as folder, files.refusing(destination):
            ask = _WRITERS[name](model, folder)
            compared = proof.check(ask, str(destination))
            _describe(path, folder, compared)
        exported.append((destination, compared))
    return exported


class FineTunedProof:
    """The trained model's answers to ids, to hold artifacts against."""

    def __init__(self, model: "FineTunedClassifier", ids: np.ndarray):
        self._ids = ids
        self._expected = model.probabilities_of_ids(ids)
        self._near = np.concatenate(
            [_near_ties(model, ids[start : start + _BATCH]) for start in range(0, len(ids), _BATCH)]
        )

    def check(self, ask: Ask, path: str) -> FineTunedComparison:
        """Compare an artifact.

        Raises:
            ParityError: it answers otherwise.
        """
        compared = self.compare(ask, path)
        if compared.problems:
            raise ParityError(f"{path} does not answer as the trained model does: {' '.join(compared.problems)}")
        return compared

    def compare(self, ask: Ask, path: str) -> FineTunedComparison:
        """The same, with what is wrong in the answer."""
        started = time.perf_counter()
        answers = [ask(self._ids[start : start + _BATCH]) for start in range(0, len(self._ids), _BATCH)]
        probabilities, labels = (np.concatenate(each) for each in zip(*answers, strict=True))
        off = np.abs(probabilities - self._expected).max(axis=1)  # [texts]
        off = np.where(np.isfinite(off), off, np.inf)
        excused = self._near & (off > PROBABILITY_BOUND) & (off <= NEAR_TIE_BOUND)
        best = np.sort(self._expected, axis=1)[:, -2:]
        same = (labels == self._expected.argmax(axis=1)) | (best[:, 1] - best[:, 0] <= 2 * PROBABILITY_BOUND)
        alone = max(
            float(np.abs(ask(self._ids[row : row + 1])[0][0] - probabilities[row]).max())
            for row in range(0, len(self._ids), _BATCH)
        )
        largest = float(off[~excused].max())
        problems = []
        if not largest <= PROBABILITY_BOUND:
            problems.append(f"Probabilities are off by {largest:.1e}, expected at most {PROBABILITY_BOUND:.0e}.")
        if not (same | excused).all():
            problems.append(f"{int((~(same | excused)).sum())} of {len(same)} labels differ.")
        if too_many_near_ties(int(excused.sum()), len(self._ids)):
            problems.append(f"{int(excused.sum())} texts differ where two experts are nearly as good.")
        if not alone <= INVARIANCE_BOUND:
            problems.append(
                f"A text alone differs by {alone:.1e} from the same among others, expected {INVARIANCE_BOUND:.0e}."
            )
        seconds = round(time.perf_counter() - started, 3)
        return FineTunedComparison(
            path, len(self._ids), largest, int(same.sum()), int(excused.sum()), alone, seconds, problems
        )


def _near_ties(model: "FineTunedClassifier", ids: np.ndarray) -> np.ndarray:
    """Whether an id of the text has two experts that are nearly as good: bool [texts]."""
    import tensorflow as tf

    return near_ties(model.model(tf.constant(ids)).reports, len(ids))


def _ids_to_ask(run: FineTunedRun, model: "FineTunedClassifier") -> np.ndarray:
    """int32 [texts, length]: of the held-out texts, and made up: every length, one id over and over, the end alone."""
    from switch_tf.data.examples import iter_texts
    from switch_tf.runs.folder import HELD_OUT

    held_out = model.tokenize(list(iter_texts(run.path / HELD_OUT)))
    settings, length = model.model.settings, model.length
    random = np.random.default_rng(0)
    made_up = np.full([_MADE_UP, length], settings.pad_token_id, np.int32)
    for row, size in enumerate(np.linspace(1, length, _MADE_UP).astype(int)):
        drawn = random.integers(2, settings.vocab_size, size - 1)
        made_up[row, : size - 1] = drawn[:1] if row % 8 == 7 and size > 1 else drawn
        made_up[row, size - 1] = settings.eos_token_id
    return np.concatenate([made_up, held_out])


def _write_saved_model(model: "FineTunedClassifier", folder: Path) -> Ask:
    import tensorflow as tf

    from switch_tf.export.functions import save_functions

    traced = _classify(model, tf.int64)
    save_functions(model.model.variables, {SIGNATURE: traced, "serving_default": traced}, folder)
    loaded = tf.saved_model.load(str(folder))

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer = loaded.signatures[SIGNATURE](ids=tf.constant(ids))
        return answer["probabilities"].numpy(), answer["label"].numpy()

    return ask


def _write_tflite(model: "FineTunedClassifier", folder: Path) -> Ask:
    import tensorflow as tf

    from switch_tf.artifacts.tflite_file import open_interpreter
    from switch_tf.export.tflite_file import flatbuffer
    from switch_tf.export.tflite_file.conversion import convert_functions

    content = convert_functions(model.model.variables, {SIGNATURE: _classify(model, tf.int32)})
    flatbuffer.refuse_foreign_operators(flatbuffer.unpack(content))
    (folder / TFLITE_FILE).write_bytes(content)
    runner = open_interpreter(model_path=str(folder / TFLITE_FILE), num_threads=1).get_signature_runner(SIGNATURE)

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer = runner(ids=ids)
        return answer["probabilities"], answer["label"]

    return ask


def _write_onnx(model: "FineTunedClassifier", folder: Path) -> Ask:
    import onnxruntime
    import tensorflow as tf

    from switch_tf.export.onnx_file.conversion import refuse_invalid
    from switch_tf.export.seq2seq.weights_apart import convert, write_weights

    places = write_weights(folder / ONNX_WEIGHTS, model.model.variables)
    signature = [tf.TensorSpec([None, model.length], tf.int32, "ids")]
    axes: dict[str, Sequence[str | int]] = {
        "ids": ["batch", model.length],
        "probabilities": ["batch", len(model.labels)],
        "label": ["batch"],
    }
    converted = convert(model.classify_ids.python_function, signature, axes, ONNX_WEIGHTS, places)
    converted.producer_name = "switch-tf"
    (folder / ONNX_FILE).write_bytes(converted.SerializeToString())
    refuse_invalid(folder / ONNX_FILE)
    session = onnxruntime.InferenceSession(str(folder / ONNX_FILE), providers=["CPUExecutionProvider"])

    def ask(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, label = session.run(["probabilities", "label"], {"ids": ids})
        return probabilities, label

    return ask


_WRITERS: dict[str, Callable[["FineTunedClassifier", Path], Ask]] = {
    "saved_model": _write_saved_model,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}


def _classify(model: "FineTunedClassifier", label: Any) -> Any:
    import tensorflow as tf

    def classify(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = model.classify_ids.python_function(ids)
        return answer | {"label": tf.cast(answer["label"], label)}

    signature = [tf.TensorSpec([None, model.length], tf.int32, "ids")]
    return tf.function(classify, input_signature=signature, autograph=False)


def _describe(run: Path, folder: Path, compared: FineTunedComparison) -> None:
    """What turns texts into ids and indices into labels, and a manifest of all that stands in the folder."""
    for name in (CONFIG, PIECES, TOKENIZER, LABELS):
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    written = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    described = {name: checksums.describe(file) for name, file in written.items()}
    files.write_json(folder / MANIFEST, {"comparison": compared.as_dict(), "files": described})
