"""The Switch feed-forward layer."""

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras as keras

from switch_tf.errors import ArgumentError
from switch_tf.expert_map import stored_experts
from switch_tf.layers import dispatch as dispatching
from switch_tf.layers import noise, replicas, router_scores, routers, routing
from switch_tf.layers.arguments import EXPECTED, check_arguments
from switch_tf.layers.common import activation, dropout, fold_in, truncated_normal
from switch_tf.layers.experts import ExpertWeights, pays_apart, run_apart, run_together
from switch_tf.layers.known_length import known_length, to_known_length
from switch_tf.layers.token_routes import TokenRoutes, Words, route_by_tables, token_input

_FIRST_TEMPERATURE = keras.initializers.Constant(math.log(0.3))  # its logarithm is what is learned


class RouterReport(NamedTuple):
    """What one Switch layer did with one batch.

    Attributes:
        logits: float32 [batch, length, experts], the router's; None where routes were looked up.
        routing: where the tokens went.
        auxiliary_loss: float32 [], the load-balancing loss before its weight; 1 when balanced, 0 where it has no use.
        z_loss: float32 [], the router z-loss before its weight; 0 without logits.
    """

    logits: tf.Tensor | None
    routing: routers.Routing
    auxiliary_loss: tf.Tensor
    z_loss: tf.Tensor


@keras.saving.register_keras_serializable(package="switch_tf")
class SwitchFFN(keras.layers.Layer):
    """A feed-forward layer of which each token visits few of `num_experts` copies (arXiv 2101.03961, section 2.1).

    float [batch, length, d_model] in, the same shape out, in the layer's compute dtype: the sum of p E(x) over the
    token's experts E and their gates p; zeros for padding and for tokens that found no slot, so add the result to the
    input. Every example fills its experts' slots alone: no answer depends on batch-mates.

    Keras masks are taken and passed on; without one, all tokens are real. In training, `auxiliary_loss_weight` times
    the load-balancing loss and `z_loss_weight` times the router z-loss join `losses`, each if its weight is positive;
    outside training nothing does. Experts compute in the policy's compute dtype; the router, its softmax and the gate
    are float32 under any policy (section 2.4).

    Args:
        num_experts: at least 1.
        d_ff: hidden width of one expert.
        router: who chooses. "top1", "top2" and "expert_choice" of `switch_tf.layers.routers`; "xmoe", which is top-1 by
            cosines on a hypersphere; "token", top-1 by the vector of the token's own word, which calls are given as
            `words`. What finished models have: "table" for token, which has no router and is given routes, and
            "cosine" for xmoe, whose temperature is in the router.
        priority: who finds room in a full expert: by "position", or by "gate". Of no use to expert_choice.
        normalize_gates: divide the two gates of top2 by their sum.
        capacity_factor: slots per expert and example over an even share, in training (section 2.2).
        eval_capacity_factor: the same outside training; None for `capacity_factor`.
        min_capacity: slots that an expert has at least.
        drop_tokens: False gives every expert a slot for every token.
        dispatch: "gather", or "einsum" for accelerators that refuse gathers. Same answers.
        scale_by_gate: False multiplies by p / stop_gradient(p), which is 1.
        auxiliary_loss_weight: alpha of the paper's equation 4.
        z_loss_weight: of ST-MoE's equation 5 (arXiv 2202.08906).
        balance_rate: by how much a step moves the bias that evens loads out without a loss (arXiv 2408.15664); 0 for no
            such bias. Of no use to expert_choice.
        router_jitter: the router's input times U(1 - jitter, 1 + jitter), in training only.
        expert_dropout: share of an expert's hidden units, in training only.
        activation: "relu" or "gelu", the exact one.
        initializer_scale: weights are a truncated normal of standard deviation sqrt(initializer_scale / fan_in).
        expert_map: which weights each expert has after pruning, a number for each and -1 for none; None for its own.
            See `switch_tf.expert_map`. Capacity is still counted for `num_experts`.
        sequence_length: the length that capacity is counted for; None for the input's own. It is needed where the
            input's length is unknown, and where batches are cut to their longest example, which would otherwise change
            the capacity. Longer inputs are refused.
        seed: of jitter and dropout, from 0 and below 2**31; None draws one from `keras.utils.set_random_seed`. The seed
            of the next step is a weight, so that a saved model goes on where it was.

    Raises:
        ArgumentError: a value out of range, an input that is not of rank 3, or a length that is unknown or too long.
    """

    keeps_seed = True  # False in a subclass that is always given one
    infers_apart = True  # whether experts may run one after the other outside training too

    def __init__(
        self,
        num_experts: int,
        d_ff: int,
        router: str = "top1",
        priority: routers.Priority = "position",
        normalize_gates: bool = True,
        capacity_factor: float = 1.25,
        eval_capacity_factor: float | None = None,
        min_capacity: int = 1,
        drop_tokens: bool = True,
        dispatch: str = "gather",
        scale_by_gate: bool = True,
        auxiliary_loss_weight: float = 0.01,
        z_loss_weight: float = 0.0,
        balance_rate: float = 0.0,
        router_jitter: float = 0.0,
        expert_dropout: float = 0.0,
        activation: str = "relu",
        initializer_scale: float = 0.1,
        expert_map: Sequence[int] | None = None,
        sequence_length: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # the router sees the input as it comes
        self.num_experts = num_experts
        self.d_ff = d_ff
        self.router = router
        self.priority = priority
        self.normalize_gates = normalize_gates
        self.capacity_factor = capacity_factor
        self.eval_capacity_factor = capacity_factor if eval_capacity_factor is None else eval_capacity_factor
        self.min_capacity = min_capacity
        self.drop_tokens = drop_tokens
        self.dispatch = dispatch
        self.scale_by_gate = scale_by_gate
        self.auxiliary_loss_weight = auxiliary_loss_weight
        self.z_loss_weight = z_loss_weight
        self.balance_rate = balance_rate
        self.router_jitter = router_jitter
        self.expert_dropout = expert_dropout
        self.activation = activation
        self.initializer_scale = initializer_scale
        self.expert_map = None if expert_map is None else list(expert_map)
        self.sequence_length = sequence_length
        self.seed = seed
        self.supports_masking = True
        self.next_seed: tf.Variable | None = None
        check_arguments(self)

    @property
    def stored_experts(self) -> int:
        """How many experts have weights: fewer than `num_experts` after pruning."""
        return self.num_experts if self.expert_map is None else stored_experts(self.expert_map)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {name: getattr(self, name) for name in EXPECTED}

    def build(self, input_shape: Any) -> None:
        shape = tf.TensorShape(input_shape)
        if shape.rank != 3 or shape[-1] is None:
            raise ArgumentError(
                f"Received an input of shape {shape}. Expected [batch, length, d_model] of a known d_model: "
                "put the layer behind an Embedding, or reshape what goes in."
            )
        d_ff, d_model = self.d_ff, int(shape[-1])
        self._build_router(d_model)
        self._add_of_experts("w_in", [d_model, d_ff], fan_in=d_model)
        self._add_of_experts("b_in", [1, d_ff])
        self._add_of_experts("w_out", [d_ff, d_model], fan_in=d_ff)
        self._add_of_experts("b_out", [1, d_model])
        if self.keeps_seed and (self.router_jitter > 0.0 or self.expert_dropout > 0.0):
            self.next_seed = self.add_weight(
                "next_seed",
                [2],
                dtype=tf.int32,
                initializer=self._first_seed,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: d_model})
        super().build(input_shape)

    def _build_router(self, d_model: int) -> None:
        """Weights of the router, in float32 whatever the policy; a table has none."""
        experts = self.num_experts
        if self.router in ("xmoe", "cosine"):
            dimensions = router_scores.hypersphere_dimensions(experts)
            self._add("router_projection", [d_model, dimensions], fan_in=d_model, dtype=tf.float32)
            d_model = dimensions
        if self.router == "xmoe":
            self._add("router_temperature", [], dtype=tf.float32, initializer=_FIRST_TEMPERATURE)
        if self.router != "table":
            self._add("router", [d_model, experts], fan_in=d_model, dtype=tf.float32, attribute="router_kernel")
        self.router_bias = None
        if self.balance_rate > 0.0 and self.router not in ("expert_choice", "table"):
            alike = tf.VariableAggregation.ONLY_FIRST_REPLICA  # all replicas compute the same one
            self._add("router_bias", [experts], dtype=tf.float32, trainable=False, aggregation=alike)

    def capacity(self, length: int, training: bool) -> int:
        """Slots of one expert for one example of `length` tokens: a Python integer, never more than `length`."""
        return min(length, self._room(self.sequence_length or length, training)) if self.drop_tokens else length

    def _room(self, tokens: int, training: bool) -> int:
        factor = self.capacity_factor if training else self.eval_capacity_factor
        return routing.expert_capacity(tokens, self.num_experts, factor, self.min_capacity)

    def full_capacity(self) -> tuple[int, int]:
        """That of the longest example that may come, outside training, and its length.

        Raises:
            ArgumentError: the layer was not given `sequence_length`.
        """
        length = self._checked(self.sequence_length)
        return self.capacity(length, training=False), length

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and errors keep their class
    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor | None = None,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """[batch, length, d_model] to the same.

        Args:
            seed: int32 [2], replaces the layer's own for this step.
            words: [batch, length, d_model], the vector of each token's own word, for `router="token"`.
        """
        if self.router == "table" or (words is None) == (self.router == "token"):
            received = "no words" if words is None else "words"
            raise ArgumentError(
                f"{self.name} received {received} with router={self.router!r}. Expected words=, the vectors of the "
                "tokens' own words, with router='token' alone; 'table' is for `route`.",
                argument="words",
            )
        mask = tf.ones_like(inputs[..., 0], tf.bool) if mask is None else tf.cast(mask, tf.bool)  # [batch, length]
        x, mask, words = to_known_length(self.name, self.sequence_length, inputs, mask, words)
        if training and seed is None and self.next_seed is not None:
            seed = self.next_seed.assign_add([0, 1])
        y, report = self.route(x, mask, training, seed, None if words is None else Words(words, mask))
        if training:
            weighted = ((self.auxiliary_loss_weight, report.auxiliary_loss), (self.z_loss_weight, report.z_loss))
            self.add_loss([weight * loss for weight, loss in weighted if weight > 0.0])
            self.balance(report.routing.tokens_per_expert)
        if inputs.shape[1] is None:
            y = y[:, : tf.shape(inputs)[1]]
        return tf.cast(y, self.compute_dtype)

    def route(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        words: Words | TokenRoutes | None = None,
    ) -> tuple[tf.Tensor, RouterReport]:
        """Route, dispatch, run the experts, combine: a pure function of its arguments and the weights.

        Args:
            x: float [batch, length, d_model], of a known length.
            mask: bool [batch, length], True at real tokens.
            seed: int32 [2], needed when training with jitter or dropout.
            words: what a router of words sees, or the routes that were looked up; None for all other routers.

        Returns:
            float32 [batch, length, d_model], zero for padding and dropped tokens, and the router's report.
        """
        experts, capacity = self.stored_experts, self.capacity(self._checked(x.shape[1]), training)
        report = self._choose(x, mask, capacity, training, seed, words)
        routed = report.routing
        gate = routed.gate if self.scale_by_gate else routed.gate / tf.stop_gradient(routed.gate)
        tokens = tf.cast(x, self.compute_dtype)  # [batch, length, d_model]
        if self.dispatch == "gather":
            slots = dispatching.assign_slots(routed, experts, capacity)
            rows = tf.reshape(tokens, [-1, x.shape[-1]])  # [batch * length, d_model]
            hidden = dispatching.dispatch(rows, slots, experts, training)  # [experts, batch * capacity, d_model]
            hidden = self._run_experts(hidden, training, seed)
            y = dispatching.combine(hidden, slots, gate, training)  # [batch * length, d_model]
        else:
            matrix = dispatching.one_hot_slots(routed, experts, capacity, tokens.dtype)
            hidden = dispatching.dispatch_by_product(tokens, matrix, experts)  # [experts, batch * capacity, d_model]
            hidden = tf.cast(self._run_experts(hidden, training, seed), tf.float32)
            weighted = dispatching.one_hot_slots(routed, experts, capacity, tf.float32, gate)
            y = dispatching.combine_by_product(hidden, weighted, experts)  # [batch, length, d_model]
        return tf.reshape(y, [-1, *x.shape[1:]]), report

    def balance(self, tokens_per_expert: tf.Tensor) -> None:
        """Move the bias that evens loads out, if the layer has one, by a step's loads, float32 [experts]."""
        if self.router_bias is not None:
            load = replicas.current().sum(tokens_per_expert)
            self.router_bias.assign(router_scores.balanced_bias(self.router_bias, load, self.balance_rate))

    def _choose(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        capacity: int,
        training: bool,
        seed: tf.Tensor | None,
        words: Words | TokenRoutes | None,
    ) -> RouterReport:
        """Each token's experts, whatever the router."""
        if isinstance(words, TokenRoutes):
            mask = mask if words.known is None else tf.logical_and(mask, words.known)
            routed = route_by_tables(words, mask, self.num_experts, capacity, self.priority, self.expert_map)
            return RouterReport(None, routed, routed.auxiliary_loss, tf.zeros([]))
        seen = tf.cast(x, tf.float32)  # [batch, length, d_model]
        if words is not None:
            seen, mask = token_input(tf.cast(words.vectors, tf.float32)), tf.logical_and(mask, words.known)
        logits = self._router_logits(seen, training, seed)  # [batch, length, experts]
        if self.router == "expert_choice":
            rooms = [self._room(tokens, training) if self.drop_tokens else tokens for tokens in range(x.shape[1] + 1)]
            routed = routers.expert_choice(logits, mask, capacity, rooms, self.expert_map)
        elif self.router == "top2":
            gates = self.normalize_gates
            routed = routers.top2(logits, mask, capacity, self.router_bias, self.priority, gates, self.expert_map)
        else:
            routed = routers.top1(logits, mask, capacity, self.router_bias, self.priority, self.expert_map)
        return RouterReport(logits, routed, routed.auxiliary_loss, routing.router_z_loss(logits, mask))

    def _router_logits(self, x: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        """float32 [batch, length, d_model] to [batch, length, experts]."""
        epsilon = self.router_jitter
        if training and epsilon > 0.0:
            drawn = fold_in(seed, self.num_experts)  # behind those of the experts' dropout
            x *= noise.uniform(tf.shape(x), drawn, 1.0 - epsilon, 1.0 + epsilon)
        if self.router == "xmoe":
            return router_scores.hypersphere_logits(
                x, self.router_projection, self.router_kernel, self.router_temperature
            )
        if self.router == "cosine":
            return router_scores.direction_logits(x, self.router_projection, self.router_kernel)
        return router_scores.linear_logits(x, self.router_kernel)

    def _run_experts(self, hidden: tf.Tensor, training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        """Each expert on its own slots: [experts, batch * capacity, d_model] to the same."""
        of_experts = self.w_in, self.b_in, self.w_out, self.b_out
        weights = ExpertWeights(*(tf.cast(weight, self.compute_dtype) for weight in of_experts))

        def between(inner: tf.Tensor, number: int) -> tf.Tensor:
            inner = activation(self.activation)(inner)
            if not training or self.expert_dropout == 0.0:
                return inner
            return self._drop_units(inner, seed, number if apart else None)

        may = self.dispatch == "gather" and (training or self.infers_apart)
        rows = hidden.shape[1]  # of the whole batch: what it decides, replicas decide alike
        rows = rows if rows is None else rows * replicas.current().count
        apart = may and pays_apart(rows, hidden.shape[-1], training)
        return (run_apart if apart else run_together)(hidden, weights, between)

    def _drop_units(self, inner: tf.Tensor, seed: tf.Tensor | None, expert: int | None) -> tf.Tensor:
        """Dropout inside an expert, [rows, d_ff], or inside all, [experts, rows, d_ff], if `expert` is None."""
        drawn, groups = fold_in(seed, expert or 0), self.stored_experts if expert is None else 1
        return dropout(inner, self.expert_dropout, True, drawn, 1, groups)

    def _checked(self, length: int | None) -> int:
        return known_length(self.name, length, self.sequence_length)

    def _add(
        self,
        name: str,
        shape: list[int],
        fan_in: int | None = None,
        dtype: tf.DType | None = None,
        attribute: str | None = None,
        **arguments: Any,
    ) -> None:
        """A weight that is an attribute of its name, and that `route` casts itself; zeros without `fan_in`."""
        initializer = truncated_normal(fan_in, self.initializer_scale) if fan_in else "zeros"
        arguments = {"initializer": initializer, "experimental_autocast": False} | arguments
        setattr(self, attribute or name, self.add_weight(name, shape, dtype=dtype, **arguments))

    def _add_of_experts(self, name: str, shape: list[int], fan_in: int | None = None) -> None:
        """The same, one of each expert."""
        self._add(name, [self.stored_experts, *shape], fan_in)

    def _first_seed(self, shape: Any, dtype: tf.DType) -> tf.Tensor:
        del shape
        return tf.constant([random.randrange(2**31) if self.seed is None else self.seed, 0], dtype)
