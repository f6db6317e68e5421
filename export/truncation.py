"""Is the byte limit of the bytes input fair? How many texts it changes, and a refusal where those are too many."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from switch_tf.errors import ExportError
from switch_tf.runs.folder import Run, read_metrics
from switch_tf.runs.held_out import read_held_out
from switch_tf.text.byte_codes import changed_share

if TYPE_CHECKING:
    from switch_tf.models.text_classifier import TextClassifier

CHANGED_SHARE_BOUND = 0.01  # of texts that the bytes input may read otherwise than as a whole


def changed_shares(run: Run, model: "TextClassifier") -> dict[str, float]:
    """The shares of texts that the bytes input reads otherwise than as a whole, by split, as training measured them.

    A run that was trained before they were measured has that of its sample of held-out texts.
    """
    measured = read_metrics(run.path).get("changed_by_byte_length")
    if isinstance(measured, dict) and all(isinstance(share, float) for share in measured.values()):
        return measured
    return {"held-out sample": changed_share(run.config.text, model.whole_ids, read_held_out(run))}


def refuse_truncation(run: Run, model: "TextClassifier", allowed: bool) -> None:
    """
    Raises:
        ExportError: the byte limit changes over one text in a hundred, and that is not `allowed`.
    """
    cut = f"text.byte_length = {run.config.text.num_bytes} bytes"
    refuse_changes(changed_shares(run, model), cut, "Train with a larger text.byte_length", allowed)


def refuse_changes(shares: Mapping[str, float], cut: str, remedy: str, allowed: bool) -> None:
    """
    Args:
        shares: of the texts of each split, that are read otherwise than as a whole.
        cut: where they are cut.
        remedy: what lets more of them be read.

    Raises:
        ExportError: one is over one in a hundred, and that is not `allowed`.
    """
    if allowed or max(shares.values()) <= CHANGED_SHARE_BOUND:
        return
    said = " and ".join(f"{share:.1%} of the {split}" for split, share in shares.items())
    raise ExportError(
        f"Cut at {cut}, {said} texts are read otherwise than as a whole. Expected at most {CHANGED_SHARE_BOUND:.0%}. "
        f"{remedy}, or take it as it is and allow the truncation.",
        argument="allow_truncation",
    )
