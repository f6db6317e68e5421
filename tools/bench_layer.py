"""The Switch layer's time beside a dense layer of equal work, and beside other ways to compute the same.

    python tools/bench_layer.py
    python tools/bench_layer.py --torch torch/bin/python     # a Python with torch, transformers, labml-nn

Every contestant computes on one thread, in turn, round after round, and its processor time is taken: what runs beside
it on the machine then counts little. A ratio is the median over rounds of ours by theirs in the same round, so below 1
is faster. With gradients means those of the sum of squares by the input and by every weight.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple

import click

BESIDE = Path(__file__).with_name("torch_layers.py")
OURS, DENSE, PER_ROW, ALL = "ours", "dense FFN (TensorFlow)", "one-hot einsum per row", "all experts on all tokens"
IN_TORCH = {"hugging_face": "Hugging Face (PyTorch)", "labml": "labml (PyTorch)"}
_MOST_FOR_ALL = 8  # experts; beyond, computing all of them takes minutes


class Shape(NamedTuple):
    """Of one comparison: every text is full, and the router is at its initial weights."""

    d_model: int
    d_ff: int
    experts: int
    batch: int = 32
    length: int = 200
    rounds: int = 15

    def __str__(self) -> str:
        return f"d={self.d_model}, d_ff={self.d_ff}, E={self.experts}, {self.batch} x {self.length} tokens"


SHAPES = (Shape(256, 1024, 8), Shape(256, 1024, 64), Shape(64, 256, 8, rounds=100))
Step = Callable[[], float]  # one call: its milliseconds


@click.command()
@click.option("--torch", "python", metavar="PYTHON", help="A Python that can import torch, transformers, labml_nn.")
@click.option("--quick", is_flag=True, help="Small sizes and few rounds, to see that it works.")
@click.option("--json", "as_json", is_flag=True)
def main(python: str | None, quick: bool, as_json: bool) -> None:
    """Time the layer at three shapes, forward and with gradients."""
    rows = measure(quick, python)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        times = f"{row['milliseconds']:9.2f} ms, theirs {row['peer_milliseconds']:9.2f}"
        click.echo(f"{row['ratio']:6.2f} x {row['ratio_to']:27} {row['what']:52} {times}")


def measure(quick: bool = False, python: str | None = None) -> list[dict[str, Any]]:
    """Rows for docs/performance.md: ours beside each other contestant, at each shape, forward and with gradients."""
    one_thread()
    shapes = (Shape(16, 32, 4, batch=2, length=10, rounds=2),) if quick else SHAPES
    rows = []
    for shape in shapes:
        for gradients in (False, True):
            with ExitStack() as stack:
                steps = _in_tensorflow(shape, gradients)
                if python is not None:
                    ask = stack.enter_context(_child(python))
                    steps |= {name: _in_torch(ask, key, shape, gradients) for key, name in IN_TORCH.items()}
                taken = in_rounds(steps, shape.rounds)
            rows += _rows(f"{shape}, {'with gradients' if gradients else 'forward'}", taken)
    return rows


def in_rounds(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each in every round, all of them once a round; a first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            milliseconds = step()
            if number:
                taken[name].append(milliseconds)
    return taken


def _rows(what: str, taken: dict[str, list[float]]) -> list[dict[str, Any]]:
    ours = taken[OURS]
    return [
        {
            "section": "The layer",
            "what": what,
            "ratio_to": name,
            "ratio": statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)),
            "milliseconds": statistics.median(ours),
            "peer_milliseconds": statistics.median(theirs),
        }
        for name, theirs in taken.items()
        if name != OURS
    ]


def one_thread() -> None:
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _in_tensorflow(shape: Shape, gradients: bool) -> dict[str, Step]:
    """Ours, the dense twin, one-hot products and all experts on all tokens."""
    import tensorflow as tf

    from switch_tf.config import ModelConfig
    from switch_tf.layers import SwitchFFN
    from switch_tf.layers.dense_ffn import DenseFFN

    dense = DenseFFN(ModelConfig(d_model=shape.d_model, d_ff=shape.d_ff, num_experts=0, dropout=0.0))
    ours, per_row = (SwitchFFN(shape.experts, shape.d_ff, dispatch=each) for each in ("gather", "einsum"))
    x = tf.random.stateless_normal([shape.batch, shape.length, shape.d_model], [0, 1])
    mask = tf.fill(x.shape[:2], True)
    for layer in (ours, per_row):
        layer.build(x.shape)
    dense(x, mask)
    steps = {
        OURS: _compiled(lambda x: ours.route(x, mask, gradients), ours, x, gradients),
        DENSE: _compiled(lambda x: dense(x, mask), dense, x, gradients),
        PER_ROW: _compiled(lambda x: per_row.route(x, mask, gradients), per_row, x, gradients),
    }
    if shape.experts <= _MOST_FOR_ALL:
        steps[ALL] = _compiled(lambda x: (all_experts(x, ours), None), ours, x, gradients)
    return steps


def all_experts(x: Any, layer: Any) -> Any:
    """What tutorials do: every expert computes every token, and all but one answer a token are multiplied by 0."""
    import tensorflow as tf

    probabilities = tf.nn.softmax(x @ layer.router_kernel)  # [batch, length, experts]
    chosen = tf.one_hot(tf.argmax(probabilities, -1), layer.num_experts) * probabilities  # [batch, length, experts]
    rows = tf.reshape(x, [1, -1, x.shape[-1]])  # [1, batch * length, d_model]
    answers = tf.nn.relu(rows @ layer.w_in + layer.b_in) @ layer.w_out + layer.b_out  # [experts, batch * length, ...]
    return tf.reshape(tf.einsum("etd,te->td", answers, tf.reshape(chosen, [-1, layer.num_experts])), tf.shape(x))


def _compiled(call: Callable[[Any], Any], layer: Any, x: Any, gradients: bool) -> Step:
    import tensorflow as tf

    def forward(x: Any) -> Any:
        return call(x)[0]

    def backward(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, report = call(x)
            loss = tf.reduce_sum(y * y)
            if report is not None:
                loss += 0.01 * report.auxiliary_loss
        return tape.gradient(loss, [x, *layer.trainable_variables])

    function = tf.function(backward if gradients else forward, autograph=False).get_concrete_function(x)

    def step() -> float:
        started = time.process_time()
        function(x)
        return 1000 * (time.process_time() - started)

    return step


@contextmanager
def _child(python: str) -> Iterator[Callable[[dict[str, Any]], float]]:
    """A process of that Python which times a layer whenever it is asked; it ends with the block."""
    with Popen([python, str(BESIDE)], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask(question: dict[str, Any]) -> float:
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            answer = answers.readline()
            if not answer:
                raise click.ClickException(f"{python} {BESIDE} ended. Does it have torch, transformers and labml_nn?")
            return float(answer)

        try:
            yield ask
        finally:
            questions.close()


def _in_torch(ask: Callable[[dict[str, Any]], float], key: str, shape: Shape, gradients: bool) -> Step:
    question = shape._asdict() | {"layer": key, "gradients": gradients}
    return lambda: ask(question)


if __name__ == "__main__":
    sys.exit(main())
