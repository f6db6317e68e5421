"""The long form of the gate: any artifacts of a run, on as many texts as one has patience for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from switch_tf.data.examples import Examples
from switch_tf.errors import ModelError, ParityError
from switch_tf.export.format import Format, Shrunk
from switch_tf.export.proof.gate import Proof
from switch_tf.export.proof.parity import Comparison, incomparable
from switch_tf.runs.folder import Run


def verify(
    run: Run,
    artifacts: Sequence[tuple[Path, Format]],
    texts: int = 2000,
    seed: int = 0,
    held_out: Sequence[str] | None = None,
    measured_on: str | Examples | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> list[Comparison]:
    """Compare artifacts with the trained model, without judging them.

    Args:
        artifacts: each with its format.
        texts: adversarial texts to make up from `seed`, beside the held-out ones.
        held_out: texts instead of the sample that the run carries.
        measured_on: where the labelled data is that quantized artifacts are measured on; see `read_measured`.
        tell: called with a message before each long step.

    Raises:
        DataError: that data is not there.
        ModelError: something is no artifact of ours.
        ExportError: an artifact cannot be asked, for want of room or time.
    """
    tell(f"Loading the trained model of {run.path}")
    proofs: dict[Shrunk, Proof] = {}  # a budget of bytes may have cut the vocabulary
    comparisons = []
    for artifact, format in artifacts:
        shrunk = format.shrunk(artifact, len(run.vocabulary))
        if shrunk not in proofs:
            proofs[shrunk] = Proof(run, texts, seed, held_out, measured_on, shrunk.words, max_loss=shrunk.max_loss)
        proof = proofs[shrunk]
        tell(f"Comparing {artifact} on {len(proof.texts):,} texts")
        for runner in format.open_runners(artifact, proof.model):
            try:
                comparisons.append(proof.compare(runner))
            except (ParityError, ModelError) as error:  # signatures that disagree, or a text that it fails on
                comparisons.append(incomparable(runner, len(proof.texts), str(error)))
    return comparisons


def refuse_differences(comparisons: Sequence[Comparison]) -> None:
    """
    Raises:
        ParityError: an artifact does not answer as the trained model does.
    """
    problems = [f"{each.path}: {'; '.join(each.problems)}" for each in comparisons if not each.ok]
    if problems:
        raise ParityError(f"Not as the trained model answers: {' '.join(problems)}. Export again.")
