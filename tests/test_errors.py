"""Exit codes are a contract with scripts, and the tree drawn for readers must be the tree there is."""

import inspect
import re
from typing import Any

import pytest

from switch_tf import errors
from switch_tf.errors import SwitchTFError

MEMBERS: list[tuple[str, Any]] = inspect.getmembers(errors, inspect.isclass)
CLASSES = {name: kind for name, kind in MEMBERS if kind.__module__ == errors.__name__}


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawn = dict(re.findall(r"^ +(?:[├└]── )?(\w+Error) +(\d)   \S", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {name: str(kind.exit_code) for name, kind in CLASSES.items()}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SwitchTFError", 1),
        ("ConfigError", 1),
        ("DataError", 1),
        ("RunError", 1),
        ("ModelError", 1),
        ("ExportError", 1),
        ("ArgumentError", 2),
        ("UsageError", 2),
        ("ParityError", 3),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    assert CLASSES[name].exit_code == code


@pytest.mark.parametrize("kind", CLASSES.values())
def test_every_error_is_caught_by_the_root_and_says_what_it_was_told(kind: type[SwitchTFError]) -> None:
    with pytest.raises(SwitchTFError, match=r"^what happened$"):
        raise kind("what happened")
    assert kind is SwitchTFError or kind.__bases__[0] is SwitchTFError
    assert kind.__doc__


def test_an_argument_that_means_nothing_is_a_value_error_too() -> None:
    others = [name for name, kind in CLASSES.items() if kind.__bases__ not in ((SwitchTFError,), (Exception,))]
    assert others == ["ArgumentError"]
    assert issubclass(errors.ArgumentError, ValueError)
