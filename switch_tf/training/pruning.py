"""Prunes a finished run: its data says which experts it uses, the others go, and what that changes is measured.

The pruned run is a folder of its own, which appears whole or not at all. Capacity stays as it was: an expert has the
slots that `num_experts` of before give it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from switch_tf import files
from switch_tf.config import Config
from switch_tf.data.examples import Examples, as_spelled, encode_labels, fingerprint, split_validation
from switch_tf.data.request import DataRequest, read_data, read_test
from switch_tf.errors import ArgumentError, RunError
from switch_tf.expert_map import GONE
from switch_tf.locks import locked
from switch_tf.measuring.scores import evaluate, score
from switch_tf.models.blocks import map_of_block, switch_blocks
from switch_tf.reporting.history import write_history
from switch_tf.reporting.summary import write_summary
from switch_tf.runs import folder as runs
from switch_tf.runs.folder import Run
from switch_tf.runs.rejection import label_list
from switch_tf.text.spec import FIRST_WORD_ID
from switch_tf.timing import timed
from switch_tf.training.prepared import NOTHING, Prepared, describe_data

if TYPE_CHECKING:
    from switch_tf.measuring.expert_use import ExpertUse
    from switch_tf.training.loop import Progress

_COOLER = 0.1  # of the learning rates: what is there shall be mended, not learnt anew
_LEARNING = "learning"  # the folder in which a pruned model goes on learning
_COPIED = (runs.HELD_OUT, runs.TOKENIZER, "history.csv", "history.png")


@dataclass(frozen=True)
class Pruning:
    """Which experts go, and what happens then.

    Attributes:
        keep: how many experts of each Switch layer stay, the most used ones; None where `threshold` decides.
        threshold: experts go that no more than this share of a layer's choices falls on; 0 is those without any use.
        merge: the others are merged into those that are most like them instead of dropped.
        epochs: to go on learning for afterwards.

    Raises:
        ArgumentError: a value that means nothing.
    """

    keep: int | None = None
    threshold: float = 0.0
    merge: bool = False
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise ArgumentError(f"Received keep={self.keep}. Expected 1 expert at least.", "keep")
        if not 0.0 <= self.threshold < 1.0:
            raise ArgumentError(f"Received threshold={self.threshold}. Expected a share, 0 to below 1.", "threshold")
        if self.epochs < 0:
            raise ArgumentError(f"Received epochs={self.epochs}. Expected 0, for none, or more.", "epochs")
        if self.keep is not None and self.threshold:
            raise ArgumentError("Received keep and threshold. Expected one of the two, or neither.", "threshold")


@dataclass(frozen=True)
class _Data:
    """What a run is pruned on: all texts, how they are split for learning, and what it is measured on."""

    everything: Examples
    split: Prepared
    measured: Examples


def prune(
    run: Run,
    request: DataRequest,
    wanted: Pruning,
    output: Path,
    progress: "Progress",
    in_memory: Mapping[str, Examples] = NOTHING,
) -> dict[str, Any]:
    """Leave a pruned copy of `run` in the folder `output`, which must not exist yet; return what that changed.

    Args:
        request: texts whose use of the experts counts, and texts to measure on. Without the latter it is measured on
            all of the former, or on their validation part if the model goes on learning.
        in_memory: as for `switch_tf.training.session.train`.

    Returns:
        run, from, measured_on ("data", "texts"); layers (for each its "block", experts "before" and "after", their
        "use" as shares, and the numbers of those "dropped", or "merged" as [[number, into]]); slots of an expert for a
        text, the same before and after; figures before, pruned and, after epochs, fine_tuned: accuracy, macro_f1,
        log_loss, dropped_share, parameters and bytes of the weights; and max_abs_diff, of a probability between before
        and pruned.

    Raises:
        RunError: the run has no experts, or all of them are used; or the folder is in the way.
        ArgumentError: the run has fewer experts than `keep`, or its router needs more; or it cannot merge.
        DataError: the data cannot be used.
    """
    _refuse(run, wanted, output)
    request = request.resolved()
    with timed(f"Reading {request.data}"):
        data = _read(run, request, wanted, in_memory)
    description = {
        **describe_data(request, data.split, in_memory),
        "format": max(run.data.get("format", 1), runs.FIRST_WITH_MANIFEST),
        "pruned": {"from": str(run.path), **asdict(wanted), "trained_on": run.data},
    }
    with locked(output, "pruned"), files.new_folder(output) as folder:
        report = _prune(run, wanted, data, description, folder, progress)
    return {"run": str(output), "from": str(run.path), **report}


def least_experts(router: str) -> int:
    """How many experts of a layer a router needs."""
    return 2 if router == "top2" else 1


def choose_kept(use: np.ndarray, wanted: Pruning, least: int) -> list[int]:
    """Which experts of a layer stay, rising; of equally used ones the first.

    Args:
        use: float [experts], how much each is used.
        least: how many stay at least.

    >>> choose_kept(np.array([5.0, 0.0, 3.0, 3.0]), Pruning(), 1), choose_kept(np.array([5.0, 0, 3, 3]), Pruning(2), 1)
    ([0, 2, 3], [0, 2])
    """
    order = np.argsort(-use, kind="stable")
    count = wanted.keep
    if count is None:
        count = int(np.sum(use > wanted.threshold * use.sum()))
    return sorted(order[: max(count, least)].tolist())


def _refuse(run: Run, wanted: Pruning, output: Path) -> None:
    model = run.config.model
    if not switch_blocks(model):
        sparse = f"model.switch_every = {model.switch_every}, of {model.num_blocks} blocks"
        cause = sparse if model.num_experts else "model.num_experts = 0"
        raise RunError(f"{run.path} has no experts ({cause}). Expected a run with a Switch layer.")
    if wanted.keep is not None and not least_experts(model.router) <= wanted.keep <= model.num_experts:
        expected = f"{least_experts(model.router)} to {model.num_experts}, with router = {model.router!r}"
        raise ArgumentError(f"Received keep={wanted.keep}. Expected {expected}.", "keep")
    if wanted.merge and model.router == "expert_choice":
        remedy = "With router = 'expert_choice' experts choose their own tokens: drop them instead."
        raise ArgumentError(f"Received merge. {remedy}", "merge")
    if output.exists():
        raise RunError(f"{output} already exists. Name another folder, or remove it first.", argument="output")


def _read(run: Run, request: DataRequest, wanted: Pruning, in_memory: Mapping[str, Examples]) -> _Data:
    """
    Raises:
        DataError: the data cannot be used, or has labels that the run does not know.
    """
    everything = in_memory["data"] if "data" in in_memory else read_data(request)
    test = in_memory["test"] if "test" in in_memory else read_test(request)
    # What learns knows no reject label; what is only measured does.
    known = list(run.labels) if wanted.epochs else label_list(run.labels, run.rejection)
    everything = as_spelled(everything, run.labels)
    encode_labels(everything, known)
    if test is not None:
        test = as_spelled(test, run.labels)
        encode_labels(test, label_list(run.labels, run.rejection))
    settings = run.config.train
    training, validation = split_validation(everything, settings.validation_share, settings.seed)
    split = Prepared(list(run.labels), training, validation, test, fingerprint(everything))
    return _Data(everything, split, test or (validation if wanted.epochs else everything))


def _prune(
    run: Run, wanted: Pruning, data: _Data, description: dict[str, Any], folder: Path, progress: "Progress"
) -> dict[str, Any]:
    """Write the pruned run into `folder`; what it changed."""
    from switch_tf.models.pruned import prune_weights

    progress.stage("Counting which experts the data uses")
    used, before, answers = _before(run, data)
    least = least_experts(run.config.model.router)
    kept = [choose_kept(use, wanted, least) for use in used]
    _refuse_nothing(run, used, kept)

    progress.stage("Pruning")
    weights, _ = files.read_tensors(run.path / runs.WEIGHTS)
    weights, maps = prune_weights(weights, run.config.model, kept, used, wanted.merge)
    config = dataclasses.replace(run.config, model=dataclasses.replace(run.config.model, expert_map=maps))
    pruned = dataclasses.replace(run, path=folder, config=config, data=description, checked=True)
    files.write_tensors(folder / runs.WEIGHTS, weights)
    after, answered = _measure(pruned, data.measured)
    report = {
        "measured_on": {"data": data.measured.source, "texts": len(data.measured)},
        "layers": _layers(run, maps, used, kept),
        "slots": _slots(config),
        "before": before,
        "pruned": after,
        "max_abs_diff": float(np.abs(answered - answers).max()),
    }
    if wanted.epochs:
        _go_on(pruned, weights, data.split, wanted.epochs, progress)
        report["fine_tuned"], _ = _measure(pruned, data.measured)
    _write(run, pruned, data.split.held_out, report)
    return report


def _before(run: Run, data: _Data) -> tuple[list[np.ndarray], dict[str, Any], np.ndarray]:
    """How much the data uses each layer's experts, and figures and probabilities, [n, classes], of what is measured."""
    from switch_tf.measuring.expert_use import measure_use
    from switch_tf.models.text_classifier import load_classifier

    model = load_classifier(run)
    with timed(f"Answering {len(data.everything):,} texts"):
        of_all = measure_use(model, data.everything)
        measured = of_all if data.measured is data.everything else measure_use(model, data.measured)
    return of_all.use, _figures(run, data.measured, measured), measured.probabilities


def _measure(run: Run, examples: Examples) -> tuple[dict[str, Any], np.ndarray]:
    """Figures of a run on examples, and the probabilities, [n, classes], that it answers."""
    from switch_tf.measuring.expert_use import measure_use
    from switch_tf.models.text_classifier import load_classifier

    use = measure_use(load_classifier(run), examples)
    return _figures(run, examples, use), use.probabilities


def _figures(run: Run, examples: Examples, use: "ExpertUse") -> dict[str, Any]:
    expected = encode_labels(examples, label_list(run.labels, run.rejection))
    scored = score(use.probabilities, expected, run.labels, run.rejection)
    path = run.path / runs.WEIGHTS
    shapes = files.read_shapes(path)
    return {
        **{name: scored[name] for name in ("accuracy", "macro_f1", "log_loss")},
        "dropped_share": float(use.dropped.mean()),
        "parameters": sum(int(np.prod(each.shape)) for each in shapes.values()),
        "bytes": path.stat().st_size,
    }


def _refuse_nothing(run: Run, used: Sequence[np.ndarray], kept: Sequence[Sequence[int]]) -> None:
    """
    Raises:
        RunError: every expert stays.
    """
    if any(len(left) < len(use) for left, use in zip(kept, used, strict=True)):
        return
    least = min(float(use.min() / max(use.sum(), 1e-30)) for use in used)
    problem = f"There is nothing to prune in {run.path}: the least used expert has {least:.2%} of its layer's tokens"
    raise RunError(f"{problem}. Say how many experts to keep, or a higher threshold.", "keep")


def _layers(
    run: Run, maps: Sequence[Sequence[int]], used: Sequence[np.ndarray], kept: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """What became of each Switch layer's experts, by the numbers that they had."""
    found = []
    for layer, block in enumerate(switch_blocks(run.config.model)):
        before = map_of_block(run.config.model, block) or list(range(run.config.model.num_experts))
        became = dict(zip(before, maps[layer], strict=True))  # of the weights of before, the new number
        gone = [number for number in range(len(used[layer])) if number not in kept[layer]]
        found.append(
            {
                "block": block,
                "before": len(used[layer]),
                "after": len(kept[layer]),
                "use": [round(float(share), 6) for share in used[layer] / max(used[layer].sum(), 1e-30)],
                "dropped": [number for number in gone if became[number] == GONE],
                "merged": [[number, kept[layer][became[number]]] for number in gone if became[number] != GONE],
            }
        )
    return found


def _slots(config: Config) -> int:
    """Of an expert, for a text of the full length: what `num_experts` of before gives."""
    from switch_tf.layers.routing import expert_capacity

    model, length = config.model, config.text.sequence_length
    if not model.drop_tokens:
        return length
    return expert_capacity(length, model.num_experts, model.eval_capacity_factor, model.min_capacity)


def _go_on(pruned: Run, weights: Mapping[str, np.ndarray], data: Prepared, epochs: int, progress: "Progress") -> None:
    """Let the deep path go on learning, and write its best epoch down; the wide path and the scales stay.

    Raises:
        RunError: the memory does not suffice, or the loss is no number.
    """
    import tensorflow as tf

    from switch_tf.models.fused import deep_arrays, deep_pairs
    from switch_tf.text.front_ends import reading_front_end
    from switch_tf.training.encoding import encode
    from switch_tf.training.loop import balanced_weights, fit
    from switch_tf.training.trainer import Start

    settings = pruned.config.train
    rates = {name: _COOLER * getattr(settings, name) for name in ("learning_rate", "table_learning_rate")}
    config = dataclasses.replace(pruned.config, train=dataclasses.replace(settings, epochs=epochs, **rates))
    front_end = reading_front_end(config.text, pruned.vocabulary)
    training, validation = (encode(each, pruned.labels, front_end) for each in (data.training, data.validation))
    if settings.class_weights == "balanced":
        training = training._replace(weights=balanced_weights(training.labels, len(pruned.labels)))
    source = str(pruned.path / runs.WEIGHTS)
    start = Start(deep_arrays(weights), finished=True, pairs=deep_pairs(weights, source))
    folder = pruned.path / _LEARNING
    folder.mkdir()
    num_ids = len(pruned.vocabulary) + FIRST_WORD_ID
    try:
        history = fit(training, validation, num_ids, len(pruned.labels), config, folder, progress, start=start)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        problem = f"The memory does not suffice to learn with batches of {settings.batch_size} texts"
        raise RunError(f"{problem}. Prune without epochs.", "epochs") from error
    learnt, _ = files.read_tensors(folder / runs.WEIGHTS)
    files.write_tensors(pruned.path / runs.WEIGHTS, {**weights, **learnt})
    files.remove(folder)
    write_history(pruned.path, history)


def _write(run: Run, pruned: Run, splits: Mapping[str, Examples], report: dict[str, Any]) -> None:
    """The files beside the weights: those of the run, and new figures in place of those that are no longer true."""
    from switch_tf.models.text_classifier import load_classifier

    for name in _COPIED:
        if (run.path / name).is_file() and not (pruned.path / name).exists():
            files.write_bytes(pruned.path / name, (run.path / name).read_bytes())
    runs.write_settings(pruned.path, pruned.config, pruned.labels, pruned.vocabulary, pruned.data)
    if run.rejection is not None:  # it was chosen for the run of before, and stays
        runs.write_rejection(pruned.path, run.rejection, {})
    model = load_classifier(pruned)
    old = runs.read_metrics(run.path)
    metrics = {name: evaluate(model, examples) for name, examples in splits.items()}
    metrics |= {name: old[name] for name in ("changed_by_byte_length", "versions") if name in old}
    metrics["training"] = old["training"] | {"parameters": int(model.classifier.count_params())}
    metrics["pruning"] = report
    files.write_json(pruned.path / runs.METRICS, metrics)
    write_summary(pruned, metrics)
    runs.write_manifest(pruned.path)
