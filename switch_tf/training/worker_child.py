"""A process of `switch_tf.training.launching`: it trains along as TF_CONFIG says.

A line of JSON on stdin says what to train; stdin then stays open as long as the parent lives. An error on purpose is a
line of JSON on stdout: its class, message and argument. The exit code is the error's.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from switch_tf.config import config_from_dict
from switch_tf.data.request import request_of
from switch_tf.errors import SwitchTFError
from switch_tf.training.launching import Voice
from switch_tf.training.together import train_in_cluster
from switch_tf.training.workers import cluster_of


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _train(job)
    except SwitchTFError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "argument": error.argument}))
        sys.exit(error.exit_code)


def _train(job: dict[str, Any]) -> None:
    from rich.console import Console

    from switch_tf.reporting.data_survey import survey_lines
    from switch_tf.training.progress import TrainingProgress

    workers, voice = cluster_of(os.environ), Voice(**job["voice"])
    assert workers is not None
    quiet = voice.quiet or workers.index > 0  # the others tell nothing but what they fail of
    console = Console(stderr=True, markup=False, emoji=False, quiet=quiet, force_terminal=voice.terminal)

    def tell(report: dict[str, Any]) -> None:
        if voice.survey:
            console.print("\n".join(survey_lines(report)), highlight=False, soft_wrap=True)

    request, config = request_of(job["request"]), config_from_dict(job["config"], "the settings")
    with TrainingProgress(console) as progress:
        train_in_cluster(request, config, Path(job["output"]), progress, workers, job["resume"], tell=tell)


def _end_with_parent() -> None:
    sys.stdin.read()  # ends when the parent does
    os._exit(1)


if __name__ == "__main__":
    main()
