"""Replicas that share a batch: each computes its rows, and what is of the whole batch is summed over all of them.

One device is the only replica, with all rows, and all of this does nothing there. Where several share a batch, a step
opens `sharing(here())` inside `tf.distribute.Strategy.run`; the layers ask `current()`, so that no call has to hand it
on. Equality with one device rests on three rules:

- a sum or mean over the batch, in a loss or a figure, is each replica's contribution to that of the whole batch;
- noise is that part of the whole batch's which belongs to the replica's rows (`switch_tf.layers.noise`);
- every replica has the same number of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Reduce = Callable[[list[tf.Tensor]], list[tf.Tensor]]


@dataclass(frozen=True)
class Replicas:
    """Those that share a batch, seen from one of them.

    Attributes:
        index: of this one, from 0.
        count: of all.
        reduce: sums each of some tensors over all; every replica has to call it, in the same order.
    """

    index: int = 0
    count: int = 1
    reduce: Reduce = list

    def sums(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Each tensor summed over the replicas, all of one dtype, in one exchange; no gradient flows through it."""
        if self.count == 1:
            return list(tensors)
        sent = [tf.stop_gradient(tensor) for tensor in tensors if tensor.shape.num_elements() != 0]  # nothing in it
        back = iter(self.reduce(sent) if sent else [])
        return [tensor if tensor.shape.num_elements() == 0 else next(back) for tensor in tensors]

    def sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """The tensor summed over the replicas; no gradient flows through it."""
        return self.sums([tensor])[0]

    def first_row(self, rows: int) -> int:
        """Of the whole batch, where this replica has so many."""
        return self.index * rows

    def rows_of(self, whole: tf.Tensor) -> tf.Tensor:
        """This replica's rows of a tensor that has all, [batch, ...] to [batch / replicas, ...]; scalars stay.

        The batch is static.

        Raises:
            ValueError: the batch is no multiple of the replicas.
        """
        if self.count == 1 or whole.shape.rank == 0:
            return whole
        rows, rest = divmod(whole.shape[0], self.count)
        if rest:
            raise ValueError(f"Received {whole.shape[0]} rows. Expected a multiple of {self.count} replicas.")
        return whole[self.first_row(rows) : self.first_row(rows) + rows]

    def own(self, variable: tf.Variable) -> tf.Variable:
        """This replica's copy of a variable, for updates that are the same on all replicas; itself on one device."""
        if self.count == 1:
            return variable
        copies = tf.distribute.get_strategy().experimental_local_results(variable)
        return copies[self.index % len(copies)]  # as many on each machine


ALONE = Replicas()
_current: ContextVar[Replicas] = ContextVar("replicas", default=ALONE)  # of each thread: replicas are traced in threads


def current() -> Replicas:
    """The replicas that share the batch of the step that is being computed or traced."""
    return _current.get()


@contextmanager
def sharing(replicas: Replicas) -> Iterator[Replicas]:
    """Let layers know, while the block runs, that their batch is a part of one."""
    token = _current.set(replicas)
    try:
        yield replicas
    finally:
        _current.reset(token)


def here() -> Replicas:
    """The replicas of the `tf.distribute` strategy inside whose `run` this is called."""
    context: Any = tf.distribute.get_replica_context()
    if context is None:
        raise ValueError("Called outside of a replica. Expected inside tf.distribute.Strategy.run.")
    if context.num_replicas_in_sync == 1:
        return ALONE
    index = tf.get_static_value(context.replica_id_in_sync_group)

    def reduce(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        tensors = [tf.identity(tensor) for tensor in tensors]  # on this replica's device: a constant has none
        return list(context.all_reduce(tf.distribute.ReduceOp.SUM, tensors))

    return Replicas(int(index), context.num_replicas_in_sync, reduce)
