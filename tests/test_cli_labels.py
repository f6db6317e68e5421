"""Labels that could be taken for markup are printed as they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Quiet, ask, made_up_rows, tiny_config, write_tsv

LABELS = ("[spam]", ":smile:", "日本")  # the library that prints the tables could take two of them for markup


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with such labels and its data."""
    from switch_tf.data.request import DataRequest
    from switch_tf.training.session import train

    folder = tmp_path_factory.mktemp("[b]")
    rows = [(text, LABELS[number % 3]) for number, (text, _) in enumerate(made_up_rows(30))]
    data = write_tsv(folder / "names.tsv", rows)
    return train(DataRequest(str(data)), tiny_config("train.epochs=1"), folder / "run", Quiet()).path, data


class TestNames:
    def test_they_are_printed_as_they_are(self, labelled: tuple[Path, Path]) -> None:
        answer = ask("evaluate", *labelled)
        assert answer.code == 0, answer.err
        assert all(label in answer.out for label in LABELS)

    @pytest.mark.slow
    def test_json_is_utf8_in_every_locale_and_a_reader_may_leave_early(
        self, labelled: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """One process for both: it takes seconds to start."""
        (tmp_path / "a.txt").write_text("a film\n" * 2_000)  # whose answers are more than a pipe holds
        words = ["predict", str(labelled[0]), "--input", str(tmp_path / "a.txt"), "--json"]
        with subprocess.Popen(
            [sys.executable, "-c", "from switch_tf.cli import main; main()", *words],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout and process.stderr
            row = json.loads(process.stdout.readline().decode())
            process.stdout.close()
            errors = process.stderr.read().decode()
        assert sorted(row["probabilities"]) == sorted(LABELS)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors and "Error" not in errors and "Exception ignored" not in errors
