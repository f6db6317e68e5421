"""SentencePiece in a graph beside SentencePiece in Python."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.export.proof.corpus import adversarial_texts
from switch_tf.models.huggingface import T5Settings
from switch_tf.models.tokenizer import encode_texts
from switch_tf.text.sentencepiece_graph import GraphTokenizer
from switch_tf.text.sentencepiece_model import SentencePieces
from switch_tf.text.spec import TextSpec

MODEL = Path(__file__).parent / "data" / "huggingface" / "spiece.model"
SENTINELS = [
    "a <extra_id_0> b",
    "<extra_id_9><extra_id_5>x",
    "<extra_id_00>",
    "<extra_id_10>",
    "<extra_id_7",
    "\x01a\x01b",
]


@pytest.mark.slow
@pytest.mark.parametrize("sentinels", [10, 0])
def test_it_reads_what_python_reads(sentinels: int) -> None:
    pieces = SentencePieces(MODEL, 1, sentinels)
    texts = [*adversarial_texts(TextSpec(), ["film", "fine"], 400, 0), *SENTINELS]
    read = tf.function(GraphTokenizer(pieces, 24, 0), input_signature=[tf.TensorSpec([None], tf.string)])
    received = read(tf.constant(texts))
    assert received.dtype == tf.int32
    np.testing.assert_array_equal(received, encode_texts(pieces, texts, 24, T5Settings()))
    assert read(tf.constant([], tf.string)).shape == (0, 24)
