"""Asks an exported SavedModel in another release of TensorFlow: in its C++ loader and in its Python.

    python3 -m venv other && other/bin/pip install tensorflow-cpu==2.19.1
    python tools/other_tensorflow.py runs/mine other/bin/python

The image that docker compose starts may have an older TensorFlow than the one that wrote the model. Every signature is
held against the trained model as an export does it; exit code 1 if one is off.
"""

import sys
from pathlib import Path

import click

from switch_tf.artifacts.saved_model import newest_version
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model import child_process
from switch_tf.export.saved_model.runner import SavedModelRunner
from switch_tf.runs.folder import open_run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("python", type=click.Path(exists=True))
@click.option("--texts", default=256, show_default=True, help="Hostile texts, beside the run's held-out ones.")
def main(run: Path, python: str, texts: int) -> None:
    """Ask the newest SavedModel of RUN in the TensorFlow that PYTHON has."""
    opened = open_run(run)
    folder = newest_version(run / "export" / "saved_model")
    if folder is None:
        raise click.UsageError(f"{run} has no SavedModel. Export it first.")
    child_process.PYTHON = python
    proof = Proof(opened, texts)
    runner = SavedModelRunner(folder, str(folder), opened.config.text.num_bytes)
    comparisons = [proof.compare(each) for each in (runner, runner.bytes_runner())]
    for each in comparisons:
        print(
            f"{each.door}: {each.texts} texts, {each.ids_equal} ids equal, {each.labels_equal} labels equal,", end=" "
        )
        print(f"max |dp| {each.max_abs_diff:.1e}", *each.problems, sep="; ")
    sys.exit(any(each.problems for each in comparisons))


if __name__ == "__main__":
    main()
