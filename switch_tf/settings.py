"""What settings are made of: validated fields that carry their reason, TOML files, and `KEY=VALUE` words."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from switch_tf.errors import ConfigError

STRICT = ConfigDict(extra="forbid", strict=True, validate_default=True, allow_inf_nan=False)
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


def setting(default: Any, why: str) -> Any:
    """A dataclass field whose reason travels with it into the help and the docs."""
    return field(default=default, metadata={"why": why})


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file, not yet validated.

    Raises:
        ConfigError: it is missing or not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no settings file {file}. Check the path.", argument="file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}.") from error


def parse_assignment(assignment: str) -> dict[str, Any]:
    """`model.num_experts=8` as {"model": {"num_experts": 8}}; a value that is not TOML is taken as a string."""
    matched = re.fullmatch(r"\s*(\w+)\.(\w+)\s*=\s*(.*?)\s*", assignment, re.DOTALL)
    if matched is None:
        raise ConfigError(
            f"Received the setting {assignment!r}. Expected TABLE.KEY=VALUE, such as model.num_experts=8."
        )
    table, key, text = matched.groups()
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return {table: {key: value}}


def merge(values: dict[str, dict[str, Any]], update: dict[str, Any], where: str) -> None:
    refuse_loose_settings(update, where)
    for table, keys in update.items():
        values.setdefault(table, {}).update(keys)


def refuse_loose_settings(values: dict[str, Any], where: str) -> None:
    for key, value in values.items():
        if not isinstance(value, dict):
            raise ConfigError(f"In {where}: {key!r} stands outside the tables [text], [model], [train] and [wide].")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The known names that `name` may be a slip for, to be set behind it; empty if there are none. Tables do not count.

    >>> did_you_mean("text.num_expert", ["train.epochs", "model.num_experts"])
    ' (did you mean model.num_experts?)'
    """
    names = {each.rpartition(".")[2]: each for each in known}
    close = difflib.get_close_matches(name.rpartition(".")[2], names, n=2, cutoff=0.7)
    return f" (did you mean {' or '.join(names[each] for each in close)}?)" if close else ""


def explain(table: str, problem: Any, known: Sequence[str]) -> str:
    """What is wrong with a setting of `table`; `known` are the dotted names that there are."""
    key = ".".join([table, *(str(part) for part in problem["loc"])])
    received = problem.get("input")
    if problem["type"] == "unexpected_keyword_argument":
        return f"there is no setting {key}{did_you_mean(key, known)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    shown = f" (received {received!r})" if problem["loc"] else ""
    return f"{key}: {message[0].lower()}{message[1:]}{shown}"
