"""Experts sharded over replicas: tokens travel to the replica that holds their expert, and its results travel back.

Section 5 of the Switch Transformers paper (arXiv 2101.03961). Of D replicas, number r holds E / D experts of a layer,
from r E / D on, and has texts of its own. It puts its tokens into slots of all experts as ever, for itself alone; then
each replica gives every other one the slots of the experts that are there (an all-to-all), computes its own experts on
what it was given, and gives that back. Capacity is counted for each text, so that no text notices.

Pure functions over tensors, apart from what `Exchange.swap` is: between processes a collective, in a test whatever
hands tensors over.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from switch_tf.errors import ArgumentError

Swap = Callable[[tf.Tensor], tf.Tensor]
_GROUP = 20_210_101  # of the replicas that exchange tokens; TensorFlow numbers groups of its own from 1 on
_CALLS = itertools.count(1)  # never one twice in a process: TensorFlow remembers the shapes of each


@dataclass(frozen=True)
class Exchange:
    """This replica among those that experts are sharded over.

    Attributes:
        replicas: how many there are, D.
        replica: the number of this one, from 0.
        swap: [D, ...] to the same shape, on all replicas at once: slice j goes to replica j, and slice i of the result
            came from replica i. It has to be its own gradient, see `both_ways`.
    """

    replicas: int
    replica: int
    swap: Swap

    def held(self, experts: int) -> int:
        """How many of so many experts each replica holds.

        Raises:
            ArgumentError: the experts cannot be dealt out evenly.
        """
        each, left = divmod(experts, self.replicas)
        if left or not each:
            raise ArgumentError(
                f"Received {experts} experts for {self.replicas} replicas. Expected as many for each of them: use a "
                f"number of experts that {self.replicas} divides, such as {self.replicas * max(each, 1)}, or as many "
                "replicas as divide the experts.",
                argument="num_experts",
            )
        return each

    def first(self, experts: int) -> int:
        """The number of the first expert that is held here."""
        return self.replica * self.held(experts)

    def cut(self, whole: tf.Tensor) -> tf.Tensor:
        """[experts, ...] of all experts to those that are held here."""
        first = self.first(whole.shape[0])
        return whole[first : first + self.held(whole.shape[0])]


def by_experts(hidden: tf.Tensor, exchange: Exchange, compute: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """What all experts compute of this replica's tokens: [experts, rows, width] to the same.

    Args:
        hidden: each expert's slots, of as many rows on every replica.
        compute: of the experts that are held here, [held, D * rows, width] to the same.
    """
    return to_senders(compute(to_owners(hidden, exchange)), exchange)


def to_owners(hidden: tf.Tensor, exchange: Exchange) -> tf.Tensor:
    """Send each expert's slots to where it is: [experts, rows, width] to [held, D * rows, width], sender by sender.

    So an expert sees its slots of all replicas' texts in the order that they have in one batch on one device.
    """
    held, rows, width = exchange.held(hidden.shape[0]), _rows(hidden), hidden.shape[-1]
    sent = tf.reshape(hidden, [exchange.replicas, held, rows, width])
    received = tf.transpose(exchange.swap(sent), [1, 0, 2, 3])  # [held, D, rows, width]
    return tf.reshape(received, [held, exchange.replicas * rows, width])


def to_senders(answers: tf.Tensor, exchange: Exchange) -> tf.Tensor:
    """Send what the experts computed back to where the tokens are: the inverse of `to_owners`."""
    held, width = answers.shape[0], answers.shape[-1]
    rows = _rows(answers) // exchange.replicas
    sent = tf.transpose(tf.reshape(answers, [held, exchange.replicas, rows, width]), [1, 0, 2, 3])
    return tf.reshape(exchange.swap(sent), [exchange.replicas * held, rows, width])


def both_ways(send: Swap) -> Swap:
    """The swap that is its own gradient: how much the loss moves with what came from i is told to i."""

    @tf.custom_gradient
    def swap(value: tf.Tensor) -> tuple[tf.Tensor, Swap]:
        return send(value), swap

    return swap


def all_to_all(replicas: int) -> Swap:
    """`Exchange.swap` without its gradient, between the processes of `tf.distribute.MultiWorkerMirroredStrategy`.

    Every replica has to ask in the same order for tensors of the same shapes, as replicas do that trace the same step:
    what belongs together is told by the number of the call.
    """

    def send(value: tf.Tensor) -> tf.Tensor:
        received = tf.raw_ops.CollectiveAllToAllV2(
            input=value,
            group_size=replicas,
            group_key=_GROUP,
            instance_key=next(_CALLS),
            ordering_token=[],
            communication_hint="auto",
        )
        return tf.ensure_shape(received, value.shape)

    return send


def _rows(hidden: tf.Tensor) -> int | tf.Tensor:
    return tf.shape(hidden)[1] if hidden.shape[1] is None else hidden.shape[1]
