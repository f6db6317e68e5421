"""Hugging Face's encoder-decoders, asked to write texts."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from switch_tf.artifacts.fine_tuned_folder import is_artifact
from switch_tf.data.in_memory import texts_in_memory
from switch_tf.errors import ArgumentError, DataError, ModelError
from switch_tf.models.generation import GenerationSettings, generate
from switch_tf.models.seq2seq import check_ids, load_seq2seq
from switch_tf.models.tokenizer import load_pieces
from switch_tf.runs.fine_tuned import is_fine_tuned
from switch_tf.text.sentencepiece_model import SentencePieces

_BATCH = 16  # texts that are written at a time
_SHORTEST, _LONGEST = 16, 4096  # ids of a text that is read


class TextGenerator:
    """A model that reads a text and writes another; `switch_tf.load` makes one of a Switch-Transformers checkpoint.

    Attributes:
        path: where it was loaded from.
    """

    def __init__(self, path: Path):
        """Load the checkpoint in the folder `path`.

        Raises:
            ModelError: its settings or weights are missing, damaged or not supported, or it is a classifier.
        """
        if is_fine_tuned(path) or is_artifact(path):
            raise ModelError(f"{path} classifies texts, and writes none. Expected the checkpoint that it was made of.")
        self.path = path
        self._model = load_seq2seq(path)
        self._pieces: SentencePieces | None = None
        self._graphs: dict[tuple[int, GenerationSettings], Any] = {}

    def __repr__(self) -> str:
        settings = self._model.settings
        return f"<TextGenerator {str(self.path)!r}: {settings.num_experts} experts, width {settings.d_model}>"

    def generate(self, texts: Any, *, seed: int = 0, **settings: Any) -> list[str]:
        """What the model writes for each text.

        Args:
            texts: a list, an array, a Series or any other iterable of str, or of bytes in UTF-8; `<extra_id_0>` and so
                on are the places that the model shall fill.
            seed: of drawing; the same seed draws the same text, whatever else is asked for beside.
            **settings: `max_new_tokens` (20 unless given), `num_beams`, `do_sample`, `temperature`, `top_k`, `top_p`,
                `length_penalty`, as in `switch_tf.models.generation.GenerationSettings`.

        Returns:
            str for each text, with `<extra_id_0>` and so on where the model wrote them.

        Raises:
            ArgumentError: a setting is unknown or out of range, or `texts` is a single text.
            DataError: a value is no text, or too long.
            ModelError: the checkpoint has no tokenizer.
        """
        rows = self.tokenize(texts)
        written = self.generate_ids(rows, seed=seed, **settings)
        return [self.decode(row) for row in written]

    def generate_ids(self, ids: list[list[int]], *, seed: int = 0, **settings: Any) -> list[list[int]]:
        """As `generate`, from ids to the ids that were written, the end's included where it was reached."""
        asked = generation_settings(settings)
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise ArgumentError(
                f"Received seed={seed!r}. Expected an integer from 0 and below 2**31: change seed.", argument="seed"
            )
        written: list[list[int]] = [[] for _ in ids]
        for length, numbers in _by_length(ids).items():
            for start in range(0, len(numbers), _BATCH):
                chosen = numbers[start : start + _BATCH]
                batch = np.full([len(chosen), length], self._model.settings.pad_token_id, np.int32)
                for row, number in enumerate(chosen):
                    batch[row, : len(ids[number])] = ids[number]
                check_ids(batch, self._model.settings)
                answer = self._graph(length, asked)(tf.constant(batch), tf.constant([seed, 0])).numpy()
                for number, row in zip(chosen, answer, strict=True):
                    written[number] = self._without_padding(row)
        return written

    def tokenize(self, texts: Any) -> list[list[int]]:
        """The ids of each text, the end's last; `texts` as for `generate`."""
        pieces = self._tokenizer()
        return [pieces.encode(text) for text in texts_in_memory(texts)]

    def decode(self, ids: list[int]) -> str:
        """The text of ids that were written."""
        return self._tokenizer().decode(ids)

    def _graph(self, length: int, settings: GenerationSettings) -> Any:
        """The graph that writes for texts of that padded length."""
        known = self._graphs.get((length, settings))
        if known is None:
            signature = [tf.TensorSpec([None, length], tf.int32), tf.TensorSpec([2], tf.int32)]
            known = tf.function(
                lambda ids, seed: generate(self._model, ids, settings, seed),
                input_signature=signature,
                autograph=False,
            )
            self._graphs[length, settings] = known
        return known

    def _without_padding(self, row: np.ndarray) -> list[int]:
        """What was written, without the start's id and what stands behind the end's."""
        ids: list[int] = row[1:].tolist()
        end = self._model.settings.eos_token_id
        return ids[: ids.index(end) + 1] if end in ids else ids

    def _tokenizer(self) -> SentencePieces:
        if self._pieces is None:
            self._pieces = load_pieces(self.path, self._model.settings)
        return self._pieces


def generation_settings(given: dict[str, Any]) -> GenerationSettings:
    """Settings by name.

    Raises:
        ArgumentError: one is unknown or out of range, or has no effect with the others.
    """
    known = GenerationSettings.__dataclass_fields__
    for name in given:
        if name not in known:
            raise ArgumentError(f"There is no setting {name!r}. Expected some of {', '.join(known)}.", argument=name)
    return GenerationSettings(**given)


def _by_length(ids: list[list[int]]) -> dict[int, list[int]]:
    """The numbers of the texts of each padded length, which depends on the text alone, so that its answer does."""
    numbers: dict[int, list[int]] = {}
    for number, row in enumerate(ids):
        if not 0 < len(row) <= _LONGEST:
            raise DataError(f"Text {number} has {len(row):,} ids. Expected 1 to {_LONGEST:,}: cut it.")
        length = _SHORTEST
        while length < len(row):
            length *= 2
        numbers.setdefault(length, []).append(number)
    return numbers
