"""Every error raised on purpose, with the exit code the command line gives it.

    SwitchTFError          1   the root: catch it to catch them all
    ├── ConfigError        1   a setting is unknown, of the wrong type, or out of range
    ├── DataError          1   a data file or a text cannot be used
    ├── RunError           1   a run folder is missing, unfinished, damaged or in the way
    ├── ModelError         1   an exported model cannot be read or has an unexpected signature
    ├── ExportError        1   a model cannot be turned into the format asked for
    ├── ArgumentError      2   arguments of a call do not fit together
    ├── UsageError         2   the command's words do not fit together
    └── ParityError        3   an exported model does not answer as the trained one does

Each message says what was received, what was expected and what to do next, in words that fit a notebook as well as a
terminal: where an argument is to blame, `argument` names it, and the command line says which option that is.
"""


class SwitchTFError(Exception):
    """Root of the tree; `exit_code` is what the process returns when the error reaches the command line."""

    exit_code = 1

    def __init__(self, message: str, argument: str | None = None):
        """`argument` is the name of the parameter that would have to change, where there is one."""
        super().__init__(message)
        self.argument = argument


class ConfigError(SwitchTFError):
    """A setting is unknown, of the wrong type, or out of range."""


class DataError(SwitchTFError):
    """A data file or a text cannot be used; the message names file, line and column where there is one."""


class RunError(SwitchTFError):
    """A run folder is missing, unfinished, damaged or in the way."""


class ModelError(SwitchTFError):
    """An exported model cannot be read, or its signature is not the expected one."""


class ExportError(SwitchTFError):
    """A trained model cannot be turned into the format asked for."""


class ArgumentError(SwitchTFError, ValueError):
    """Arguments of a call do not fit together, or one has a value that means nothing here.

    It is a `ValueError` too, which is what callers in Python expect of such arguments.
    """

    exit_code = 2


class UsageError(SwitchTFError):
    """The command's words do not fit together."""

    exit_code = 2


class ParityError(SwitchTFError):
    """An exported model does not answer as the trained one does; nothing of it is left on disk."""

    exit_code = 3
