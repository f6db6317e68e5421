"""Write docs/command-line.md from the commands' own help, so that the two cannot disagree.

Usage: python tools/command_line_reference.py
"""

from pathlib import Path
from typing import Any

import click

from switch_tf.cli.commands import commands

REFERENCE = Path(__file__).parents[1] / "docs" / "command-line.md"
_WIDTH = 100


def reference() -> str:
    """The page: every command's help, in the order of `switch-tf --help`."""
    settings: dict[str, Any] = {**commands.context_settings, "terminal_width": _WIDTH}
    with click.Context(commands, info_name="switch-tf", **settings) as root:
        pages = [("switch-tf", commands.get_help(root))]
        for name in commands.list_commands(root):
            command = commands.commands[name]
            with click.Context(command, info_name=name, parent=root, **settings) as context:
                pages.append((f"switch-tf {name}", command.get_help(context)))
    sections = [f"## {title}\n\n```text\n{text}\n```\n" for title, text in pages]
    return "# Command line\n\n" + "\n".join(sections)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
