"""One writer at a time, and what a killed one left is gone when the next begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from switch_tf import files, locks
from switch_tf.errors import RunError

# Holds what it is told to until it is killed, and says when it does.
HOLDER = """
import sys, time
from pathlib import Path
from switch_tf import locks
manager = locks.scratch() if sys.argv[1] == "scratch" else locks.locked(Path(sys.argv[1]), "trained")
with manager as inside:
    print(inside, flush=True)
    time.sleep(600)
"""


class Holder:
    """A process that holds a lock or a temporary folder."""

    def __init__(self, what: object, temporary: Path):
        environment = os.environ | {"TMPDIR": str(temporary)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(what)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestLocked:
    def test_it_is_held_in_the_block_alone(self, tmp_path: Path) -> None:
        with locks.locked(tmp_path / "run", "trained"):
            assert names(tmp_path) == [".run.lock"]
        assert names(tmp_path) == []

    def test_a_second_holder_is_refused_and_hears_who_has_it(self, tmp_path: Path) -> None:
        holder = Holder(tmp_path / "run", tmp_path)
        try:
            with (
                pytest.raises(
                    RunError, match=rf"run is being trained by process {holder.process.pid} on .*, since "
                ) as it,
                locks.locked(tmp_path / "run", "trained"),
            ):
                raise AssertionError
            assert "Wait for it, or name another place." in str(it.value)
            assert it.value.argument == "output"
            with locks.locked(tmp_path / "other", "trained"):
                pass
        finally:
            holder.kill()

    def test_a_killed_holder_gives_it_back_and_its_litter_goes(self, tmp_path: Path) -> None:
        Holder(tmp_path / "run", tmp_path).kill()
        assert names(tmp_path) == [".run.lock"]
        (tmp_path / ".run.abcd1234.part").mkdir()
        (tmp_path / ".run.abcd1234.part" / "file").touch()
        kept = [".run2.abcd1234.part", ".run.abcd1234"]
        for name in [*kept, ".run.efgh5678.part"]:
            (tmp_path / name).touch()
        with locks.locked(tmp_path / "run", "trained"):
            assert names(tmp_path) == sorted([*kept, ".run.lock"])
        assert names(tmp_path) == sorted(kept)

    def test_names_with_characters_of_patterns_are_themselves(self, tmp_path: Path) -> None:
        for name in (".r[un]*.abcd1234.part", ".ru.abcd1234.part"):
            (tmp_path / name).touch()
        with locks.locked(tmp_path / "r[un]*", "trained"):
            pass
        assert names(tmp_path) == [".ru.abcd1234.part"]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
    def test_folders_made_for_it_go_if_nothing_came_into_them(
        self, failure: type[BaseException], tmp_path: Path
    ) -> None:
        with pytest.raises(failure), locks.locked(tmp_path / "a" / "b" / "run", "trained"):
            raise failure
        assert names(tmp_path) == []
        with locks.locked(tmp_path / "a" / "b" / "run", "trained"):
            (tmp_path / "a" / "file").touch()
        assert names(tmp_path / "a") == ["file"]

    def test_a_parent_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with (
            pytest.raises(RunError, match=r"run cannot be written: .*\. Nothing was changed\."),
            locks.locked(tmp_path / "file" / "run", "trained"),
        ):
            raise AssertionError


class TestScratch:
    def test_it_is_gone_when_the_block_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with locks.scratch() as folder:
            (folder / "file").touch()
            assert folder.parent.parent == tmp_path
        with pytest.raises(KeyboardInterrupt), locks.scratch():
            raise KeyboardInterrupt
        assert names(tmp_path) == []

    def test_those_of_the_dead_are_removed_and_those_of_the_living_are_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        living, dead = Holder("scratch", tmp_path), Holder("scratch", tmp_path)
        try:
            dead.kill()
            assert Path(living.said).is_dir() and Path(dead.said).is_dir()
            # Without a lock yet: one that is being made at this moment, and one whose maker died before it had a lock.
            for name, age in (("switch-tf-fresh123", 0), ("switch-tf-old12345", 3600)):
                (tmp_path / name).mkdir()
                time = (tmp_path / name).stat().st_mtime - age
                os.utime(tmp_path / name, (time, time))
            with locks.scratch():
                assert Path(living.said).is_dir()
                assert not Path(dead.said).parent.exists()
            assert names(tmp_path) == sorted([Path(living.said).parent.name, "switch-tf-fresh123"])
        finally:
            living.kill()


def test_an_interruption_of_cleaning_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    remove, interruptions = files._remove, [KeyboardInterrupt]

    def interrupted(path: Path) -> None:
        if interruptions:
            raise interruptions.pop()
        remove(path)

    monkeypatch.setattr(files, "_remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.remove(tmp_path / "folder")
    assert names(tmp_path) == []
