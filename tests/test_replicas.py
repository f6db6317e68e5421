"""Rows, sums and noise of replicas: put together they are those of one device."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.layers import noise, replicas, routing
from switch_tf.layers.common import dropout
from switch_tf.layers.replicas import Replicas
from switch_tf.training.optimizer import summed_and_clipped

SEED = tf.constant([3, -7], tf.int32)


def on_each(count: int, compute: Callable[[Replicas], Any]) -> list[Any]:
    """What so many replicas compute, each in a thread of its own, eagerly."""
    given: list[Any] = [None] * count
    answers: list[Any] = [None] * count
    barrier = threading.Barrier(count, timeout=60)

    def run(index: int) -> None:
        def reduce(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
            given[index] = tensors
            barrier.wait()
            sums = [tf.add_n(list(each)) for each in zip(*given, strict=True)]
            barrier.wait()
            return sums

        with replicas.sharing(Replicas(index, count, reduce)) as part:
            answers[index] = compute(part)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_device_has_all_and_sums_nothing() -> None:
    part, whole = replicas.current(), tf.constant([[1.0], [2.0], [3.0]])
    assert part is replicas.ALONE and part.sum(whole) is whole and part.rows_of(whole) is whole
    variable = tf.Variable(1.0)
    assert part.own(variable) is variable
    assert replicas.here() is replicas.ALONE


def test_rows_are_the_batch_cut_in_equal_parts() -> None:
    whole = tf.reshape(tf.range(12), [6, 2])
    parts = on_each(3, lambda part: part.rows_of(whole))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert [each.shape[0] for each in parts] == [2, 2, 2]
    assert on_each(2, lambda part: float(part.rows_of(tf.constant(5.0)))) == [5.0, 5.0]  # a number is everyone's
    with pytest.raises(ValueError, match=r"^Received 6 rows\. Expected a multiple of 4 replicas\.$"):
        Replicas(0, 4).rows_of(whole)


def test_sums_are_over_all_and_have_no_gradient() -> None:
    def compute(part: Replicas) -> tuple[list[Any], Any]:
        x = tf.constant(part.index + 1.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            sums = part.sums([x, tf.zeros([0, 3]), x * 10.0])
            y = sums[0] * x
        return [each.numpy().tolist() for each in sums], float(tape.gradient(y, x))

    assert on_each(3, compute) == [([6.0, [], 60.0], 6.0)] * 3


def test_a_thread_knows_its_own_replicas() -> None:
    with replicas.sharing(Replicas(1, 2)):
        seen: list[Replicas] = []
        thread = threading.Thread(target=lambda: seen.append(replicas.current()))
        thread.start()
        thread.join()
        assert seen == [replicas.ALONE] and replicas.current().index == 1
    assert replicas.current() is replicas.ALONE


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 3), (6, 1), (600, 7)])
def test_noise_of_the_parts_is_that_of_the_batch(dtype: tf.DType, shape: tuple[int, ...]) -> None:
    whole = tf.random.stateless_uniform(shape, SEED, 0.9, 1.1, dtype)
    part = (shape[0] // 3, *shape[1:])
    drawn = on_each(3, lambda _: noise.uniform(part, SEED, 0.9, 1.1, dtype))
    np.testing.assert_array_equal(
        np.concatenate([tf.cast(each, tf.float32) for each in drawn]), tf.cast(whole, tf.float32)
    )


def test_noise_of_experts_is_cut_within_each() -> None:
    whole = tf.random.stateless_uniform([3, 10, 3], SEED)
    drawn = on_each(2, lambda _: noise.uniform([3, 5, 3], SEED, groups=3))
    np.testing.assert_array_equal(np.concatenate(drawn, axis=1), whole)


def test_dropout_of_the_parts_is_that_of_the_batch() -> None:
    x = tf.random.stateless_normal([6, 5, 3], SEED)
    whole = dropout(x, 0.4, True, SEED, 2)
    drawn = on_each(2, lambda part: dropout(part.rows_of(x), 0.4, True, SEED, 2))
    np.testing.assert_array_equal(np.concatenate(drawn), whole)
    experts = tf.reshape(x, [3, 10, 3])
    whole = dropout(experts, 0.4, True, SEED, 2)
    drawn = on_each(2, lambda part: dropout(experts[:, part.index * 5 :][:, :5], 0.4, True, SEED, 2, groups=3))
    np.testing.assert_array_equal(np.concatenate(drawn, axis=1), whole)


def test_the_routers_losses_of_the_parts_sum_to_those_of_the_batch() -> None:
    """Uneven on purpose: the second replica has one real token of five."""
    logits = tf.random.stateless_normal([4, 2, 3], SEED)
    mask = tf.constant([[True, True], [True, True], [True, False], [False, False]])

    def losses(part: Replicas) -> tuple[float, float]:
        own, real = part.rows_of(logits), part.rows_of(mask)
        weight = tf.cast(real, tf.float32)[..., tf.newaxis]
        load = tf.reduce_sum(tf.one_hot(tf.argmax(own, -1), 3) * weight, [0, 1])
        mean = tf.reduce_sum(tf.nn.softmax(own) * weight, [0, 1]) / routing.real_tokens(real)
        return float(routing.load_balancing_loss(load, mean)), float(routing.router_z_loss(own, real))

    np.testing.assert_allclose(np.sum(on_each(2, losses), axis=0), losses(replicas.ALONE), rtol=1e-6)


@pytest.mark.parametrize("limit", [0.0, 0.5, 100.0])
def test_gradients_are_summed_then_clipped_as_on_one_device(limit: float) -> None:
    """Rows that come twice count twice in the norm, also where they come to two replicas."""
    dense = np.arange(6, dtype=np.float32).reshape(2, 3)
    values, rows = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([1, 0, 1, 1])

    def gradients(part: Replicas) -> list[Any]:
        own = tf.IndexedSlices(part.rows_of(tf.constant(values)), part.rows_of(tf.constant(rows)), [3, 2])
        clipped = summed_and_clipped([part.rows_of(tf.constant(dense)) * 1.0, own], limit)
        return [tf.convert_to_tensor(each).numpy() for each in clipped]

    table = np.zeros([3, 2], np.float32)
    np.add.at(table, rows, values)
    norm = np.sqrt((dense.sum(axis=0) ** 2).sum() + (values**2).sum())
    scale = 1.0 if not limit else min(limit / norm, 1.0)
    for each in on_each(2, gradients):
        np.testing.assert_allclose(each[0], dense.sum(axis=0, keepdims=True) * scale, rtol=1e-6)
        np.testing.assert_allclose(each[1], table * scale, rtol=1e-6)
    alone = summed_and_clipped(
        [tf.constant(dense.sum(axis=0)), tf.IndexedSlices(values, tf.constant(rows), [3, 2])], limit
    )
    np.testing.assert_allclose(tf.convert_to_tensor(alone[1]), table * scale, rtol=1e-6)
