"""The weights of pruned models by hand: who answers for whom, what a merge averages, and where words go."""

import numpy as np
import pytest

from switch_tf.config import ModelConfig
from switch_tf.models.pruned import prune_weights

BLOCK = "classifier/block_0/switch_ffn/"


def settings(**changes: object) -> ModelConfig:
    return ModelConfig(d_model=2, num_heads=1, d_ff=2, num_experts=3, **changes)  # type: ignore[arg-type]


def weights() -> dict[str, np.ndarray]:
    """Of three experts; the third has the hidden units of the first in the other order, the second is another.

    The router asks the third nearly as the first.
    """
    units = np.array([[1.0, 2.0], [3.0, -1.0]])  # [d_model, d_ff]
    w_in = np.stack([units, units * 10, units[:, ::-1]])
    b_in = np.array([[[0.5, -0.5]], [[0.0, 0.0]], [[-0.5, 0.5]]])
    w_out = np.stack([np.eye(2), np.zeros([2, 2]), np.eye(2)[::-1]])
    b_out = np.array([[[1.0, 1.0]], [[0.0, 0.0]], [[4.0, 4.0]]])
    router = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.1]])
    named = {"w_in": w_in, "b_in": b_in, "w_out": w_out, "b_out": b_out, "router": router}
    return {BLOCK + name: array.astype(np.float32) for name, array in named.items()} | {"other": np.ones(3)}


def test_a_dropped_expert_leaves_its_column_in_the_router() -> None:
    before = weights()
    after, maps = prune_weights(before, settings(), [[1, 2]], [np.array([0.0, 5.0, 5.0])], merge=False)
    assert maps == [[-1, 0, 1]]
    np.testing.assert_array_equal(after[BLOCK + "w_in"], before[BLOCK + "w_in"][1:])
    np.testing.assert_array_equal(after[BLOCK + "router"], before[BLOCK + "router"])
    assert after["other"] is before["other"] and len(before[BLOCK + "w_in"]) == 3


def test_a_merged_expert_joins_the_one_most_like_it_units_matched() -> None:
    after, maps = prune_weights(weights(), settings(), [[0, 1]], [np.array([3.0, 1.0, 1.0])], merge=True)
    assert maps == [[0, 1, 0]]
    expected = weights()
    for name in ("w_in", "b_in", "w_out"):  # the same units in another order: their mean is the first expert's
        np.testing.assert_allclose(after[BLOCK + name], expected[BLOCK + name][:2], rtol=1e-6)
    np.testing.assert_allclose(after[BLOCK + "b_out"][0], [[1.75, 1.75]])  # (3 x 1 + 1 x 4) / 4
    np.testing.assert_array_equal(after[BLOCK + "b_out"][1], [[0.0, 0.0]])


def test_merging_an_expert_without_use_changes_no_weight() -> None:
    after, maps = prune_weights(weights(), settings(), [[0, 1]], [np.array([0.3, 1.0, 0.0])], merge=True)
    assert maps == [[0, 1, 0]]
    np.testing.assert_array_equal(after[BLOCK + "b_out"], weights()[BLOCK + "b_out"][:2])


def test_what_has_been_pruned_is_pruned_by_the_numbers_of_now() -> None:
    two = settings(expert_map=[[0, -1, 1]])
    before = {name: array[[0, 2]] if "w_" in name or "b_" in name else array for name, array in weights().items()}
    after, maps = prune_weights(before, two, [[1]], [np.array([1.0, 2.0])], merge=False)
    assert maps == [[-1, -1, 0]]
    np.testing.assert_array_equal(after[BLOCK + "b_out"], [[[4.0, 4.0]]])


@pytest.mark.parametrize(("merge", "expected", "table"), [(False, [-1, 0, 1], [2, 2, 1, 2]), (True, [1, 0, 1], None)])
def test_words_of_a_dropped_expert_go_where_words_like_them_go(
    merge: bool, expected: list[int], table: list[int] | None
) -> None:
    """The first and the third expert have words that point the same way, the second one the other way."""
    before = {name: array for name, array in weights().items() if not name.endswith("/router")}
    before["classifier/tokens/embeddings"] = np.array([[1, -1], [2, 0], [-1, 1], [1, 0]], np.float32)
    before["classifier/routes_0/expert"] = np.array([0, 0, 1, 2], np.uint8)
    before["classifier/routes_0/gate"] = np.array([0.5, 0.6, 0.7, 0.8], np.float32)
    token = settings(router="token")
    after, maps = prune_weights(before, token, [[1, 2]], [np.array([1.0, 1.0, 1.0])], merge=merge)
    assert maps == [expected]
    routes = after["classifier/routes_0/expert"]
    assert routes.dtype == np.uint8 and routes.tolist() == (table or [0, 0, 1, 2])
    np.testing.assert_array_equal(after["classifier/routes_0/gate"], before["classifier/routes_0/gate"])
