"""The command line: one command per verb, each thin."""

from switch_tf.cli.commands import main

__all__ = ["main"]
