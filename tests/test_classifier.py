"""The classifier's promises: no text depends on its batch or its padding, every shape is static, names are stable.

All of them are checked with tokens dropped, as an answer that depends on the batch shows itself only then.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from switch_tf.config import Config, ModelConfig, load_config
from switch_tf.errors import RunError
from switch_tf.layers.common import masked_pool
from switch_tf.layers.dense_ffn import DenseFFN
from switch_tf.layers.reporting_ffn import ReportingSwitchFFN
from switch_tf.layers.switch_ffn import SwitchFFN
from switch_tf.models.classifier import ClassifierOutput, SwitchClassifier
from switch_tf.models.weights import assign_weights, named_weights
from switch_tf.presets import PRESETS
from switch_tf.text.spec import PADDING_ID, TextSpec

LENGTH, NUM_IDS, CLASSES = 16, 40, 3
OOV_ID = 1
SEED = tf.constant([5, 6])


@pytest.fixture(autouse=True)
def _same_initial_weights_on_every_run() -> None:
    keras.utils.set_random_seed(0)


def classifier(length: int = LENGTH, **changes: Any) -> SwitchClassifier:
    """Two blocks whose experts hold ceil(0.75 x 16 / 4) = 3 tokens of a text, with weights large enough to matter."""
    small = {"d_model": 8, "d_ff": 12, "num_heads": 2, "num_blocks": 2, "num_experts": 4}
    off = {"dropout": 0.0, "expert_dropout": 0.0, "token_dropout": 0.0, "router_jitter": 0.0}
    tight = {"capacity_factor": 0.75, "eval_capacity_factor": 0.75, "initializer_scale": 1.0}
    config = Config(TextSpec(sequence_length=length), ModelConfig(**{**small, **off, **tight, **changes}))
    keras.utils.set_random_seed(0)
    model = SwitchClassifier(config, NUM_IDS, CLASSES)
    model(tf.zeros([1, length], tf.int32))
    model.tokens.set_weights([np.random.default_rng(0).normal(size=[NUM_IDS, 8])])
    return model


def texts(count: int, longest: int = LENGTH, seed: int = 0) -> tf.Tensor:
    """Ids of texts of every length, the first empty and the second the longest."""
    random = np.random.default_rng(seed)
    ids = random.integers(1, NUM_IDS, [count, LENGTH])
    lengths = random.integers(0, longest + 1, count)
    lengths[:2] = [0, longest][:count]
    return tf.constant(np.where(np.arange(LENGTH) < lengths[:, np.newaxis], ids, PADDING_ID), tf.int32)


def probabilities(output: ClassifierOutput) -> np.ndarray:
    return tf.nn.softmax(output.logits).numpy()


def dropped(output: ClassifierOutput) -> float:
    return sum(float(report.routing.dropped) for report in output.reports)


# --- no text depends on its batch, its padding or its place


@pytest.mark.parametrize("batch", [7, 64])
def test_a_text_gets_the_same_answer_alone_and_in_a_batch(batch: int) -> None:
    model, ids = classifier(), texts(batch)
    answer = tf.function(model.call, [tf.TensorSpec([None, LENGTH], tf.int32)], autograph=False)
    together = answer(ids)
    assert dropped(together) > batch
    answers = probabilities(together)
    for b in range(batch):
        alone = answer(ids[b : b + 1])
        np.testing.assert_allclose(probabilities(alone)[0], answers[b], rtol=0, atol=1e-6)
        real = ids[b] != PADDING_ID
        for report, expected in zip(alone.reports, together.reports, strict=True):
            for field in ("expert", "position", "kept"):
                received = getattr(report.routing, field)[0]
                assert_same(received[real], getattr(expected.routing, field)[b][real])


def test_the_other_texts_of_a_batch_change_nothing() -> None:
    model, ids = classifier(), texts(8)
    expected = probabilities(model(ids))
    others = tf.concat([ids[:1], texts(7, seed=9)], axis=0)
    np.testing.assert_allclose(probabilities(model(others))[0], expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities(model(ids[::-1])), expected[::-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_fewer_padding_columns_give_the_same_answer(pooling: str) -> None:
    """The capacity comes from the configured length, so that batches may be cut to their longest text."""
    model, ids = classifier(pooling=pooling), texts(9, longest=11)
    whole, cut = model(ids), model(ids[:, :11])
    assert dropped(whole) == dropped(cut) > 0
    np.testing.assert_allclose(cut.logits, whole.logits, rtol=0, atol=1e-6)
    for short, long in zip(cut.reports, whole.reports, strict=True):
        assert_same(short.routing.kept, long.routing.kept[:, :11])
        assert_same(short.routing.tokens_per_expert, long.routing.tokens_per_expert)
        np.testing.assert_allclose(short.auxiliary_loss, long.auxiliary_loss, rtol=1e-5)
        np.testing.assert_allclose(short.z_loss, long.z_loss, rtol=1e-5)


def test_every_real_token_and_its_place_count() -> None:
    """The opposite promise: an answer that never changes would pass all tests above."""
    model = classifier(eval_capacity_factor=9.0)
    ids = np.array([[2, 3, 4, 5, 6, 7] + [PADDING_ID] * 10], np.int32)
    expected = model(ids).logits
    for place in range(6):
        other = ids.copy()
        other[0, place] = 8
        assert np.abs(model(other).logits - expected).max() > 1e-3
    assert np.abs(model(ids[:, [1, 0, *range(2, 16)]]).logits - expected).max() > 1e-4


def test_words_out_of_vocabulary_are_real_tokens() -> None:
    model = classifier()
    output = model(tf.constant([[OOV_ID] * 2 + [PADDING_ID] * 14, [3, OOV_ID, 4] + [PADDING_ID] * 13]))
    for report in output.reports:
        assert tf.reduce_sum(report.routing.tokens_per_expert) == 5.0


# --- texts without a token


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("num_experts", [0, 4])
def test_an_empty_text_gets_a_finite_answer_and_gradient(pooling: str, num_experts: int) -> None:
    model = classifier(pooling=pooling, num_experts=num_experts)
    empty = tf.zeros([3, LENGTH], tf.int32)
    assert np.all(np.isfinite(model(empty).logits))
    with tf.GradientTape() as tape:
        output = model(empty, training=True, seed=SEED)
        loss = tf.reduce_sum(output.logits**2) + sum(r.auxiliary_loss + r.z_loss for r in output.reports)
    for variable, gradient in zip(model.weights, tape.gradient(loss, model.weights), strict=True):
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient))), variable.name


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2.0, -4.0], [5.0, -7.0], [0.0, 0.0]]), ("max", [[3.0, -3.0], [5.0, -7.0], [0.0, 0.0]])],
)
def test_pooling_by_hand(pooling: str, expected: list[list[float]]) -> None:
    """Neither the larger values at padding nor its zeros win."""
    x = tf.constant([[[1.0, -5.0], [9.0, 9.0], [3.0, -3.0]], [[8.0, 8.0], [8.0, 8.0], [5.0, -7.0]], [[4.0, -4.0]] * 3])
    mask = tf.constant([[True, False, True], [False, False, True], [False, False, False]])
    assert masked_pool(x, mask, pooling).numpy().tolist() == expected


# --- building


@pytest.mark.parametrize(
    ("every", "switches"),
    [(1, [True, True, True, True]), (2, [False, True, False, True]), (3, [False, False, True, False])],
)
def test_every_nth_block_has_a_switch_layer(every: int, switches: list[bool]) -> None:
    model = classifier(num_blocks=4, switch_every=every)
    kinds = [type(block.feed_forward) for block in model.blocks]
    assert kinds == [ReportingSwitchFFN if switch else DenseFFN for switch in switches]
    assert len(model(texts(2)).reports) == sum(switches)
    assert issubclass(ReportingSwitchFFN, SwitchFFN)


def test_no_experts_is_the_dense_twin() -> None:
    model = classifier(num_experts=0)
    assert [type(block.feed_forward) for block in model.blocks] == [DenseFFN, DenseFFN]
    assert model(texts(2)).reports == ()
    switch = classifier(num_experts=1)
    assert switch.count_params() - model.count_params() == 2 * 8  # of a single expert, the routers alone remain


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_build_and_answer(preset: str) -> None:
    config = load_config(preset)
    model = SwitchClassifier(config, num_ids=50, num_classes=2)
    output = model(tf.ones([1, config.text.sequence_length], tf.int32))
    assert output.logits.shape == [1, 2]
    assert output.logits.dtype == tf.float32
    assert len(output.reports) == config.model.num_blocks
    assert np.all(np.isfinite(output.logits))


def test_bfloat16_training_keeps_weights_and_logits_in_float32() -> None:
    config = Config(TextSpec(sequence_length=LENGTH), ModelConfig(d_model=8, d_ff=12, num_blocks=2, switch_every=2))
    model = SwitchClassifier(config, NUM_IDS, CLASSES, compute_dtype="bfloat16")
    output = model(texts(4), training=True, seed=SEED)
    assert output.logits.dtype == output.reports[0].logits.dtype == tf.float32
    assert {variable.dtype for variable in model.weights} == {tf.float32}
    float_model = SwitchClassifier(config, NUM_IDS, CLASSES)
    float_model(texts(4))
    float_model.set_weights(model.get_weights())
    np.testing.assert_allclose(model(texts(4)).logits, float_model(texts(4)).logits, atol=0.05)


def test_weights_have_names_of_their_own_that_do_not_depend_on_the_process() -> None:
    """Weights are saved by name."""
    first, second = classifier(switch_every=2), classifier(switch_every=2)
    names = [variable.name for variable in first.weights]
    assert len(set(names)) == len(names)
    assert names == [variable.name for variable in second.weights]
    assert {"positions:0", "classifier/tokens/embeddings:0", "classifier/head/kernel:0"} <= set(names)
    assert "classifier/block_0/dense_ffn/w_in/kernel:0" in names
    assert "classifier/block_1/switch_ffn/router:0" in names
    assert all(variable.trainable for variable in first.weights)


def test_names_do_not_depend_on_how_the_model_was_first_called() -> None:
    eager, traced = classifier(), classifier()
    fresh = SwitchClassifier(Config(TextSpec(sequence_length=LENGTH), eager.settings), NUM_IDS, CLASSES)
    tf.function(lambda ids: fresh(ids).logits, autograph=False).get_concrete_function(
        tf.TensorSpec([None, LENGTH], tf.int32)
    )
    assert [variable.name for variable in fresh.weights] == [variable.name for variable in traced.weights]


def test_weights_move_between_models_by_name() -> None:
    first, second, ids = classifier(), classifier(), texts(4)
    weights = {name: variable.numpy() + 0.01 for name, variable in named_weights(first).items()}
    assert len(weights) == len(first.weights)
    assert weights["classifier/tokens/embeddings"].shape == (NUM_IDS, 8)
    assign_weights(second, dict(reversed(weights.items())), "a file")
    assert np.abs(second(ids).logits - first(ids).logits).max() > 1e-4
    assign_weights(first, weights, "a file")
    assert_same(second(ids).logits, first(ids).logits)


def test_weights_that_do_not_fit_are_refused_and_leave_the_model_as_it_was() -> None:
    model, head = classifier(), "classifier/head/kernel"
    weights = {name: variable.numpy() for name, variable in named_weights(model).items()}
    begun = {name: array + 1.0 for name, array in weights.items()}
    for wrong, words in (
        ({name: array for name, array in begun.items() if name != head}, "none (missing), expected (8, 3)"),
        (begun | {head: np.zeros([3, 8])}, "(3, 8), expected (8, 3)"),
        (begun | {"zebra": np.zeros([2])}, "(2,), expected no such weight"),
    ):
        with pytest.raises(RunError) as caught:
            assign_weights(model, wrong, "a file")
        name = "zebra" if "zebra" in wrong else head
        assert str(caught.value) == (
            f"a file does not fit its settings: weight {name!r} has shape {words}. "
            "Restore the folder whole, or train again."
        )
    for name, variable in named_weights(model).items():
        assert_same(variable, weights[name])


def test_initialize_makes_every_weight() -> None:
    model = SwitchClassifier(load_config(), NUM_IDS, CLASSES)
    model.initialize()
    count = len(model.weights)
    model(tf.ones([2, 64], tf.int32), training=True, seed=SEED)
    assert len(model.weights) == count > 20


def test_blocks_start_apart() -> None:
    model = classifier()
    first, second = (block.feed_forward for block in model.blocks)
    assert np.abs(np.corrcoef(np.ravel(first.w_in), np.ravel(second.w_in))[0, 1]) < 0.2


def test_the_last_norm_adds_a_millionth_to_the_variance() -> None:
    norm = classifier().norm
    assert norm is not None
    y = norm(tf.constant([[[1e-3, -1e-3] * 4]]))
    np.testing.assert_allclose(y, [[[0.70710678, -0.70710678] * 4]], rtol=1e-4)


# --- training


def test_every_weight_gets_a_gradient() -> None:
    """All but the biases of the keys, which a softmax over keys cannot feel."""
    model = classifier(capacity_factor=2.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.log_softmax(model(texts(64), training=True, seed=SEED).logits)[:, 0])
    for variable, gradient in zip(model.weights, tape.gradient(loss, model.weights), strict=True):
        size = np.abs(tf.convert_to_tensor(gradient)).max()
        assert size > 1e-4 or "key/bias" in variable.name, variable.name


def test_the_same_seed_gives_the_same_step_and_another_another() -> None:
    model, ids = classifier(dropout=0.2, expert_dropout=0.2, token_dropout=0.2, router_jitter=0.1), texts(8)
    draws = [model(ids, training=True, seed=tf.constant(seed)).logits for seed in ([1, 2], [1, 2], [1, 3])]
    assert_same(draws[0], draws[1])
    assert np.abs(draws[2] - draws[0])[1:].max() > 1e-3


def test_no_two_draws_of_a_step_share_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(dropout=0.2, expert_dropout=0.2, token_dropout=0.2, router_jitter=0.1, switch_every=2)
    folded = []

    def fold_in(seed: tf.Tensor, place: int) -> tf.Tensor:
        folded.append((*np.asarray(seed), place))
        return stateless_fold_in(seed, place)

    stateless_fold_in = tf.random.fold_in
    monkeypatch.setattr(tf.random, "fold_in", fold_in)
    model(texts(2), training=True, seed=SEED)
    # tokens, embeddings, head; a seed, attention, experts and residual for each block; jitter and an expert's own
    assert len(folded) == len(set(folded)) == 3 + 2 * 4 + 2


def test_evaluation_ignores_the_seed() -> None:
    model = classifier(dropout=0.2, expert_dropout=0.2, token_dropout=0.2, router_jitter=0.1)
    assert_same(model(texts(8), seed=SEED).logits, model(texts(8)).logits)


def test_token_dropout_leaves_out_the_share_asked_for_and_changes_no_other_token() -> None:
    model, ids = classifier(token_dropout=0.3), texts(400).numpy()
    left = model._drop_tokens(ids, SEED).numpy()
    gone = left != ids
    assert_same(left[gone], np.full(gone.sum(), PADDING_ID))
    assert gone[ids != PADDING_ID].mean() == pytest.approx(0.3, abs=0.03)


def test_tokens_left_out_are_not_routed() -> None:
    model, ids = classifier(token_dropout=0.5), texts(8)
    left = model._drop_tokens(ids, SEED)
    for report in model(ids, training=True, seed=SEED).reports:
        assert tf.reduce_sum(report.routing.tokens_per_expert) == np.count_nonzero(left)
    assert 0 < np.count_nonzero(left) < np.count_nonzero(ids)


def test_token_dropout_acts_in_training_alone() -> None:
    model, ids = classifier(token_dropout=0.9999), texts(8)
    nothing = tf.zeros_like(ids)
    np.testing.assert_allclose(model(ids, training=True, seed=SEED).logits, model(nothing).logits, atol=1e-6)
    assert np.abs(model(ids).logits - model(nothing).logits)[1:].max() > 1e-3


# --- static shapes and XLA


def graph_of(model: SwitchClassifier, batch: int | None) -> tf.Graph:
    function = tf.function(lambda ids: model(ids), autograph=False)
    return function.get_concrete_function(tf.TensorSpec([batch, LENGTH], tf.int32)).graph


def test_no_dimension_but_the_batch_is_dynamic() -> None:
    """With a batch of 5 every shape is known, so nothing else in the graph decides about one."""
    model = classifier()
    tensors = [tensor for op in graph_of(model, 5).get_operations() for tensor in op.outputs]
    assert len(tensors) > 300
    unknown = [tensor for tensor in tensors if not tensor.shape.is_fully_defined() and tensor.dtype != tf.resource]
    assert not unknown

    for op in graph_of(model, None).get_operations():
        for tensor in op.outputs:
            assert tensor.shape.rank is not None, tensor
            assert tensor.shape.as_list().count(None) <= 1, tensor  # the batch, or the batch times something


def lowered(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tuple[str, str]:
    """What XLA is given and what it makes of it."""
    lower = tf.function(function, jit_compile=True, autograph=False).experimental_get_compiler_ir(x)
    return lower(stage="hlo"), lower(stage="optimized_hlo")


def test_xla_sees_static_shapes_alone() -> None:
    """XLA also compiles shapes that it knows a bound of only, and writes them as f32[<=5]."""
    model = classifier()
    given, made = lowered(lambda ids: model(ids).logits, texts(5))
    assert "f32[5,16,8]" in given
    assert "<=" not in given
    assert "<=" not in made
    assert "set-dimension-size" not in given + made
    bounded, _ = lowered(lambda ids: tf.boolean_mask(ids, ids > 3), texts(5))
    assert "<=" in bounded  # or else the above shows nothing


def test_xla_agrees() -> None:
    model, ids = classifier(), texts(16)
    compiled = tf.function(lambda ids: model(ids), jit_compile=True, autograph=False)(ids)
    expected = model(ids)
    np.testing.assert_allclose(compiled.logits, expected.logits, rtol=0, atol=1e-5)
    for received, report in zip(compiled.reports, expected.reports, strict=True):
        assert_same(received.routing.kept, report.routing.kept)


def assert_same(received: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.asarray(received), np.asarray(expected))
