"""Prints the floor plan of the package as its imports say it is: rooms from the top down, what each stands on, circles.

`python tools/floor_plan.py` exits with 1 if an import goes up, a circle is closed, or a wall is broken; tests/
test_floor_plan.py holds the same. Imports count wherever they stand, inside functions and for types too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the top floor down; a room may import what stands on lower floors, and its own modules.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("switch_tf", "switch_tf.__main__"),
    ("switch_tf.cli",),
    ("switch_tf.api",),
    ("switch_tf.classifier",),
    ("switch_tf.calls",),
    ("switch_tf.training",),
    ("switch_tf.reporting",),
    ("switch_tf.export",),
    ("switch_tf.serving",),
    ("switch_tf.measuring",),
    ("switch_tf.artifacts",),
    ("switch_tf.models",),
    ("switch_tf.runs",),
    ("switch_tf.layers",),
    ("switch_tf.data",),
    ("switch_tf.config",),
    ("switch_tf.text",),
    ("switch_tf.locks",),
    ("switch_tf.files", "switch_tf.checksums", "switch_tf.settings", "switch_tf.presets", "switch_tf.expert_map"),
    ("switch_tf.errors", "switch_tf.version", "switch_tf.datasets", "switch_tf.environment", "switch_tf.timing"),
)
WITHOUT_TENSORFLOW = (
    "switch_tf.artifacts.onnx_file",
    "switch_tf.artifacts.tflite_file",
    "switch_tf.artifacts.opening",
    "switch_tf.artifacts.tensorflow",  # which loads it with the model
    "switch_tf.training.session",  # refuses data and settings before TensorFlow loads
    "switch_tf.training.progress",
    "switch_tf.training.autotune",
    "switch_tf.export.session",  # so does this
    "switch_tf.api",
    "switch_tf.classifier",
    "switch_tf.calls",
    "switch_tf.serving.job",
    "switch_tf.serving.pool",  # whose processes answer files
    "switch_tf.serving.spark",
)
CHILDREN = ("switch_tf.export.saved_model.python_child", "switch_tf.export.saved_model.loader_child")
_COMMAND_LINE = re.compile(r"(?<![\w-])--[a-z][a-z-]+|\bswitch-tf [a-z]")  # an option, or a command
# Files for other programs: what these say of a command line is theirs.
_OTHER_PROGRAMS = ("switch_tf.export.saved_model.serving_files",)


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for folder, prefix in ((ROOT / "switch_tf", "switch_tf"), (ROOT / "export", "switch_tf.export")):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if folder.name == "switch_tf" and parts[0] == "export":  # the symbolic link
                continue
            found[".".join([prefix, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(known: dict[str, Path], module: str, top_level: bool = False) -> set[str]:
    """What a module imports: modules of ours by their names, others by their first word.

    `top_level` leaves out what only some function imports, or a type checker.
    """
    tree = ast.parse(known[module].read_text(encoding="utf-8"))
    found = set()
    for node in _top_level(tree) if top_level else ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in names]
        found |= {name if name.startswith("switch_tf") else name.split(".")[0] for name in names}
    return found - {module}


def _top_level(tree: ast.Module) -> Iterator[ast.AST]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.Try):
            yield from node.body


def floor(module: str) -> int:
    """How far below the top a module stands, by the longest room that holds it."""
    best = max((room for rooms in FLOORS for room in rooms if _inside(module, room)), key=len)
    return next(number for number, rooms in enumerate(FLOORS) if best in rooms)


def _inside(module: str, room: str) -> bool:
    return module == room or (room != "switch_tf" and module.startswith(f"{room}."))


def rising(known: dict[str, Path]) -> list[str]:
    """Imports that go up."""
    return [
        f"{module} imports {other}, which stands above it"
        for module in sorted(known)
        for other in sorted(imports(known, module))
        if other in known and floor(other) < floor(module)
    ]


def circles(known: dict[str, Path]) -> list[str]:
    """Modules that import each other, by way of others or not, as one line for each knot."""
    below = {module: {other for other in imports(known, module) if other in known} for module in known}
    reached = {module: _reach(below, module) for module in known}
    knots = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in known
        if module in reached[module]
    }
    return [" and ".join(sorted(knot)) for knot in knots]


def _reach(below: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(below[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += below.get(module, ())
    return seen


def broken_walls(known: dict[str, Path]) -> list[str]:
    """What a room knows that it must not know."""
    top = {module: imports(known, module, top_level=True) for module in known}
    problems = [
        f"{module} loads TensorFlow by way of its imports"
        for module in WITHOUT_TENSORFLOW
        if {"tensorflow", "tf_keras"} & _reach(top, module)
    ]
    problems += [
        f"{module}, which runs by itself, imports {', '.join(ours)}"
        for module in CHILDREN
        if (ours := sorted(name for name in imports(known, module) if name.startswith("switch_tf")))
    ]
    for module in sorted(known):
        if floor(module) <= floor("switch_tf.cli") or module in _OTHER_PROGRAMS:
            continue
        problems += [
            f"{module} knows the command line: {words!r}" for words in _words_of_the_command_line(known[module])
        ]
    return problems


def _words_of_the_command_line(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "UsageError":
            yield "UsageError"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from _COMMAND_LINE.findall(node.value)


def main() -> None:
    """Print the plan, and what is wrong with it."""
    known = modules()
    for rooms in FLOORS:
        for room in rooms:
            inside = [module for module in known if floor(module) == floor(room) and _inside(module, room)]
            if not inside:
                continue
            stands_on = {
                next(each for each in FLOORS[floor(other)] if _inside(other, each))
                for module in inside
                for other in imports(known, module)
                if other in known and floor(other) != floor(room)
            }
            print(f"{room:24}{len(inside):3} modules  on {', '.join(sorted(stands_on)) or 'nothing'}")
    problems = [*rising(known), *(f"circle: {each}" for each in circles(known)), *broken_walls(known)]
    print(f"{len(known)} modules, {len(circles(known))} circles, {len(rising(known))} imports that go up")
    for problem in problems:
        print(problem)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
