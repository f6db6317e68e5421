"""What TF Serving is started with, beside the versions of a SavedModel: configuration, docker compose, and how to ask.

The server reads folders with numbers for names and passes over these files. Each export rewrites them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from switch_tf import files
from switch_tf.artifacts.base import describe
from switch_tf.export.marked_files import MARK
from switch_tf.export.saved_model.warmup import LARGEST_BATCH
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.runs.folder import Run

# The newest release that is known to have an image. Its TensorFlow's C++ loader was asked every signature, with
# `tools/other_tensorflow.py`; no server was run.
IMAGE = "tensorflow/serving:2.19.1"
TEXT = "A warm, funny and beautifully acted film."  # what README asks; no quote in it, for the shell

FILES = ("models.config", "batching_params.pbtxt", "docker-compose.yml", "README.md")
_NOTE = f"# {MARK}\n"


def write_serving_files(
    folder: Path, run: Run, model: TextClassifier, signatures: Mapping[str, Any], largest_batch: int = LARGEST_BATCH
) -> None:
    """Write models.config, batching_params.pbtxt, docker-compose.yml and README.md into the folder of the versions.

    `signatures` says what goes in and out of each, as the manifest has it.

    Raises:
        RunError: one cannot be written.
    """
    name = served_name(run)
    files.write_text(folder / "models.config", f"{_NOTE}{_models_config(name)}")
    files.write_text(folder / "batching_params.pbtxt", f"{_NOTE}{_batching_parameters(largest_batch)}")
    files.write_text(folder / "docker-compose.yml", f"{_NOTE}{_COMPOSE.format(name=name, image=IMAGE)}")
    files.write_text(folder / "README.md", _readme(name, model, signatures, largest_batch))


def served_name(run: Run) -> str:
    """The model's name in the server, from that of the run's folder: letters, digits, dots, dashes, underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run.path.resolve().name).strip("-.") or "model"


def _models_config(name: str) -> str:
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=f"/models/{name}", model_platform="tensorflow")
    return text_format.MessageToString(config)


def allowed_batch_sizes(largest: int) -> list[int]:
    """Rising to the largest, as the server demands.

    >>> allowed_batch_sizes(64), allowed_batch_sizes(6)
    ([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 6])
    """
    return [*(2**power for power in range((largest - 1).bit_length())), largest]


def _batching_parameters(largest: int) -> str:
    """BatchingParameters as text.

    Source: tensorflow_serving/servables/tensorflow/session_bundle_config.proto in github.com/tensorflow/serving.
    """
    return f"""# Requests that come together are answered together, filled up to the next of these sizes.
max_batch_size {{ value: {largest} }}  # texts; a request of more is refused
batch_timeout_micros {{ value: 1000 }}  # how long a request waits for others
max_enqueued_batches {{ value: 100 }}
{"".join(f"allowed_batch_sizes: {size}{chr(10)}" for size in allowed_batch_sizes(largest))}"""


_COMPOSE = """# Start it in this folder with `docker compose up`.
services:
  serving:
    image: {image}
    volumes:
      - type: bind
        source: .
        target: /models/{name}
        read_only: true
    command:
      - --model_config_file=/models/{name}/models.config
      - --enable_batching=true
      - --batching_parameters_file=/models/{name}/batching_params.pbtxt
    ports:  # to this machine alone
      - "127.0.0.1:8500:8500"  # gRPC
      - "127.0.0.1:8501:8501"  # REST
"""


def _readme(name: str, model: TextClassifier, signatures: Mapping[str, Any], largest: int) -> str:
    (probabilities,) = model.probabilities([TEXT])  # [classes]
    answer = describe(probabilities, model.labels, rejection=model.rejection)
    classified, rejecting = list(answer["probabilities"].items()), ""
    if model.rejection is not None:
        label, threshold = model.rejection.label, float(str(np.float32(model.rejection.threshold)))
        classified.append((label, threshold))
        rejecting = _REJECTING.format(label=json.dumps(label, ensure_ascii=False), threshold=threshold)
    scores = list(answer["probabilities"].values())

    def as_json(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def listed(tensors: Mapping[str, Any]) -> str:
        return ", ".join(
            f"`{key}`: {each['type']} [{', '.join(map(str, each['shape']))}]" for key, each in tensors.items()
        )

    rows = [f"| `{key}` | {listed(each['inputs'])} | {listed(each['outputs'])} |" for key, each in signatures.items()]
    return _README.format(
        name=name,
        mark=MARK,
        tensorflow=tf.__version__,
        text=TEXT,
        largest=largest,
        image=IMAGE,
        byte_length=model.spec.num_bytes,
        predict=as_json({"instances": [TEXT]}),
        predicted=as_json({"predictions": [{"label": answer["label"], "probabilities": scores}]}),
        classify=as_json({"signature_name": "classify", "examples": [{"text": TEXT}]}),
        classified=as_json({"results": [[list(each) for each in classified]]}),
        rejecting=rejecting,
        classes=as_json(model.labels),
        signatures="\n".join(rows),
    )


_REJECTING = """
A text that fits no class is answered {label}: its label is that where no probability reaches {threshold}. `ids` and
`bytes` answer the index behind the last class. `classify` has it as one more class, whose score is that threshold: the
class of the highest score is the answer.
"""

_README = """# {name} in TF Serving

{mark} Folders with numbers for names are versions of the model,
of which the server takes the highest; the other files say how to start it. All of it moves as one folder.

## Start

```sh
docker compose up
```

It takes the image `{image}` and answers on this machine alone, by REST on port 8501 and by gRPC on
port 8500. The model was exported with TensorFlow {tensorflow}; a later image is as good, if there is one.

## Ask by REST

```sh
curl http://localhost:8501/v1/models/{name}:predict -d '{predict}'
```

```json
{predicted}
```

The probabilities stand in the order of the classes, {classes}. `classify` names them:

```sh
curl http://localhost:8501/v1/models/{name}:classify -d '{classify}'
```

```json
{classified}
```
{rejecting}
The answers above are the trained model's; last digits may differ from one machine to another.

## Ask by gRPC

After `pip install tensorflow-serving-api`:

```python
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = "{name}"
request.model_spec.signature_name = "serving_default"
request.inputs["text"].CopyFrom(tf.make_tensor_proto(["{text}"]))
stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel("localhost:8500"))
outputs = stub.Predict(request, timeout=10).outputs
print(tf.make_ndarray(outputs["label"]), tf.make_ndarray(outputs["probabilities"]))
```

## Signatures

| signature | inputs | outputs |
|---|---|---|
{signatures}

- `batch` is any number up to {largest}: `batching_params.pbtxt` sets the limit.
- `bytes` takes UTF-8 with zeros behind it, and reads {byte_length} bytes.
- `inputs` of `classify` are serialized tf.Example with a bytes feature `text`; REST makes them of its `examples`.

## What was tried

Each version was loaded by TensorFlow's C++ loader, the one in TF Serving, with XLA off as in the stock server. There
every signature answered some hundred texts as the trained model does (`assets.extra/manifest.json` has the figures),
and every warm-up record was replayed. The server's own program (REST, gRPC, batching) was not run.
"""
