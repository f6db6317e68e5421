"""A model in Python that takes raw text: ask, measure and export it.

TensorFlow loads only where it is needed: an .onnx or .tflite file answers without it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from switch_tf import calls
from switch_tf.calls import StrPath
from switch_tf.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

    from switch_tf.artifacts.base import Predictor
    from switch_tf.config import Dispatch
    from switch_tf.export.options import Door, Precision
    from switch_tf.export.proof.parity import Comparison
    from switch_tf.runs.opening import Trained


class Classifier:
    """A model that takes raw text; `train` and `load` make one.

    Attributes:
        path: where it was loaded from.
    """

    def __init__(self, path: Path, model: "Predictor"):
        self.path = path
        self._model = model

    def __repr__(self) -> str:
        return f"<Classifier {str(self.path)!r}: labels {self.labels}, {self._model.runtime}>"

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self._model.labels)

    @property
    def reject_threshold(self) -> float | None:
        """The probability below which a text is answered by no class; None of a model that answers all texts by one."""
        return None if self._model.rejection is None else self._model.rejection.threshold

    @property
    def reject_label(self) -> str | None:
        """What such a text is answered; it is none of `labels`."""
        return None if self._model.rejection is None else self._model.rejection.label

    def predict(self, texts: Any) -> "np.ndarray":
        """The most probable label of each text, or the reject label, str [n] in an array of objects.

        Args:
            texts: a list, an array, a Series or any other iterable of str, or of bytes in UTF-8.

        Raises:
            ArgumentError: `texts` is a single text, a table, or no such thing at all.
            DataError: a value is no text; the message names its position, counted from 0.
        """
        import numpy as np

        from switch_tf.runs.rejection import label_indexes, label_list

        rejection = self._model.rejection
        names = np.array(label_list(self.labels, rejection), dtype=object)
        return names[label_indexes(self.predict_proba(texts), rejection)]

    def predict_proba(self, texts: Any) -> "np.ndarray":
        """The probability of each label, float32 [n, classes] in the order of `labels`; `texts` as for `predict`."""
        return self._model.probabilities(calls.texts_of(texts))

    def tokenize(self, texts: Any) -> "np.ndarray":
        """Token ids, int32 [n, length]: 0 is padding, 1 an unknown word; `texts` as for `predict`.

        With `text.unknown_words` = "letters" the letters of unknown words stand behind the ids, as negative numbers.

        Raises:
            ModelError: this kind of artifact does not give its ids away.
        """
        return self._model.tokenize(calls.texts_of(texts))

    def evaluate(self, data: Any, *, text_column: str = "text", label_column: str = "label") -> dict[str, Any]:
        """Figures on labelled data, as `train` takes it; of a path with a test part, that is read.

        Returns:
            n, accuracy, macro_f1, log_loss (nats), and per_label: precision, recall, f1 and support of each. With a
            reject threshold these are of the most probable label, on texts that have a class, and rejection says what
            is answered, and how rightly: see `switch_tf.measuring.rejecting.measure_rejection`.

        Raises:
            DataError: the data cannot be used, or has a label that is neither a class nor the reject label.
        """
        from switch_tf.measuring.scores import evaluate

        return evaluate(self._model, calls.examples_of(data, text_column, label_column))

    @overload
    def export(  # type: ignore[overload-overlap]  # "all" is a str as well, for which the answer is one path
        self, format: Literal["all"], *, allow_truncation: bool = False, verbose: int = 1
    ) -> list[Path]: ...

    @overload
    def export(
        self,
        format: str,
        output: StrPath | None = None,
        *,
        inputs: "Door | None" = None,
        batch: int | None = None,
        precision: "Precision | None" = None,
        dispatch: "Dispatch | None" = None,
        max_size: int | str | None = None,
        max_loss: float | None = None,
        measured_on: Any = None,
        allow_truncation: bool = False,
        max_batch_size: int | None = None,
        verbose: int = 1,
    ) -> Path: ...

    def export(
        self,
        format: str,
        output: StrPath | None = None,
        *,
        inputs: "Door | None" = None,
        batch: int | None = None,
        precision: "Precision | None" = None,
        dispatch: "Dispatch | None" = None,
        max_size: int | str | None = None,
        max_loss: float | None = None,
        measured_on: Any = None,
        allow_truncation: bool = False,
        max_batch_size: int | None = None,
        verbose: int = 1,
    ) -> Path | list[Path]:
        """Turn the run into a model that needs none of this package, proven to answer as this one does.

        Args:
            format: "saved_model", "tflite" or "onnx"; "all" is each of them, and returns their paths in a list.
            output: where to; None is under RUN/export.
            inputs: what an ONNX file takes: "text" (the default for words), "ids" or "bytes" (that for pieces). Of a
                fine-tuned run, what any format takes: "bytes" (the default) or "ids", of a SavedModel "text" as well.
            batch: the one batch size of a file; any unless given.
            precision: that large weights of a file are stored in: "float32" (the default), "float16" or "int8".
            dispatch: how tokens reach experts: "gather" or "einsum"; None is as trained.
            max_size: bytes that a file may have, as a number or as "800K" or "1.5M".
            max_loss: points of accuracy that a smaller file may lose; 1 by rounding alone and 2 with words left out,
                unless given.
            measured_on: for a smaller precision, the run's test data, or else its training data, as `train` takes it,
                where it is not where it was or was given in memory.
            allow_truncation: even where over 1% of texts are too long for the bytes input.
            max_batch_size: texts that TF Serving answers together at most, for a SavedModel; 64 unless given.
            verbose: 0 is silent; 1 names each step on stderr.

        Raises:
            ModelError: this is no run but an export already.
            ArgumentError: the options do not fit together.
            ParityError: the export does not answer as this model does; nothing of it is left.
            ExportError, DataError, RunError: as `switch_tf.export.session.export_run` says.
        """
        run = self._run("exported")
        from switch_tf.export.formats import ALL
        from switch_tf.export.options import ExportOptions

        options = ExportOptions(
            format,
            None if output is None else Path(output),
            inputs,
            batch,
            precision,
            dispatch,
            max_size,
            max_loss,
            calls.measured_on(run, measured_on),
            allow_truncation,
            max_batch_size,
        )
        from switch_tf.export.session import export_run

        exported = export_run(run, options, calls.teller(verbose))
        return exported.paths if format == ALL else exported.paths[0]

    def verify(
        self,
        *artifacts: StrPath,
        texts: int = 2000,
        seed: int = 0,
        held_out: Any = None,
        measured_on: Any = None,
        verbose: int = 1,
    ) -> "list[Comparison]":
        """Compare exports of this run with it, at length.

        Args:
            *artifacts: paths; none is all that stand under RUN/export.
            texts: hostile texts to make up from `seed`, beside the held-out ones.
            seed: for making them.
            held_out: texts, as for `predict`, instead of the sample that the run carries.
            measured_on: as for `export`.
            verbose: the same.

        Returns:
            For each input of each artifact: `path`, `texts`, `max_abs_diff` and other figures.

        Raises:
            ParityError: one does not answer as this model does.
            ModelError: this is no run, or there is nothing to compare with it.
            ExportError, DataError: as `switch_tf.export.session.verify_run` says.
        """
        run = self._run("compared with its exports")
        from switch_tf.export.proof.verify import refuse_differences
        from switch_tf.export.session import verify_run

        own = None if held_out is None else calls.texts_of(held_out)
        paths = [Path(path) for path in artifacts]
        comparisons = verify_run(
            run, paths, texts, seed, own, calls.measured_on(run, measured_on), calls.teller(verbose)
        )
        refuse_differences(comparisons)
        return comparisons

    def prune(
        self,
        data: Any,
        test: Any = None,
        output: StrPath | None = None,
        *,
        keep: int | None = None,
        threshold: float = 0.0,
        merge: bool = False,
        epochs: int = 0,
        text_column: str = "text",
        label_column: str = "label",
        verbose: int = 1,
    ) -> "Classifier":
        """Leave out experts of this run that `data` has little use for, in a run folder of its own.

        Args:
            data: labelled texts, as for `train`, that tell which experts are used.
            test: the same, to measure on; None is `data`, of which only the validation part counts after `epochs`.
            output: the run folder to make; None is a new one beside this run's.
            keep, threshold, merge, epochs: as of `switch_tf.training.pruning.Pruning`.
            text_column, label_column: of tables.
            verbose: as for `train`.

        Returns:
            The pruned run, whose metrics.json says under "pruning" what that changed.

        Raises:
            ModelError: this is no run but an export already.
            ArgumentError, DataError, RunError: as `switch_tf.training.pruning.prune` says.
        """
        columns = {"text_column": text_column, "label_column": label_column}
        choices = {"keep": keep, "threshold": threshold, "merge": merge, "epochs": epochs}
        return _of_run(calls.prune(self._run("pruned"), data, test, output, columns, choices, verbose))

    def distill(
        self,
        output: StrPath | None = None,
        *,
        unlabelled: Any = None,
        teacher_share: float = 0.25,
        temperature: float = 1.0,
        config: "Mapping[str, Mapping[str, Any]] | None" = None,
        data: Any = None,
        test: Any = None,
        alone: bool = True,
        resume: bool = False,
        verbose: int = 1,
    ) -> "Classifier":
        """Train a dense student that learns from this run's answers beside the labels of its data.

        Args:
            output: the run folder to make; None is a new one beside this run's.
            unlabelled: more texts, as for `predict`, of which this run's answers are all that there is to learn.
            teacher_share: of this run's answers in what is learnt from a labelled text; the rest is the label's.
            temperature: that softens these answers.
            config: the student's settings where they are others, as tables such as {"model": {"d_model": 16}}.
            data, test: those of the run, as `train` takes them, where they are not where they were or were in memory.
            alone: train the same student without the teacher too, to compare.
            resume: go on where the same call was cut off.
            verbose: as for `train`.

        Returns:
            The student. Its metrics.json has the comparison under "distillation".

        Raises:
            ModelError: this is no run but an export already.
            ArgumentError, ConfigError, DataError, RunError: as `switch_tf.training.distilling.distill` says.
        """
        run, settings = self._run("distilled"), {"share": teacher_share, "temperature": temperature, "alone": alone}
        return _of_run(calls.distill(run, output, unlabelled, settings, config or {}, data, test, resume, verbose))

    def _run(self, verb: str) -> "Trained":
        from switch_tf.runs.opening import Trained

        run = getattr(self._model, "run", None)
        if not isinstance(run, Trained):
            raise ModelError(f"{self.path} is an export already: only a run folder can be {verb}. Load that one.")
        return run


def _of_run(path: Path) -> Classifier:
    """The classifier of a run folder."""
    from switch_tf.artifacts.opening import load_predictor

    return Classifier(path, load_predictor(path))
