"""What compiles for machines that are not here: XLA on the CPU, static shapes, CUDA's kernels, TPUs.

    python tools/compile_checks.py xla runs/quickstart        ids, bytes and the training step compile under XLA
    python tools/compile_checks.py static runs/quickstart     and hold no shape that only running decides
    python tools/compile_checks.py onnx runs/quickstart       the ids graph is one that CUDA runs whole
    python tools/compile_checks.py growth                     more experts, the same work
    python tools/compile_checks.py tpu runs/quickstart        compiles for TPUs, in an environment that it makes

Nothing is run on a GPU or TPU: the words are "compiles for", never "runs on". Each check has a negative control, which
must fail, or else the check shows nothing.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
BATCH = 8
GROWTH = (4, 8, 16, 64)  # experts
JAX = ("jax[tpu]==0.10.2", "tensorflow>=2.21", "tf-keras>=2.21")
GENERATIONS = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2")

environment_option = click.option(
    "--environment", type=click.Path(path_type=Path), help="Keep the virtual environment there, and use it if it is."
)
run_argument = click.argument("run", type=click.Path(path_type=Path, exists=True))


@click.group()
def main() -> None:
    """Checks by compilers and tables, each one command."""


@main.command()
@run_argument
def xla(run: Path) -> None:
    """Compile ids, bytes and the training step with XLA for the CPU, and compare the answers."""
    from switch_tf.export.proof.corpus import adversarial_texts
    from switch_tf.text.byte_codes import pack

    model = _load(run)
    texts = adversarial_texts(model.spec, model.vocabulary, 50 * BATCH, seed=0)
    rows = []
    for name, (ask, feed) in _compiled(model).items():
        differences = []
        for start in range(0, len(texts), BATCH):
            raw = pack(texts[start : start + BATCH], model.spec.num_bytes)
            expected = model.classify_bytes(raw)["probabilities"].numpy()
            differences.append(np.abs(ask(feed(raw))["probabilities"].numpy() - expected).max())
        rows.append((name, f"{len(texts)} texts", f"{max(differences):.1e}", max(differences) <= 1e-5))
    plain, compiled = _train_two_steps(run, False), _train_two_steps(run, True)
    rows.append(("training step", "2 steps, loss", f"{abs(plain - compiled):.1e}", abs(plain - compiled) <= 1e-4))
    _finish("XLA, CPU", ("compiled", "asked", "max difference", ""), rows)


@main.command()
@run_argument
def static(run: Path) -> None:
    """Look through the StableHLO of ids and bytes for shapes that only running decides, control flow, custom calls."""
    import tensorflow as tf

    model = _load(run)
    rows = []
    for name, (ask, feed) in _compiled(model).items():
        hlo = _lower(ask, feed(np.zeros([BATCH, model.spec.num_bytes], np.uint8)))
        found = sorted(set(_dynamic(hlo)))
        rows.append((name, f"{hlo.count(chr(10)):,} lines", ", ".join(found) or "none", not found))
    ids = tf.zeros([BATCH, model.spec.sequence_length], tf.int32)
    mask = tf.function(lambda ids: tf.boolean_mask(ids, ids > 3), jit_compile=True, autograph=False)
    control = sorted(set(_dynamic(_lower(mask, ids))))
    rows.append(("control: boolean_mask", "", ", ".join(control) or "none", bool(control)))
    _finish("What only running decides", ("graph", "StableHLO", "found", ""), rows)


@main.command()
@run_argument
def onnx(run: Path) -> None:
    """Hold the ids graph, with a fixed batch, against the table of CUDA's kernels."""
    from onnx import ModelProto

    from switch_tf.export.onnx_file.build import build_onnx
    from switch_tf.export.onnx_file.cuda_kernels import cpu_operators
    from switch_tf.export.onnx_file.passes import to_opset
    from switch_tf.runs.folder import open_run

    rows = []
    for dispatch in ("gather", "einsum"):
        built = build_onnx(open_run(run), _load(run, dispatch), "ids", BATCH)
        left = sorted(set(cpu_operators(built)))
        rows.append(
            (f"ids, batch {BATCH}, {dispatch}", f"{len(built.graph.node)}", ", ".join(left) or "none", not left)
        )
    later = ModelProto.FromString(built.SerializeToString())
    control = sorted(set(cpu_operators(to_opset(later, {"": 20}, 9))))
    rows.append(("control: the same at opset 20", f"{len(later.graph.node)}", ", ".join(control), bool(control)))
    _finish("Left to the CPU by ONNX Runtime's CUDA provider", ("graph", "nodes", "operators", ""), rows)


@main.command()
@environment_option
def growth(environment: Path | None) -> None:
    """Count what one block of the base preset computes for 4 to 64 experts, by XLA's cost analysis.

    Three formulations: gathers, one-hot products, and every expert on every token. The counts are those of the
    compiled module's matrix products and elementwise operations, as JAX reports XLA's analysis.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [_environment(environment or Path(folder, "venv"), JAX), __file__, "count-flops"]
        finished = subprocess.run(words, capture_output=True, text=True, check=False, env=_jax_environment())
    if finished.returncode:
        raise click.ClickException(finished.stderr.strip()[-2000:])
    counts = json.loads(finished.stdout.splitlines()[-1])
    table = Table(title=f"Forward, L=256, batch {BATCH}, from ids: MFLOPs by XLA's cost analysis", title_justify="left")
    for name in ("experts", *counts):
        table.add_column(name, justify="right")
    for index, experts in enumerate(GROWTH):
        table.add_row(f"{experts}", *(f"{each[index] / 1e6:,.0f}" for each in counts.values()))
    Console().print(table)
    spread = max(counts["gather"]) / min(counts["gather"])
    click.echo(f"gather: the most is {spread:.3f} of the least; expected at most 1.15")
    sys.exit(spread > 1.15)


@main.command()
@run_argument
@environment_option
def tpu(run: Path, environment: Path | None) -> None:
    """Compile the SavedModel's ids signature for three TPU generations, in a virtual environment with jax[tpu].

    It downloads about 1.5 GB. libtpu, which compiles, has a licence of its own.
    """
    from switch_tf.export.proof.gate import Proof
    from switch_tf.export.saved_model.build import export_saved_model
    from switch_tf.runs.folder import open_run

    with tempfile.TemporaryDirectory() as folder:
        opened = open_run(run)
        saved_model, _ = export_saved_model(opened, Proof(opened, texts=8), Path(folder, "saved_model"))
        python = _environment(environment or Path(folder, "venv"), JAX)
        words = [python, __file__, "compile-for-tpu", str(saved_model), str(opened.config.text.sequence_length)]
        finished = subprocess.run(words, capture_output=True, text=True, check=False, env=_jax_environment())
    if finished.returncode:
        raise click.ClickException(finished.stderr.strip()[-2000:])
    rows = [tuple(row) for row in json.loads(finished.stdout.splitlines()[-1])]
    _finish("Compiles for TPU (nothing was run on one)", ("device", "MFLOPs", "MB accessed", "HBM, MB", "", ""), rows)


@main.command(hidden=True)
def count_flops() -> None:
    """The part of `growth` that needs JAX: FLOPs by formulation, in the order of GROWTH, as JSON."""
    import jax

    counts: dict[str, list[float]] = {"gather": [], "einsum": [], "all experts": []}
    for experts in GROWTH:
        for name, function in _formulations(experts).items():
            ids = np.random.default_rng(0).integers(2, 1000, [BATCH, 256]).astype(np.int32)
            from jax.experimental import jax2tf

            compiled = jax.jit(jax2tf.call_tf(function)).lower(ids).compile()
            counts[name].append(float(compiled.cost_analysis()["flops"]))
    click.echo(json.dumps(counts))


@main.command(hidden=True)
@click.argument("saved_model")
@click.argument("length", type=int)
def compile_for_tpu(saved_model: str, length: int) -> None:
    """The part of `tpu` that needs JAX: a row for each generation and one for the same module on the CPU, as JSON."""
    import jax
    import tensorflow as tf
    from jax.experimental import jax2tf, topologies
    from jax.sharding import SingleDeviceSharding

    model = tf.saved_model.load(saved_model)
    signature = model.signatures["ids"]  # it holds the weights only as long as `model` is held
    ask = tf.function(lambda ids: signature(ids=ids)["probabilities"], jit_compile=True, autograph=False)
    shape = jax.ShapeDtypeStruct((BATCH, length), np.int32)
    checks = [jax.export.DisabledSafetyCheck.platform()]
    exported = jax.export.export(jax.jit(jax2tf.call_tf(ask)), platforms=["cpu"], disabled_checks=checks)(shape)
    rows: list[list[Any]] = []
    for topology in GENERATIONS:
        device = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]
        placed = jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=SingleDeviceSharding(device))
        compiled = jax.jit(exported.call).trace(placed).lower().compile()
        cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
        hbm = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        figures = (cost["flops"] / 1e6, cost["bytes accessed"] / 1e6, hbm / 1e6)
        rows.append([device.device_kind, *(f"{figure:,.1f}" for figure in figures), "compiles", True])
    ids = np.random.default_rng(0).integers(0, 900, shape.shape).astype(np.int32)
    off = float(np.abs(np.asarray(jax.jit(exported.call)(ids)) - ask(tf.constant(ids)).numpy()).max())
    rows.append(["the same module, CPU", "", "", "", f"max difference {off:.1e}", off <= 1e-6])
    click.echo(json.dumps(rows))


def _load(run: Path, dispatch: Any = None) -> Any:
    from switch_tf.export.proof.gate import Proof
    from switch_tf.runs.folder import open_run

    return Proof(open_run(run), texts=1, dispatch=dispatch).exported


def _compiled(model: Any) -> dict[str, tuple[Any, Callable[[np.ndarray], Any]]]:
    """By input: what asks the compiled graph, and what makes its input of rows of bytes."""
    import tensorflow as tf

    def compiled(function: Any, width: int, kind: tf.DType) -> Any:
        spec = [tf.TensorSpec([BATCH, width], kind)]
        return tf.function(function.python_function, input_signature=spec, jit_compile=True, autograph=False)

    return {
        "ids": (
            compiled(model.classify_ids, model.spec.sequence_length, tf.int32),
            lambda raw: model.tokenize_bytes(raw)["ids"],
        ),
        "bytes": (compiled(model.classify_bytes, model.spec.num_bytes, tf.uint8), tf.constant),
    }


def _train_two_steps(run: Path, jit_compile: bool) -> float:
    """The loss after two steps of the run's model without dropout, which XLA would draw otherwise."""
    import tensorflow as tf
    import tf_keras as keras

    from switch_tf.runs.folder import open_run
    from switch_tf.training.trainer import Trainer

    opened = open_run(run)
    plain: dict[str, Any] = {"dropout": 0.0, "expert_dropout": 0.0, "token_dropout": 0.0, "router_jitter": 0.0}
    config = dataclasses.replace(
        opened.config,
        model=dataclasses.replace(opened.config.model, **plain),
        train=dataclasses.replace(opened.config.train, jit_compile=jit_compile, batch_size=BATCH),
    )
    keras.utils.set_random_seed(0)
    trainer = Trainer(config, len(opened.vocabulary) + 2, len(opened.labels), total_steps=10)
    random = np.random.default_rng(0)
    ids = tf.constant(random.integers(0, len(opened.vocabulary), [BATCH, config.text.sequence_length]), tf.int32)
    labels, weights = tf.constant(random.integers(0, len(opened.labels), [BATCH]), tf.int32), tf.ones([BATCH])
    for step in range(2):
        result = trainer.step(ids, labels, weights, tf.constant(step))
    return float(result.loss)


def _lower(ask: Any, feed: Any) -> str:
    return ask.experimental_get_compiler_ir(feed)(stage="stablehlo")


def _dynamic(module: str) -> Iterator[str]:
    """Signs, in the text of a StableHLO module, of what only running decides, or of what no compiler can look into."""
    signs = {
        "dynamic dimension": r"tensor<[^>]*\?",
        "bounded dimension": "stablehlo.bounds",
        "custom call": "stablehlo.custom_call",
        "control flow": r"stablehlo\.(while|case|if)\b",
    }
    for sign, pattern in signs.items():
        if re.search(pattern, module):
            yield sign
    for size in re.findall(r"set_dimension_size %\w+, (%\w+),", module):
        if not re.search(rf"{size} = stablehlo\.constant\b", module):  # that of top_k is a constant
            yield "dimension of a size to compute"


def _formulations(experts: int) -> dict[str, Any]:
    """The base preset with that many experts, from ids, by name of what brings tokens to experts."""
    import tensorflow as tf

    from switch_tf.config import load_config
    from switch_tf.models.classifier import SwitchClassifier

    def classify(*changes: str) -> Any:
        config = load_config("base", assignments=[f"model.num_experts={experts}", *changes])
        classifier = SwitchClassifier(config, 1000, 2)
        classifier.initialize()
        return tf.function(lambda ids: classifier(ids).logits, jit_compile=True, autograph=False)

    return {
        "gather": classify(),
        "einsum": classify("model.dispatch=einsum"),
        # A slot for every token in every expert: each runs on all of them.
        "all experts": classify("model.drop_tokens=false"),
    }


def _environment(folder: Path, packages: tuple[str, ...]) -> str:
    """The Python of a virtual environment with packages and this project, made if it is not there."""
    python = str(folder.absolute() / "bin" / "python")
    if not Path(python).exists():
        click.echo(f"Making a virtual environment with {', '.join(packages)}", err=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    project = str(Path(__file__).parents[1])
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages, "-e", project], check=True)
    return python


def _jax_environment() -> dict[str, str]:
    return os.environ | {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def _finish(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a table whose last cells say whether it holds, and exit with 1 if one does not."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name)
    for *cells, ok in rows:
        table.add_row(*cells, "✓" if ok else "✗")
    Console().print(table)
    sys.exit(not all(row[-1] for row in rows))


if __name__ == "__main__":
    main()
