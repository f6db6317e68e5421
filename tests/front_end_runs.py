"""A run with some way to read texts, from made-up texts to artifacts of every format."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import Quiet, tiny_config, write_tsv

from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.providers import Provider
from switch_tf.artifacts.tensorflow import RunPredictor
from switch_tf.data.request import DataRequest
from switch_tf.errors import ArgumentError
from switch_tf.export.formats import FORMATS
from switch_tf.export.options import ExportOptions
from switch_tf.export.proof.gate import Proof
from switch_tf.export.session import export_run
from switch_tf.runs.folder import Run
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.training.session import train

Rows = list[tuple[str, str]]


def made_rows(
    count: int, seed: int, praise: Sequence[str], blame: Sequence[str], filling: Sequence[str], between: str = ""
) -> Rows:
    """Texts that say good or bad by one word, no two alike; `between` stands between words."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [*draw.choice(filling, 4), draw.choice(praise if number % 2 else blame)]
        text = between.join(draw.permutation(words))
        made.append((f"{text}{' ' if between else ''}{seed}x{number}!", "good" if number % 2 else "bad"))
    return made


def trained(folder: Path, settings: Sequence[str], training: Rows, test: Rows) -> Run:
    request = DataRequest(str(write_tsv(folder / "train.tsv", training)), str(write_tsv(folder / "test.tsv", test)))
    return train(request, tiny_config(*settings), folder / "run", Quiet())


def check_ids(run: Run, proof: Proof, plain: PlainSubwords) -> None:
    """Every way to the ids is the same."""
    model, width = RunPredictor(run.path), run.config.text.num_bytes
    texts = [*proof.texts, *proof.invalid_texts]
    expected = plain.ids(texts)
    np.testing.assert_array_equal(model.tokenize(texts), expected)
    packed = np.stack([np.frombuffer(text[:width].ljust(width, b"\0"), np.uint8) for text in texts])
    np.testing.assert_array_equal(model.model.tokenize_bytes(tf.constant(packed))["ids"], expected)


def check_all_are_asked(run: Run, proof: Proof, plain: PlainSubwords) -> None:
    """The gate asks every word or piece of the vocabulary."""
    asked = {number for text in proof.words for number in plain.ids([text])[0].tolist()}
    assert asked >= set(range(2, 2 + len(run.vocabulary)))


def check_file(run: Run, proof: Proof, path: Path, name: str, options: dict[str, Any], texts: list[str]) -> None:
    """A file passes the gate and reads texts as the run does."""
    path = path.with_suffix(FORMATS[name].suffix)  # type: ignore[attr-defined]
    _, (comparison,) = FORMATS[name].export(run, proof, path, ExportOptions(name, **options))
    assert comparison.problems == []
    assert comparison.door == options.get("inputs", "bytes")
    assert comparison.ids_equal == comparison.texts > 100
    assert comparison.words_equal == comparison.words == len(run.vocabulary)
    provider: Provider = "cpu" if name == "onnx" else "auto"
    np.testing.assert_array_equal(
        load_predictor(path, provider=provider).tokenize(texts), RunPredictor(run.path).tokenize(texts)
    )


def check_onnx_takes_no_strings(run: Run, setting: str) -> None:
    """But bytes, by default; the refusal names the setting that it comes from."""
    assert FORMATS["onnx"].reads_bytes(run, ExportOptions("onnx"))
    expected = f"ONNX takes no strings with {setting}. Expected inputs bytes, which it has by default, or ids."
    with pytest.raises(ArgumentError, match=re.escape(expected)) as refused:
        export_run(run, ExportOptions("onnx", inputs="text"))
    assert refused.value.argument == "inputs"


def check_saved_model(run: Run, proof: Proof, path: Path) -> list[Any]:
    """It passes the gate; the comparisons of texts and of bytes."""
    _, comparisons = FORMATS["saved_model"].export(run, proof, path, ExportOptions("saved_model"))
    assert len(comparisons) == 2
    for each in comparisons:
        assert each.problems == []
        assert each.ids_equal == each.texts
        assert each.words_equal == len(run.vocabulary)
    return list(comparisons)
