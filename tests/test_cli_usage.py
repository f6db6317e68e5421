"""The command line's help, and how it refuses what it is not meant for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ask

from switch_tf.cli.commands import commands

COMMANDS = [
    "distill",
    "evaluate",
    "experts",
    "export",
    "generate",
    "predict",
    "prune",
    "quickstart",
    "tokenize",
    "train",
    "verify",
]


class TestHelp:
    @pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
    def test_every_command_explains_itself(self, command: list[str]) -> None:
        for option in ("--help", "-h"):
            answer = ask(*command, option)
            assert (answer.code, answer.err) == (0, "")
            assert answer.out.startswith(" ".join(["Usage: switch-tf", *command]))

    def test_the_commands_are_the_ones_there_are(self) -> None:
        assert sorted(commands.commands) == COMMANDS
        out = ask("--help").out
        assert all(f"\n  {name} " in out for name in COMMANDS)

    def test_help_of_train_lists_every_setting_and_preset(self) -> None:
        from switch_tf.config import describe_settings
        from switch_tf.presets import PRESETS

        out = ask("train", "--help").out
        assert all(f"{key}=" in out for key, _, _ in describe_settings())
        assert "\n  tiny   nothing\n" in out
        assert all(f"\n  {name} " in out for name in PRESETS)

    def test_version_is_the_one_installed(self) -> None:
        from importlib.metadata import version

        assert ask("--version").out == f"switch-tf, version {version('switch-tf')}\n"

    def test_help_comes_at_once_and_loads_nothing_heavy(self) -> None:
        code = """
import sys
from switch_tf.cli import main
try:
    main(["--help"])
finally:
    heavy = {"tensorflow", "tf_keras", "pyarrow", "numpy", "pydantic", "rich", "sklearn", "matplotlib", "onnx"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n"
        # Time of the processor, which other programs do not take from us, beside what Python alone needs.
        assert min(self.seconds("-c", "from switch_tf.cli import main; main(['--help'])") for _ in range(3)) < 0.5

    @staticmethod
    def seconds(*arguments: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["nonsense"], "No such command 'nonsense'"),
            (["predict"], "Missing argument 'MODEL'"),
            (["predict", "MODEL"], "Received neither a text nor --input. Expected one of the two"),
            (["predict", "MODEL", "a", "--input", "b"], "Received both texts and --input. Expected one of the two"),
            (["predict", "MODEL", "a", "--top", "0"], "0 is not in the range x>=1"),
            (["evaluate", "MODEL"], "Missing argument 'DATA'"),
            (["export", "MODEL"], "Missing option '--format'"),
            (
                ["export", "MODEL", "--format", "tensorrt"],
                "'tensorrt' is not one of 'saved_model', 'tflite', 'onnx', 'all'",
            ),
            (["train", "--preset", "huge"], "'huge' is not one of 'auto', 'tiny', 'base', 'large'"),
            (["train", "--epochs", "many"], "'many' is not a valid integer"),
            (["train", "a.tsv", "b.tsv"], "Got unexpected extra argument (b.tsv)"),
            (["train", "--debug"], "No such option"),
        ],
    )
    def test_words_that_do_not_fit_end_with_2(self, words: list[str], message: str) -> None:
        answer = ask(*words)
        assert (answer.code, answer.out) == (2, "")
        assert message in " ".join(answer.err.split())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ["predict", "none", "a"],
                "Error: none does not exist. Expected a run folder, or what an export wrote",
            ),
            (["evaluate", "none", "none.csv"], "Error: There is no none.csv. Expected"),
            (["evaluate", "none", "reviews"], "Error: none does not exist. Expected a run folder"),
            (["export", "none", "--format", "saved_model"], "Error: There is no run folder none. Expected what"),
            (["export", "--format", "saved_model"], "Error: There is no run under"),
            (["train", "none.csv"], "Error: There is no none.csv. Expected"),
            (["train", "--resume"], "Error: There is no unfinished run under"),
            (["train", "--resume", "--output", "x"], "Error: There is nothing to resume: no folder x.unfinished."),
            (["train", "--output", "."], "Error: . is no name for a new folder."),
            (["train", "--set", "model.experts=8"], "there is no setting model.experts"),
            (["train", "--set", "experts=8"], "Expected TABLE.KEY=VALUE, such as model.num_experts=8."),
            (["train", "--set", "train.epochs=0"], "train.epochs: "),
            (["train", "--seed", "-1"], "train.seed: "),
            (["train", "--config", "none.toml"], "There is no settings file none.toml."),
        ],
    )
    def test_what_the_user_can_put_right_ends_with_1_and_a_message(
        self, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        answer = ask(*words)
        assert (answer.code, answer.out) == (1, "")
        assert message in answer.err
        assert "Traceback" not in answer.err
        assert list(tmp_path.iterdir()) == []

    def test_debug_shows_the_traceback_and_the_message(self, tmp_path: Path) -> None:
        answer = ask("--debug", "predict", tmp_path / "none", "a")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("Traceback (most recent call last)")
        assert "switch_tf.errors.ModelError" in answer.err
        assert answer.err.splitlines()[-1].startswith("Error: ")

    def test_a_text_that_begins_with_a_minus_is_told_where_to_go(self) -> None:
        hint = "A text that begins with - goes behind --: switch-tf predict MODEL -- TEXT\n"
        answer = ask("predict", "MODEL", "-5 stars, awful")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.endswith(f"Error: No such option '-5'.\n{hint}")
        assert hint not in ask("evaluate", "MODEL", "-5").err
        assert ask("predict", "MODEL", "--", "-5 stars").err.startswith("Error: MODEL does not exist.")

    @pytest.mark.parametrize("words", [["--quiet", "train", "--verbose"], ["train", "--quiet", "--verbose"]])
    def test_quiet_and_verbose_exclude_each_other(self, words: list[str]) -> None:
        answer = ask(*words)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == "Error: Received both --quiet and --verbose. Expected one of the two, or neither.\n"

    @pytest.mark.parametrize(("shell", "begins"), [("bash", "_switch_tf_completion()"), ("zsh", "#compdef switch-tf")])
    def test_a_shell_is_given_what_completes_commands(self, shell: str, begins: str) -> None:
        words = [sys.executable, "-m", "switch_tf"]
        variables = os.environ | {"_SWITCH_TF_COMPLETE": f"{shell}_source"}
        script = subprocess.run(words, capture_output=True, text=True, check=True, env=variables)
        assert (script.stdout.strip().startswith(begins), script.stderr) == (True, "")
        variables |= {"_SWITCH_TF_COMPLETE": "bash_complete", "COMP_WORDS": "switch-tf pre", "COMP_CWORD": "1"}
        completed = subprocess.run(words, capture_output=True, text=True, check=True, env=variables)
        assert (completed.stdout, completed.stderr) == ("plain,predict\n", "")

    def test_an_interruption_ends_with_130_and_a_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("switch_tf.artifacts.opening.load_predictor", interrupt)
        answer = ask("predict", "none", "a")
        assert (answer.code, answer.out, answer.err.strip()) == (130, "", "Error: Interrupted.")


class TestWorkers:
    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--workers", "0"], 2, "'--workers': 0 is not in the range x>=1"),
            (["--workers", "2", "--objective", "span"], 2, "Received --workers 2 with --objective span"),
            (["--workers", "3"], 1, "such as train.batch_size = 63. On the command line: `switch-tf train --help`"),
            (["--workers", "2", "--set", "train.jit_compile=true"], 1, "train.jit_compile = true is for one worker"),
        ],
    )
    def test_what_they_cannot_do_is_refused(self, words: list[str], code: int, said: str, tmp_path: Path) -> None:
        answer = ask("train", "reviews", "--preset", "tiny", "--output", tmp_path / "run", *words)
        assert (answer.code, answer.out) == (code, "") and said in answer.err
        assert list(tmp_path.iterdir()) == []

    def test_a_cluster_wants_their_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = {"worker": ["127.0.0.1:9", "127.0.0.1:10"]}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
        answer = ask("train", "reviews", "--preset", "tiny", "--output", tmp_path / "run")
        assert answer.code == 1 and "TF_CONFIG names a cluster of 2 workers" in answer.err
        assert answer.err.endswith("to train apart from it. On the command line: --workers.\n")
