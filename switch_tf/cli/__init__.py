"""The command line: one command per verb, each thin."""

import sys

from switch_tf.cli.process import last_words, stopping_on_signals

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; every error on purpose is a message and an exit code."""
    try:
        with stopping_on_signals():  # the commands take a quarter of a second to load
            from switch_tf.cli.commands import main as run
    except KeyboardInterrupt as stopped:
        message, code = last_words(stopped)
        sys.stderr.write(f"\nError: {message}\n")
        sys.exit(code)
    run(arguments)
