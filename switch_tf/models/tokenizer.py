"""The tokenizer that stands in a checkpoint's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from switch_tf import files
from switch_tf.errors import ModelError, RunError
from switch_tf.models.huggingface import T5Settings
from switch_tf.text.sentencepiece_model import SENTINELS, SentencePieces

PIECES, TOKENIZER = "spiece.model", "tokenizer_config.json"


def load_pieces(folder: Path, settings: T5Settings) -> SentencePieces:
    """Texts to ids and back.

    Raises:
        ModelError: there is none, it is damaged, has more ids than the model, or tokens that were added to it.
    """
    if not (folder / PIECES).is_file():
        raise ModelError(f"{folder} has no {PIECES}, which turns texts into ids. Fetch it too.")
    path = folder / TOKENIZER
    described = _read(path)
    pieces = SentencePieces(folder / PIECES, settings.eos_token_id, _sentinels(described, path))
    if pieces.size > settings.vocab_size:
        raise ModelError(
            f"{folder / PIECES} and its sentinels are {pieces.size:,} ids. Expected at most vocab_size = "
            f"{settings.vocab_size:,}: take the file that belongs to this checkpoint."
        )
    added = _added(described, pieces.size)
    if added:
        said = f"{path} adds {', '.join(repr(token[:40]) for token in added[:5])} to the tokenizer"
        raise ModelError(
            f"{said}, which would be read as text here. Expected the pieces of {PIECES} and the sentinels alone."
        )
    return pieces


def encode_texts(
    pieces: SentencePieces,
    texts: Sequence[str | bytes],
    length: int,
    settings: T5Settings,
    byte_length: int | None = None,
) -> np.ndarray:
    """int32 [texts, length] of ids, padded at the end; a longer text keeps its first ids and the end's.

    Args:
        byte_length: bytes of a text that are read, and characters of it once it is normal; all unless given. Texts have
            to be bytes then.
    """
    ids = np.full([len(texts), length], settings.pad_token_id, np.int32)
    for row, text in enumerate(texts):
        encoded = pieces.encode(text[:byte_length], byte_length)
        cut = encoded if len(encoded) <= length else [*encoded[: length - 1], settings.eos_token_id]
        ids[row, : len(cut)] = cut
    return ids


def _read(path: Path) -> dict[str, Any]:
    """What the settings of a tokenizer say; nothing where there are none."""
    if not path.is_file():
        return {}
    try:
        values = files.read_json(path)
    except RunError as error:
        raise ModelError(f"{path} cannot be read as JSON. Restore it from where the checkpoint came from.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is no JSON object. Restore it from where the checkpoint came from.")
    return dict(values)


def _sentinels(described: Mapping[str, Any], path: Path) -> int:
    """How many sentinels the tokenizer has; T5's number where the file does not say."""
    count = described.get("extra_ids", SENTINELS)
    if type(count) is not int or not 0 <= count <= 10_000:
        raise ModelError(f"{path} has extra_ids = {count!r}. Expected an integer from 0 to 10,000.")
    return count


def _added(described: Mapping[str, Any], size: int) -> list[str]:
    """The tokens that the settings name behind the first `size` ids."""
    listed = described.get("added_tokens_decoder")
    tokens = listed.items() if isinstance(listed, dict) else ()
    behind = [token for number, token in tokens if number.isdecimal() and (len(number) > 9 or int(number) >= size)]
    return [str(token.get("content") if isinstance(token, dict) else token) for token in behind]
