"""The package in Python: `train` or `load` a `Classifier`, which is asked, measured and exported.

Everything is checked before TensorFlow loads, and TensorFlow loads only where it is needed: an .onnx or .tflite file
answers without it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch_tf import calls
from switch_tf.calls import StrPath
from switch_tf.classifier import Classifier

if TYPE_CHECKING:
    from switch_tf.artifacts.providers import Provider
    from switch_tf.config import Config

__all__ = ["Classifier", "load", "train"]


def train(
    data: Any,
    test: Any = None,
    output: StrPath | None = None,
    *,
    preset: str | None = None,
    config: "Config | Mapping[str, Any] | StrPath | None" = None,
    text_column: str = "text",
    label_column: str = "label",
    resume: bool = False,
    autotune: float | None = None,
    max_size: int | str | None = None,
    workers: int | None = None,
    from_hf: StrPath | None = None,
    verbose: int = 1,
    **settings: Any,
) -> "Classifier":
    """Train a classifier and leave it in a run folder.

    Args:
        data: labelled texts: the path of a csv, tsv, jsonl or parquet file or of a folder of class folders, the
            embedded set "reviews", a table (pandas, polars, pyarrow, a split of a Hugging Face data set, anything with
            Arrow's C stream), or a pair (texts, labels) of lists, NumPy arrays or Series.
        test: the same, to measure the finished model on; an embedded set brings its own.
        output: the run folder to make, which must not exist; None is a new one under ./runs.
        preset: "auto", which chooses from the size of the data, "tiny", "base" or "large". Unless given, it is "auto"
            where `config` is not given either.
        config: a `Config`, a dictionary of tables such as {"model": {"num_experts": 8}}, or the path of a TOML file.
        text_column: of tables.
        label_column: of tables.
        resume: go on where a training into `output` (None: the newest unfinished one) was cut off, on the same data;
            without settings it goes on with those it was started with.
        autotune: minutes to search better settings on validation before the training, beginning with those that the
            call would have without; those that `config` or `settings` name stay, of a whole `Config` all may change.
            Ctrl-C ends the search and trains with the best so far. Needs the extra `autotune`.
        max_size: with `autotune`, bytes that the exported model may have as an int8 TFLite file, such as "800K".
        workers: how many share each batch: so many GPUs of this machine, processes where it has none (which read `data`
            from its path), or those of the cluster that TF_CONFIG names, where every worker makes this call. One unless
            given.
        from_hf: the folder of a Switch-Transformers checkpoint of Hugging Face's, whose encoder becomes the classifier;
            `settings` are then those of `switch_tf.runs.fine_tuned.FineTuneSettings`.
        verbose: 0 is silent; 1 shows progress on stderr; 2 shows a line for each epoch alone, without a bar.
        **settings: single settings by name, such as epochs=5, num_experts=8; they override `config`, which overrides
            the preset.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, or out of range; or `reject` is not reached, after which
            the training can be resumed with another.
        DataError: the data cannot be used; the message names the row.
        RunError: the folder is in the way, there is nothing to resume, or nothing to search with or within the limits.
        ArgumentError: `max_size` without `autotune`, `autotune` with `resume`, or a setting of `from_hf` is unknown.
    """
    columns = {"text_column": text_column, "label_column": label_column}
    if from_hf is not None:
        calls.refuse_with_checkpoint(
            preset=preset, config=config, autotune=autotune, max_size=max_size, workers=workers
        )
        return load(calls.fine_tune(data, test, output, Path(from_hf), columns, resume, verbose, settings))
    from switch_tf.training.prepared import refuse_finished
    from switch_tf.training.session import read_unfinished
    from switch_tf.training.together import train_together

    started_from, settled = calls.named(preset, config, settings)  # a slip is told before data is looked at
    wanted = calls.search_of(autotune, max_size, resume, started_from, config, settings)
    held, prepared = calls.in_memory({"data": data, "test": test}, text_column, label_column), None
    request = calls.request_of(data, test, **columns)
    path = calls.run_folder(output, None if "data" in held else request.data, resume)
    if started_from == "auto" and not resume:
        refuse_finished(path)  # before a vocabulary is learnt
        settled, _, prepared = calls.settle(request, held, config, settings)
    if resume and preset is None and config is None and not settings:
        _, settled, path = read_unfinished(path, has_data=True)
    team, voice = calls.workers_of(workers, settled, resume), calls.voice_of(verbose)
    with calls.progress_on_stderr(verbose, silent=team.place == "processes") as (console, progress):
        console.print(f"Training on {request.data}; the run will be in {path}", highlight=False)
        tune = calls.tuner_of(wanted, progress)
        run = train_together(request, settled, path, progress, team, resume, held, prepared, tune=tune, voice=voice)
        if run is not None:
            calls.report(console, run)
    return load(path)


def load(path: StrPath, threads: int | None = None, provider: "Provider" = "auto") -> Any:
    """The model at `path`: a run folder, a SavedModel (or the folder of its versions), an .onnx or a .tflite file.

    These are a `Classifier`; the folder of a Switch-Transformers checkpoint of Hugging Face's is a `TextGenerator`.

    Args:
        path: of the folder or file.
        threads: what one operator of an .onnx or .tflite file may use; None leaves it to the runtime.
        provider: what ONNX Runtime answers with: "cpu", "cuda", or "auto", which is CUDA for a file that takes ids
            where the installed build has it, and the CPU for all others. A warning says if "auto" tried in vain.

    Raises:
        ArgumentError: `threads` or `provider` for another kind of model, or no such provider is installed.
        RunError: a run folder is unfinished or damaged.
        ModelError: there is no model, or one that is not ours.
    """
    from switch_tf.artifacts.opening import load_generator, load_predictor

    generator = load_generator(Path(path), threads, provider)
    return generator or Classifier(Path(path), load_predictor(Path(path), threads, provider))
