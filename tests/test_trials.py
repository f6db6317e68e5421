"""What a trial reads and how large its model is at least, before it is trained."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from test_composed import COMPOSED

from switch_tf.data.request import DataRequest
from switch_tf.training.search_space import with_settings
from switch_tf.training.session import prepare
from switch_tf.training.trials import Reader, Trial, count_pairs


@pytest.mark.parametrize(("least", "count"), [(1, 6), (2, 3), (3, 0)])
def test_pairs_are_counted_with_the_ends_of_texts(least: int, count: int) -> None:
    # (start, 7), (7, 8), (8, end); (start, 7), (7, 7), (7, 8), (8, end); (start, 9), and (9, end), which is (9, 0)
    ids = np.array([[7, 8, 0], [7, 7, 8]], np.int32)
    assert count_pairs(ids, 10, least) == {1: 4, 2: 3, 3: 0}[least]
    more = np.array([[7, 8, 0], [7, 7, 8], [9, 0, 0]], np.int32)
    assert count_pairs(more, 10, least) == count


def test_texts_are_read_once_for_a_specification(data_folder: Path, tmp_path: Path) -> None:
    config = tiny_config(*COMPOSED)
    prepared = prepare(DataRequest(str(data_folder / "made.tsv")), config)
    reader = Reader(prepared)
    texts = reader(config)
    assert reader(with_settings(config, {"train.epochs": 7})) is texts
    fewer = reader(with_settings(config, {"text.vocabulary_size": 10}))
    assert len(fewer.vocabulary) == 8 and fewer.num_ids == 10 and reader(config) is texts
    assert len(texts.training.ids) == len(prepared.training)

    def least(**changes: object) -> int:
        changed = with_settings(config, {key.replace("__", "."): value for key, value in changes.items()})
        return Trial(changed, prepared, reader(changed), tmp_path).least_size()

    ids = np.concatenate([texts.training.ids, texts.validation.ids])
    pairs, frequent = count_pairs(ids, texts.num_ids, 1), count_pairs(texts.training.ids, texts.num_ids, 2)
    # a byte for each number of two tables of 8 columns and two of one column; two int32 for each pair
    assert least() == 8 * (texts.num_ids + frequent) + (texts.num_ids + pairs) + 8 * pairs
    assert least(wide__pair_min_count=9) < least() < least(model__d_model=16)
    assert least(text__vocabulary_size=10) < least()
