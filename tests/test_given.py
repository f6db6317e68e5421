"""None, NaN and numbers among texts are refused by everything in Python that takes texts."""

import math
from typing import Any

import numpy as np
import pytest

from switch_tf.errors import DataError
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import open_run
from switch_tf.text.byte_codes import kept_bytes, pack
from switch_tf.text.given import check_texts
from switch_tf.text.spec import TextSpec

NO_TEXTS = [None, math.nan, 3, 1.5, True, ["a"], np.float32(1), np.datetime64("2024"), bytearray(b"a"), object()]


@pytest.mark.parametrize("value", NO_TEXTS)
def test_what_is_no_text_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(DataError, match=r"as text 1, counted from 0\. Expected a string"):
        check_texts(["fine", value])
    with pytest.raises(DataError, match="Expected a string"):
        pack([value], 8)
    with pytest.raises(DataError, match="Expected a string"):
        kept_bytes(TextSpec(), value)


def test_strings_and_bytes_pass_as_they_are() -> None:
    texts = ["é", "", b"\xff", np.str_("a"), np.bytes_(b"b")]
    assert check_texts(np.array(texts, dtype=object)) == texts
    with pytest.raises(DataError, match=r"Received one str. Expected several texts"):
        check_texts("a film")
    with pytest.raises(DataError, match="Character 3 of text 0, counted from 0, is half of a surrogate pair"):
        check_texts(["ab\ud800"])


def test_runs_and_saved_models_refuse_them(trained_run: Any, exported_saved_model: Any) -> None:
    from switch_tf.artifacts.saved_model import SavedModelPredictor

    for model in (load_classifier(open_run(trained_run)), SavedModelPredictor(exported_saved_model[0])):
        assert model.probabilities(["a film", b"a film"]).shape == (2, 2)
        for value in (None, math.nan, 3):
            with pytest.raises(DataError, match="as text 1, counted from 0"):
                model.probabilities(np.array(["a film", value], dtype=object))
