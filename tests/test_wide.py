"""The wide path answers the same in NumPy, in a graph and in every runtime, and as worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from switch_tf.errors import RunError
from switch_tf.export.onnx_file.cuda_kernels import cpu_operators
from switch_tf.files import read_tensors, write_tensors
from switch_tf.models import wide
from switch_tf.models.wide import WidePath, WideTables
from switch_tf.text.ngrams import build_pair_index

LENGTH = 12


def hand_made(classes: int) -> WideTables:
    """Two words and two pairs; the start and the second word, and the first word twice."""
    columns = [[1.0, 2.0, -1.0], [0.5, 0.0, 4.0]]
    words = np.zeros([4, 4], np.float32)
    words[2:, :3], words[1:, 3] = columns, [9.0, 4.0, 1.0]
    pairs = np.array([[2.0, -2.0, 0.0, 3.0], [0.0, 1.0, 1.0, 8.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    bias = np.array([0.5, 0.25, -1.0], np.float32)
    if classes == 2:
        words, pairs, bias = words[:, [1, 3]], pairs[:, [1, 3]], np.array([0.0, 0.25], np.float32)
    return WideTables(words, pairs, bias, build_pair_index(np.array([[0, 3], [2, 2]]), 4))


def made_up(num_ids: int, classes: int, count: int = 2_000, seed: int = 0) -> WideTables:
    """Numbers from a seed, of the size of fitted ones."""
    random = np.random.default_rng(seed)
    columns = 1 if classes == 2 else classes
    ids = np.minimum((num_ids * random.random([5 * count, 2]) ** 4).astype(np.int64), num_ids - 1)
    pairs = np.unique(ids[ids.any(axis=1)], axis=0)[:count]
    words, rows = (random.normal(0, 3, [count, columns + 1]).astype(np.float32) for count in (num_ids, len(pairs) + 1))
    for table in (words, rows):
        table[:, -1] = 1.0 + np.abs(table[:, -1]) * 10
    words[0], rows[-1] = 0.0, 0.0
    bias = random.standard_normal(classes).astype(np.float32)
    return WideTables(words, rows, bias, build_pair_index(pairs, num_ids))


def texts(num_ids: int, count: int = 64, seed: int = 1) -> np.ndarray:
    """int32 [count, LENGTH] of all numbers of words, the first without any and the second full."""
    random = np.random.default_rng(seed)
    ids = 1 + np.minimum((num_ids * random.random([count, LENGTH]) ** 4).astype(np.int32), num_ids - 2)
    words = random.integers(0, LENGTH + 1, [count, 1])
    words[:2] = [[0], [LENGTH]]
    return np.where(np.arange(LENGTH) < words, ids, 0).astype(np.int32)


def graph_of(path: WidePath, batch: int | None = None) -> Any:
    """The logits and the rows of the pairs as a function of ids, [batch, LENGTH]."""

    def answer(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = path.pair_rows(ids)
        return {"logits": path(ids, rows), "rows": rows}

    ids = tf.TensorSpec([batch, LENGTH], tf.int32, name="ids")
    return tf.function(answer, input_signature=[ids], autograph=False)


class TestByHand:
    def test_three_classes(self) -> None:
        logits = hand_made(3).logits(np.array([[3, 2, 2], [3, 0, 0], [2, 1, 0], [1, 0, 0], [0, 0, 0]], np.int32))
        np.testing.assert_allclose(
            logits,
            [
                # words 3, 2, 2 and pairs (0, 3), (2, 2): (4.5, 3, 3) / sqrt(1 + 4 + 4 + 3 + 8)
                [0.5 + 1.0062306, 0.25 + 0.6708204, -1.0 + 0.6708204],
                [0.5 + 1.25, 0.25 - 1.0, -1.0 + 2.0],  # word 3 and pair (0, 3): (2.5, -2, 4) / sqrt(1 + 3)
                [0.5 + 0.2773501, 0.25 + 0.5547002, -1.0 - 0.2773501],  # words 2 and 1: (1, 2, -1) / sqrt(4 + 9)
                [0.5, 0.25, -1.0],  # a word that says nothing
                [0.5, 0.25, -1.0],  # no word
            ],
            atol=1e-6,
        )

    def test_two_classes(self) -> None:
        logits = hand_made(2).logits(np.array([[3, 2, 2], [0, 0, 0]], np.int32))
        np.testing.assert_allclose(logits, [[0.0, 0.25 + 0.6708204], [0.0, 0.25]], atol=1e-6)

    def test_parts_of_the_texts_have_the_answers_of_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wide, "_TEXTS", 2)
        self.test_three_classes()
        assert hand_made(3).logits(np.zeros([0, 3], np.int32)).shape == (0, 3)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_the_graph(self, classes: int) -> None:
        tables = hand_made(classes)
        ids = np.array([[3, 2, 2], [3, 0, 0], [2, 1, 0], [1, 0, 0], [0, 0, 0]], np.int32)
        path = WidePath(tables)
        np.testing.assert_allclose(path(tf.constant(ids)), tables.logits(ids), atol=1e-6)
        assert path.pair_rows(tf.constant(ids)).numpy().tolist()[0] == [0, 2, 1, 2]
        assert path(tf.constant(ids)).numpy()[-1].tolist() == tables.bias.tolist()


@pytest.mark.parametrize("num_ids", [500, 46_341])
@pytest.mark.parametrize("classes", [2, 5])
class TestRuntimes:
    """Logits within 1e-5 of NumPy's and rows equal, whatever runs the graph."""

    @staticmethod
    def check(answer: dict[str, np.ndarray], tables: WideTables, ids: np.ndarray) -> None:
        rows = tables.index.find(ids)
        assert np.count_nonzero(rows < tables.index.num_pairs) > 10
        np.testing.assert_array_equal(answer["rows"], rows)
        np.testing.assert_allclose(answer["logits"], tables.logits(ids), rtol=0, atol=1e-5)
        assert answer["logits"][0].tolist() == tables.bias.tolist()  # a text without words

    def test_tensorflow_and_xla(self, num_ids: int, classes: int) -> None:
        tables, ids = made_up(num_ids, classes), texts(num_ids)
        graph = graph_of(WidePath(tables))
        for function in (graph, tf.function(graph, jit_compile=True)):
            self.check({name: value.numpy() for name, value in function(tf.constant(ids)).items()}, tables, ids)

    def test_litert(self, num_ids: int, classes: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        tables, ids = made_up(num_ids, classes), texts(num_ids)
        holder = tf.Module()
        holder.path = WidePath(tables)
        concrete = graph_of(holder.path).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], holder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
        number = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(number, ids.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(number, ids)
        interpreter.invoke()
        outputs = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
        names = {np.dtype(np.float32): "logits", np.dtype(np.int32): "rows"}
        self.check({names[output.dtype]: output for output in outputs}, tables, ids)

    def test_onnx_runtime(self, num_ids: int, classes: int) -> None:
        import onnxruntime
        import tf2onnx

        tables, ids = made_up(num_ids, classes), texts(num_ids)
        graph = graph_of(WidePath(tables))
        model, _ = tf2onnx.convert.from_function(graph, input_signature=graph.input_signature, opset=18)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        self.check(dict(zip(names, session.run(names, {"ids": ids}), strict=True)), tables, ids)

    def test_onnx_runtime_keeps_it_on_a_gpu(self, num_ids: int, classes: int) -> None:
        import tf2onnx

        graph = graph_of(WidePath(made_up(num_ids, classes)), batch=4)
        model, _ = tf2onnx.convert.from_function(graph, input_signature=graph.input_signature, opset=18)
        assert list(cpu_operators(model)) == []


class TestPromises:
    def test_an_answer_depends_on_nothing_else_in_the_batch(self) -> None:
        ids = texts(500)
        path = WidePath(made_up(500, 5))
        together = path(tf.constant(ids)).numpy()
        alone = np.concatenate([path(tf.constant(ids[i : i + 1])).numpy() for i in range(len(ids))])
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(path(tf.constant(ids[::-1])).numpy(), together[::-1])

    def test_nor_on_padding(self) -> None:
        tables, ids = made_up(500, 5), texts(500)
        longer = np.pad(ids, [[0, 0], [0, 9]])
        np.testing.assert_allclose(tables.logits(longer), tables.logits(ids), rtol=0, atol=1e-6)
        path = WidePath(tables)
        np.testing.assert_allclose(path(tf.constant(longer)), path(tf.constant(ids)), rtol=0, atol=1e-6)

    def test_only_the_batch_is_dynamic(self) -> None:
        shapes = graph_of(WidePath(made_up(500, 5))).get_concrete_function().output_shapes
        assert shapes["logits"].as_list() == [None, 5] and shapes["rows"].as_list() == [None, LENGTH + 1]

    def test_weights_are_named_as_arrays_are(self) -> None:
        tables = hand_made(3)
        weights = {weight.name: weight.numpy() for weight in WidePath(tables).weights}
        arrays = tables.to_arrays()
        assert list(weights) == [f"wide/{name}:0" for name in arrays]
        for name, array in arrays.items():
            np.testing.assert_array_equal(weights[f"wide/{name}:0"], array)

    def test_an_optimizer_has_nothing_to_train(self) -> None:
        path = WidePath(hand_made(3))
        assert path.trainable_variables == [] and len(path.non_trainable_variables) == 6


class TestFewerIds:
    @pytest.mark.parametrize(("before", "after"), [(500, 100), (50_000, 48_000), (50_000, 900)])
    def test_texts_of_those_kept_have_the_same_answer(self, before: int, after: int) -> None:
        tables, ids = made_up(before, 5), texts(after)
        fewer = tables.keep_ids(after)
        assert len(fewer.words) == after and 0 < fewer.index.num_pairs < tables.index.num_pairs
        np.testing.assert_allclose(fewer.logits(ids), tables.logits(ids), rtol=0, atol=1e-6)


class TestArrays:
    @pytest.mark.parametrize("num_ids", [500, 50_000])
    @pytest.mark.parametrize("classes", [2, 5])
    def test_through_a_file(self, num_ids: int, classes: int, tmp_path: Path) -> None:
        tables, ids = made_up(num_ids, classes), texts(num_ids)
        write_tensors(tmp_path / "wide.safetensors", tables.to_arrays())
        arrays, _ = read_tensors(tmp_path / "wide.safetensors")
        again = WideTables.from_arrays(arrays, "wide.safetensors")
        np.testing.assert_array_equal(again.logits(ids), tables.logits(ids))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("words", None),
            ("pairs", np.zeros([4, 3], np.float64)),
            ("bias", np.zeros([3, 1], np.float32)),
            ("words", np.zeros([4, 3], np.float32)),
            ("pairs", np.zeros([3, 5], np.float32)),
            ("pairs", np.zeros([0, 4], np.float32)),
            ("bias", np.zeros([4], np.float32)),
            ("bias", np.zeros([1], np.float32)),
            ("pairs", np.zeros([2, 4], np.float32)),  # fewer than the index knows
            ("index/rows", None),
            ("words", np.zeros([46_341, 4], np.float32)),  # so many need two codes
        ],
    )
    def test_damaged(self, name: str, value: np.ndarray | None) -> None:
        arrays = {key: array for key, array in hand_made(3).to_arrays().items() if key != name}
        damaged = arrays if value is None else arrays | {name: value}
        with pytest.raises(RunError, match=r"^wide.safetensors holds .* train again\.$"):
            WideTables.from_arrays(damaged, "wide.safetensors")
