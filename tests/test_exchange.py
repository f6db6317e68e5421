"""Experts sharded over replicas answer and learn as those of one device; the replicas here are threads that meet."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import ModelConfig
from switch_tf.errors import ArgumentError
from switch_tf.layers import replicas
from switch_tf.layers.exchange import Exchange, both_ways, by_experts, to_owners, to_senders
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.token_routes import Words

EXPERTS, LENGTH, WIDTH, BATCH = 4, 8, 6, 8
OF_EXPERTS = ("w_in", "b_in", "w_out", "b_out")
SEED = tf.constant([3, 5])


class Meeting:
    """Hands tensors over between threads, each of which is a replica; counts the bytes that leave one."""

    def __init__(self, count: int):
        self.replicas, self.barrier = count, threading.Barrier(count, timeout=60)
        self.given: dict[int, tf.Tensor] = {}
        self.sent = [0] * count

    def meet(self, replica: int, value: Any) -> list[Any]:
        """What all replicas brought."""
        self.given[replica] = value
        self.barrier.wait()
        brought = [self.given[other] for other in range(self.replicas)]
        self.barrier.wait()
        return brought

    def exchange(self, replica: int) -> Exchange:
        def send(value: tf.Tensor) -> tf.Tensor:
            self.sent[replica] += sum(value[other].numpy().nbytes for other in range(self.replicas) if other != replica)
            return tf.stack([brought[replica] for brought in self.meet(replica, value)])

        return Exchange(self.replicas, replica, both_ways(send))

    def all(self, work: Callable[[Exchange], Any]) -> list[Any]:
        """What each replica's thread returns."""

        def alone(replica: int) -> Any:
            def reduce(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
                return [tf.add_n(list(each)) for each in zip(*self.meet(replica, tensors), strict=True)]

            with replicas.sharing(replicas.Replicas(replica, self.replicas, reduce)):
                return work(self.exchange(replica))

        with ThreadPoolExecutor(self.replicas) as pool:
            return list(pool.map(alone, range(self.replicas)))


class Learnt(NamedTuple):
    """The answer [batch, length, width], and gradients by name, of sum(answer x upstream) and the router's losses."""

    y: np.ndarray
    gradients: dict[str, np.ndarray]


class Batch(NamedTuple):
    x: np.ndarray
    mask: np.ndarray
    upstream: np.ndarray

    def rows(self, which: slice) -> "Batch":
        return Batch(*(each[which] for each in self))


def batch() -> Batch:
    """Normal tokens; padding anywhere; the last text is nothing but padding."""
    random = np.random.default_rng(1)
    x, upstream = (random.normal(size=[BATCH, LENGTH, WIDTH]).astype(np.float32) for _ in range(2))
    mask = random.random([BATCH, LENGTH]) < 0.8
    mask[-1] = False
    return Batch(x, mask, upstream)


def layer_of(exchange: Exchange | None = None, **changes: Any) -> ReportingSwitchFFN:
    """A layer with weights that are the same on every call, cut where experts are sharded."""
    settings = ModelConfig(
        **{"num_experts": EXPERTS, "d_model": WIDTH, "num_heads": 1, "d_ff": 5, "capacity_factor": 0.75}
        | {"router_jitter": 0.0, "expert_dropout": 0.0, **changes}
    )
    layer = ReportingSwitchFFN.from_settings(settings, LENGTH)
    if exchange is not None:
        layer.shard_experts(exchange)
    layer.build([None, LENGTH, WIDTH])
    random = np.random.default_rng(0)
    for name in ("router_projection", "router_kernel", *OF_EXPERTS):
        variable = getattr(layer, name, None)
        if variable is not None:
            held = name in OF_EXPERTS and exchange is not None
            whole = random.normal(size=[EXPERTS, *variable.shape[1:]] if held else variable.shape)
            variable.assign(exchange.cut(whole) if held and exchange is not None else whole)
    return layer


def learnt(layer: ReportingSwitchFFN, given: Batch) -> Learnt:
    x, mask = tf.constant(given.x), tf.constant(given.mask)
    with tf.GradientTape() as tape:
        tape.watch(x)
        words = Words(x, mask) if layer.router == "token" else None
        y, report = layer(x, mask, training=True, seed=SEED, words=words)
        loss = tf.reduce_sum(y * given.upstream) + report.auxiliary_loss + report.z_loss
    assert report.routing.dropped > 0 or not layer.drop_tokens or layer.router == "expert_choice"
    names = {variable.name.removesuffix(":0"): variable for variable in layer.trainable_variables}
    gradients = tape.gradient(loss, {"x": x, **names})
    return Learnt(y.numpy(), {name: gradient.numpy() for name, gradient in gradients.items()})


def sharded_over(count: int, **changes: Any) -> Learnt:
    """The same by replicas: their answers and experts one behind the other, the gradients of what all have added up."""
    each, given = BATCH // count, batch()
    parts = Meeting(count).all(
        lambda exchange: learnt(
            layer_of(exchange, **changes), given.rows(slice(exchange.replica * each, (exchange.replica + 1) * each))
        )
    )
    gradients = {}
    for name in parts[0].gradients:
        received = [part.gradients[name] for part in parts]
        gradients[name] = np.concatenate(received) if name in ("x", *OF_EXPERTS) else np.sum(received, axis=0)
    return Learnt(np.concatenate([part.y for part in parts]), gradients)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"router": "top2"},
        {"router": "expert_choice"},
        {"router": "xmoe"},
        {"router": "token"},
        {"priority": "gate"},
        {"dispatch": "einsum"},
        {"drop_tokens": False},
        {"activation": "gelu", "scale_by_gate": False},
        {"router_jitter": 0.1, "expert_dropout": 0.5},
        {"expert_dropout": 0.5, "dispatch": "einsum"},
    ],
    ids=str,
)
def test_two_replicas_answer_and_learn_as_one_device(changes: dict[str, Any]) -> None:
    expected, received = learnt(layer_of(**changes), batch()), sharded_over(2, **changes)
    np.testing.assert_allclose(received.y, expected.y, rtol=0, atol=1e-6)
    assert set(received.gradients) == set(expected.gradients)
    for name, gradient in expected.gradients.items():
        assert np.any(gradient), name
        np.testing.assert_allclose(received.gradients[name], gradient, rtol=1e-5, atol=1e-5, err_msg=name)


def test_four_replicas_of_one_expert_each() -> None:
    expected, received = learnt(layer_of(), batch()), sharded_over(4)
    np.testing.assert_allclose(received.y, expected.y, rtol=0, atol=1e-6)
    for name, gradient in expected.gradients.items():
        np.testing.assert_allclose(received.gradients[name], gradient, rtol=1e-5, atol=1e-5, err_msg=name)


def test_slots_travel_to_their_experts_and_back() -> None:
    """Three experts each on two replicas, one slot of one number: who sends what is told by the number."""
    meeting = Meeting(2)

    def work(exchange: Exchange) -> tuple[list[Any], list[Any]]:
        hidden = tf.constant(10.0 * exchange.replica + np.arange(6.0))[:, tf.newaxis, tf.newaxis]
        received = to_owners(hidden, exchange)
        return received[..., 0].numpy().tolist(), to_senders(-received, exchange)[:, 0, 0].numpy().tolist()

    first, second = meeting.all(work)
    assert first == ([[0, 10], [1, 11], [2, 12]], [0, -1, -2, -3, -4, -5])
    assert second == ([[3, 13], [4, 14], [5, 15]], [-10, -11, -12, -13, -14, -15])
    assert meeting.sent == [2 * 3 * 8, 2 * 3 * 8]  # three of six numbers there and back, of 8 bytes each


def test_a_batch_of_unknown_size_travels_too() -> None:
    alone = Exchange(1, 0, tf.identity)
    compute = tf.function(
        lambda hidden: by_experts(hidden, alone, lambda received: 2.0 * received),
        input_signature=[tf.TensorSpec([EXPERTS, None, 3])],
    )
    np.testing.assert_array_equal(compute(tf.ones([EXPERTS, 7, 3])), 2.0 * np.ones([EXPERTS, 7, 3]))


def test_the_gradient_takes_the_way_back() -> None:
    """Replica 0 weighs what it was given by 1 and 2, replica 1 by 3 and 4: each sender learns how its own counted."""

    def work(exchange: Exchange) -> list[float]:
        value = tf.constant([1.0, 1.0])
        with tf.GradientTape() as tape:
            tape.watch(value)
            weights = [2.0 * exchange.replica + 1.0, 2.0 * exchange.replica + 2.0]
            loss = tf.reduce_sum(exchange.swap(value) * weights)
        return tape.gradient(loss, value).numpy().tolist()

    assert Meeting(2).all(work) == [[1.0, 3.0], [2.0, 4.0]]


def test_sharded_experts_begin_as_those_of_one_device() -> None:
    def initial(exchange: Exchange | None) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        layer = ReportingSwitchFFN.from_settings(ModelConfig(num_experts=EXPERTS, d_model=WIDTH, num_heads=1), LENGTH)
        if exchange is not None:
            layer.shard_experts(exchange)
        layer.build([None, LENGTH, WIDTH])
        return [layer.router_kernel.numpy(), layer.w_in.numpy(), layer.b_in.numpy(), layer.w_out.numpy()]

    whole = initial(None)
    parts = [initial(Exchange(2, replica, tf.identity)) for replica in range(2)]
    for part in parts:
        np.testing.assert_array_equal(part[0], whole[0])
    for number in (1, 2, 3):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in parts]), whole[number])


@pytest.mark.parametrize("experts, count", [(4, 3), (2, 4)])
def test_experts_that_cannot_be_dealt_out_are_refused(experts: int, count: int) -> None:
    layer = ReportingSwitchFFN(experts, 5)
    with pytest.raises(ArgumentError, match=f"{experts} experts for {count} replicas.*such as {count}") as caught:
        layer.shard_experts(Exchange(count, 0, tf.identity))
    assert caught.value.argument == "num_experts"


def test_a_layer_with_all_its_experts_stays_whole() -> None:
    with pytest.raises(ArgumentError, match="before its first call"):
        layer_of().shard_experts(Exchange(2, 0, tf.identity))
