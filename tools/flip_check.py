"""Flips bits and cuts ends of a run folder and its artifacts, and sees that no answer changes without a word.

    python tools/flip_check.py RUN [--flips 500] [--seed 0]

RUN is a trained run with artifacts under RUN/export. Each damage is made to a copy of one file, which is then opened
and asked some texts. What must come of it is a clear error or the answers of the whole file; a changed answer is silent
damage, and any other exception is a traceback that a user would see. Exits with 1 if there is one of either.
"""

import argparse
import collections
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.saved_model import newest_version
from switch_tf.errors import SwitchTFError

TEXTS = (
    "",
    "lovely great film",
    "a dull and awful plot",
    "warm cast, cold story",
    "\N{WHITE SMILING FACE} unknown words",
)
_CUTS = 5  # one damage in so many is a truncation


class Damage(NamedTuple):
    """What was done: to which file of which model, and at which byte; `bit` is None where the rest was cut off."""

    model: str
    file: str
    byte: int
    bit: int | None


def main() -> None:
    """Make the damages, and count what comes of them by kind of model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        originals = copy_models(options.run, Path(place))
        answers = {name: load_predictor(path).probabilities(TEXTS) for name, path in originals.items()}
        random = np.random.default_rng(options.seed)
        for _ in range(options.flips):
            damage = draw(originals, random)
            outcome, detail = outcome_of(originals, answers, damage)
            counts[damage.model, outcome] += 1
            if outcome in ("silent", "traceback"):
                print(f"{outcome}: {damage}: {detail}", flush=True)
    bad = sum(count for (_, outcome), count in counts.items() if outcome in ("silent", "traceback"))
    for (model, outcome), count in sorted(counts.items()):
        print(f"{model:28}{outcome:12}{count:5}")
    print(f"{counts.total()} damages, {bad} of them silent or a traceback")
    sys.exit(bool(bad))


def copy_models(run: Path, place: Path) -> dict[str, Path]:
    """A copy of the run and of every artifact of it that takes texts, files once with their manifest and once alone."""
    shutil.copytree(run, place / "run", ignore=shutil.ignore_patterns("export"))
    models = {"run": place / "run"}
    saved_model = newest_version(run / "export" / "saved_model")
    if saved_model is not None:
        models["saved_model"] = Path(shutil.copytree(saved_model, place / "saved_model"))
    for file in sorted([*(run / "export").glob("*.onnx"), *(run / "export").glob("*.tflite")]):
        if "-ids" in file.name:  # answers no texts
            continue
        for name, siblings in (
            (f"{file.name}", [file]),
            (f"{file.name} + manifest", sorted(file.parent.glob(f"{file.name}*"))),
        ):
            folder = place / name
            folder.mkdir()
            for sibling in siblings:
                shutil.copy(sibling, folder)
            models[name] = folder / file.name
    return models


def draw(models: dict[str, Path], random: np.random.Generator) -> Damage:
    """A place to damage: every model and every file of it is as likely as the others, whatever their sizes."""
    model = str(random.choice(sorted(models)))
    folder = models[model] if models[model].is_dir() else models[model].parent
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    file = files[random.integers(len(files))]
    size = (folder / file).stat().st_size
    # Ends and beginnings hold what formats are made of: half of the damages are there.
    byte = int(random.integers(size)) if random.random() < 0.5 else _near_an_end(size, random)
    return Damage(model, str(file), byte, None if random.integers(_CUTS) == 0 else int(random.integers(8)))


def _near_an_end(size: int, random: np.random.Generator) -> int:
    offset = int(random.integers(min(size, 400)))
    return offset if random.random() < 0.5 else size - 1 - offset


def outcome_of(models: dict[str, Path], answers: dict[str, np.ndarray], damage: Damage) -> tuple[str, str]:
    """("refused", "unchanged", "silent" or "traceback", what was seen); the file is whole again afterwards."""
    path = models[damage.model]
    file = (path if path.is_dir() else path.parent) / damage.file
    whole = file.read_bytes()
    content = bytearray(whole)
    if damage.bit is None:
        del content[damage.byte :]
    else:
        content[damage.byte] ^= 1 << damage.bit
    file.write_bytes(content)
    try:
        received = load_predictor(path).probabilities(TEXTS)
    except SwitchTFError as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - that there is none is what is checked
        return "traceback", repr(error)
    finally:
        file.write_bytes(whole)
    expected = answers[damage.model]
    same = received.shape == expected.shape and bool((received == expected).all())
    return ("unchanged", "") if same else ("silent", f"{expected.tolist()} became {received.tolist()}")


if __name__ == "__main__":
    main()
