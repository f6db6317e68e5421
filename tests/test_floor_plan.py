"""The layout is held by its imports: none goes up, no circle is closed, and no wall has a hole."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import floor_plan


def test_no_import_goes_up_closes_a_circle_or_breaks_a_wall() -> None:
    known = floor_plan.modules()
    assert len(known) > 80
    assert floor_plan.rising(known) == []
    assert floor_plan.circles(known) == []
    assert floor_plan.broken_walls(known) == []


def test_what_is_built_has_every_package() -> None:
    root = Path(__file__).parents[1]
    named = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    files = [file for top in ("switch_tf", "export") for file in (root / top).rglob("__init__.py")]
    folders = [".".join(file.parent.relative_to(root).parts) for file in files]
    assert sorted(named) == sorted(f"switch_tf.{name}" if name.startswith("export") else name for name in folders)


@pytest.mark.parametrize("module", floor_plan.WITHOUT_TENSORFLOW)
def test_these_load_no_tensorflow(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


class TestItSees:
    """Broken on purpose, each kind is reported."""

    @staticmethod
    def written(tmp_path: Path, **sources: str) -> dict[str, Path]:
        known = {}
        for name, source in sources.items():
            path = tmp_path / f"{name}.py"
            path.write_text(source, encoding="utf-8")
            known[f"switch_tf.{name.replace('__', '.')}"] = path
        return known

    def test_an_import_that_goes_up_even_inside_a_function(self, tmp_path: Path) -> None:
        source = "def f():\n    from switch_tf.training.loop import fit\n"
        known = self.written(tmp_path, data__tables=source, training__loop="")
        expected = "switch_tf.data.tables imports switch_tf.training.loop, which stands above it"
        assert floor_plan.rising(known) == [expected]
        assert floor_plan.circles(known) == []

    def test_a_circle_by_way_of_a_third(self, tmp_path: Path) -> None:
        known = self.written(
            tmp_path,
            text__a="import switch_tf.text.b",
            text__b="from switch_tf.text import c",
            text__c="from switch_tf.text.a import x",
        )
        assert floor_plan.circles(known) == ["switch_tf.text.a and switch_tf.text.b and switch_tf.text.c"]
        assert floor_plan.rising(known) == []

    @pytest.mark.parametrize(
        ("source", "seen"),
        [
            ("raise ValueError('leave --batch out')", "'--batch'"),
            ("x = f'made by `switch-tf train {1}`'", "'switch-tf t'"),
            ("def f(error):\n    raise UsageError(error)", "'UsageError'"),
        ],
    )
    def test_words_of_the_command_line(self, source: str, seen: str, tmp_path: Path) -> None:
        known = floor_plan.modules() | self.written(tmp_path, data__made=source)
        assert floor_plan.broken_walls(known) == [f"switch_tf.data.made knows the command line: {seen}"]

    def test_tensorflow_behind_an_adapter(self, tmp_path: Path) -> None:
        known = floor_plan.modules() | self.written(tmp_path, artifacts__base="import tensorflow as tf")
        assert f"{floor_plan.WITHOUT_TENSORFLOW[0]} loads TensorFlow by way of its imports" in floor_plan.broken_walls(
            known
        )

    def test_a_child_program_that_imports_ours(self, tmp_path: Path) -> None:
        known = floor_plan.modules() | {floor_plan.CHILDREN[0]: tmp_path / "child.py"}
        (tmp_path / "child.py").write_text("from switch_tf import files", encoding="utf-8")
        expected = f"{floor_plan.CHILDREN[0]}, which runs by itself, imports switch_tf.files"
        assert floor_plan.broken_walls(known) == [expected]
