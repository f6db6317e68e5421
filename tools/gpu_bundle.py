"""What `gpu_check.py run` needs, made where TensorFlow is: StableHLO, weights, inputs, and the CPU's answers to them.

A bundle is a folder:

    manifest.json     what each module is, takes and answers
    model.npz         weights, inputs and answers of the model
    modules/*.mlir    StableHLO as portable artifacts, which any newer XLA reads

The model's modules are those of the exported SavedModel's signatures `ids` and `bytes`. The layer's take their weights
as arguments, which are drawn from a seed where they are run: those of 64 experts would be 1.2 GB. All are compiled with
TF32 off, which marks their products as of the highest precision.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from gpu_check import draw, sampled

Arrays = dict[str, np.ndarray]
LIMIT = 60 * 10**6  # bytes
CAPACITY_FACTOR = 1.25
_COMPARED = 256 * 10**6  # bytes of weights up to which the CPU answers a layer as well


def prepare(run: Path, bundle: Path, batches: Sequence[int], texts: int, layers: Sequence[dict[str, int]]) -> int:
    """Write a bundle of a run; how many bytes it has.

    Args:
        run: a run folder.
        bundle: where to; it must not exist.
        batches: sizes to compile the model for; the first is the one that its answers are compared in.
        texts: to compare, the run's held-out and hostile ones; rounded up to whole batches of the first size.
        layers: `d_model`, `d_ff`, `experts`, `batch` and `length` of each layer.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    (bundle / "modules").mkdir(parents=True)
    arrays: Arrays = {}
    manifest: dict[str, Any] = {"run": run.name, "model": [], "layers": []}
    _add_model(run, bundle, batches, texts, manifest, arrays)
    for layer in layers:
        for kind in ("switch", "dense"):
            for gradients in (False, True):
                manifest["layers"].append(_add_layer(bundle, layer, kind, gradients, arrays))
    np.savez(bundle / "model.npz", **arrays)  # type: ignore[arg-type]
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=1))
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    if size > LIMIT:
        raise click.ClickException(f"{bundle} has {size:,} bytes. Expected at most {LIMIT:,}: take a smaller model.")
    return size


def _add_model(
    path: Path,
    bundle: Path,
    batches: Sequence[int],
    texts: int,
    manifest: dict[str, Any],
    arrays: Arrays,
) -> None:
    """Both signatures in every batch size, and what the trained model answers on the CPU."""
    import tensorflow as tf

    from switch_tf.export.proof.gate import Proof
    from switch_tf.export.proof.reference import ask_reference
    from switch_tf.export.saved_model.build import export_saved_model
    from switch_tf.runs.folder import open_run
    from switch_tf.text.byte_codes import kept_bytes, pack

    run = open_run(path)
    count = math.ceil(texts / batches[0]) * batches[0]
    proof = Proof(run, texts=count)
    spec = proof.model.spec
    asked = [kept_bytes(spec, text) for text in proof.texts]
    asked = [asked[number % len(asked)] for number in range(count)]
    reference = ask_reference(proof.model, asked)
    arrays |= {"bytes": pack(asked, spec.num_bytes), "ids": reference.answers.ids.astype(np.int32)}
    arrays |= {"probabilities": reference.answers.probabilities, "near_tie": reference.near_tie}
    with tempfile.TemporaryDirectory() as folder:
        exported, _ = export_saved_model(run, proof, Path(folder, "saved_model"))
        model = tf.saved_model.load(str(exported))
    for door in ("ids", "bytes"):
        for batch in batches:
            shape = [batch, *arrays[door].shape[1:]]
            entry = _lower(_asker(model.signatures[door], door), [tf.TensorSpec(shape, arrays[door].dtype)], arrays)
            manifest["model"].append({"door": door, "batch": batch} | _store(bundle, f"{door}-{batch}", entry))
    manifest |= {"parameters": int(proof.model.classifier.count_params()), "text": spec.as_dict()}


def _asker(signature: Any, door: str) -> Callable[..., Any]:
    return lambda given: signature(**{door: given})["probabilities"]


def _add_layer(bundle: Path, layer: dict[str, int], kind: str, gradients: bool, arrays: Arrays) -> dict[str, Any]:
    """One layer from x [batch, length, d_model] and its weights; `gradients` answers those of x and all weights."""
    import tensorflow as tf

    width, hidden = layer["d_model"], layer["d_ff"]
    compute: Callable[..., Any]
    shapes = {"x": [layer["batch"], layer["length"], width]}
    if kind == "switch":
        compute, weights = _switch(layer, gradients)
    else:
        compute, weights = _dense, {"w_in": [width, hidden], "b_in": [hidden]}
        weights |= {"w_out": [hidden, width], "b_out": [width]}
    shapes |= weights

    def function(x: tf.Tensor, *weights: tf.Tensor) -> Any:
        if not gradients:
            return compute(x, *weights)
        with tf.GradientTape() as tape:
            tape.watch([x, *weights])
            y = compute(x, *weights)
            loss = tf.reduce_sum(y * y)
        return tape.gradient(loss, [x, *weights], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    name = f"{kind}-{width}-{layer['experts']}-{'gradients' if gradients else 'forward'}"
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes.values()]
    stored = _store(bundle, name, _lower(function, specs, None))
    if not gradients and sum(4 * math.prod(shape) for shape in shapes.values()) <= _COMPARED:
        y = tf.function(function, autograph=False)(*map(tf.constant, draw(shapes).values()))
        arrays[name] = sampled(y.numpy())
    return layer | {"kind": kind, "gradients": gradients, "name": name, "shapes": shapes} | stored


def _switch(layer: dict[str, int], training: bool) -> tuple[Callable[..., Any], dict[str, list[int]]]:
    """Our layer with weights that are given to it, and their shapes by name; none is allocated."""
    import tensorflow as tf

    from switch_tf.layers import SwitchFFN

    shapes: dict[str, list[int]] = {}

    class Given(SwitchFFN):
        def _add(self, name: str, shape: list[int], *_: Any, attribute: str | None = None, **__: Any) -> None:
            shapes[attribute or name] = shape

    switch = Given(layer["experts"], layer["d_ff"], capacity_factor=CAPACITY_FACTOR)
    switch.build([None, layer["length"], layer["d_model"]])

    def compute(x: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        for name, weight in zip(shapes, weights, strict=True):
            setattr(switch, name, weight)
        return switch.route(x, tf.ones(x.shape[:2], tf.bool), training)[0]

    return compute, shapes


def _dense(x: Any, w_in: Any, b_in: Any, w_out: Any, b_out: Any) -> Any:
    """What each token computes in one expert."""
    import tensorflow as tf

    return tf.matmul(tf.nn.relu(tf.matmul(x, w_in) + b_in), w_out) + b_out


def _lower(function: Callable[..., Any], specs: Sequence[Any], arrays: Arrays | None) -> dict[str, Any]:
    """A function's StableHLO, what it answers, and the names in `arrays` of the weights it takes behind `specs`."""
    import tensorflow as tf

    traced = tf.function(function, input_signature=list(specs), jit_compile=True, autograph=False)
    concrete = traced.get_concrete_function()
    ir = traced.experimental_get_compiler_ir(*specs)
    text = ir(stage="stablehlo")
    _check(text)
    weights = [] if arrays is None else [_keep(arrays, value) for value in _captured(concrete)]
    (main,) = [line for line in text.splitlines() if "func.func @main(" in line or "func.func public @main(" in line]
    if main.count("%arg") != len(specs) + len(weights):
        raise click.ClickException(f"The module takes other arguments than {len(specs)} and {len(weights)} weights.")
    answers = [{"shape": each.shape.as_list(), "dtype": each.dtype.name} for each in tf.nest.flatten(concrete.outputs)]
    return {"content": ir(stage="stablehlo_serialized"), "weights": weights, "answers": answers}


def _check(text: str) -> None:
    """Refuse a module that a GPU would compute otherwise, or not at all."""
    products = [line for line in text.splitlines() if "stablehlo.dot" in line]
    if any("precision = [HIGHEST, HIGHEST]" not in line for line in products):
        raise click.ClickException("A product is not of the highest precision: a GPU would compute it in TF32.")
    if "stablehlo.custom_call" in text:
        raise click.ClickException("A custom call is in the module, which another device may not have.")


def _captured(concrete: Any) -> list[np.ndarray]:
    """The values of what a function takes from around it, in the order of the module's arguments."""
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    return [variables[id(each)].numpy() if id(each) in variables else each.numpy() for each in concrete.captured_inputs]


def _keep(arrays: Arrays, values: np.ndarray) -> str:
    """The name under which `values` are in `arrays`, once however many modules take them."""
    name = f"weight-{hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()[:16]}"
    arrays[name] = values
    return name


def _store(bundle: Path, name: str, lowered: dict[str, Any]) -> dict[str, Any]:
    module = f"modules/{name}.mlir"
    (bundle / module).write_bytes(lowered.pop("content"))
    return {"module": module} | lowered
