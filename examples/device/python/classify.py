"""Classifies texts with an exported TFLite file; needs numpy and ai-edge-litert alone.

python classify.py MODEL TEXT...    one line per text: its label, a tab, the probability of each label
"""

import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Classifier:
    """A model that was exported with the default batch or with `--batch 1`."""

    def __init__(self, path: str):
        with zipfile.ZipFile(path) as archive:  # behind the model
            self.labels = json.loads(archive.read("labels.json"))
        self._run = Interpreter(model_path=path).get_signature_runner("bytes")
        batch, self._byte_length = self._run.get_input_details()["bytes"]["shape"]
        if batch != 1:
            raise ValueError(f"{path} takes {batch} texts at a time. Export it without --batch, or with --batch 1.")

    def __call__(self, text: str) -> tuple[str, np.ndarray]:
        """The label and the probability of each label, float32 [labels]."""
        start = text.encode()[: self._byte_length]
        row = np.zeros([1, self._byte_length], np.uint8)
        row[0, : len(start)] = np.frombuffer(start, np.uint8)
        answer = self._run(bytes=row)
        return self.labels[answer["label"][0]], answer["probabilities"][0]


def main(path: str, *texts: str) -> None:
    classify = Classifier(path)
    for text in texts:
        label, probabilities = classify(text)
        print(label, *(f"{probability:.7f}" for probability in probabilities), sep="\t")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        sys.exit(f"classify.py: {error}")
