"""What TF Serving is handed: warm-up records that run, configuration it can parse, and a page whose lines are true."""

import json
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from switch_tf.errors import ModelError, ParityError, RunError
from switch_tf.export.proof.gate import Proof
from switch_tf.export.saved_model import build as savedmodel_export
from switch_tf.export.saved_model import warmup as serving_warmup
from switch_tf.export.saved_model.build import export_saved_model
from switch_tf.export.saved_model.loader import run_in_loader
from switch_tf.export.saved_model.serving_files import (
    TEXT,
    allowed_batch_sizes,
    served_name,
)
from switch_tf.export.saved_model.warmup import WARMUP, batch_sizes, read_warmup
from switch_tf.runs.folder import Run, open_run

pytestmark = pytest.mark.slow

BATCH_SIZES = (1, 8, 64)

PREDICTED = {"serving_default", "ids", "bytes", "tokenize", "tokenize_bytes"}


@pytest.fixture(scope="module")
def exported(exported_saved_model) -> Path:
    return exported_saved_model[0]


@pytest.fixture(scope="module")
def signatures(exported):
    model = tf.saved_model.load(str(exported))
    return SimpleNamespace(keeps=model, **dict(model.signatures.items()))


@pytest.fixture(scope="module")
def readme(exported) -> str:
    return (exported.parent / "README.md").read_text(encoding="utf-8")


class TestWarmup:
    def test_every_signature_is_asked_in_every_size_by_its_own_method(self, exported):
        records = tf.data.TFRecordDataset(str(exported / WARMUP)).as_numpy_iterator()
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
        asked = set()
        for log in logs:
            if log.WhichOneof("log_type") == "classify_log":
                request, (size, method) = log.classify_log.request, (0, "classify")
                size = len(request.input.example_list.examples)
            else:
                request, method = log.predict_log.request, "predict"
                ((_, tensor),) = request.inputs.items()
                size = tensor.tensor_shape.dim[0].size
            asked.add((method, request.model_spec.signature_name, size))
        expected = {("predict", name, size) for name in PREDICTED for size in BATCH_SIZES}
        assert asked == expected | {("classify", "classify", size) for size in BATCH_SIZES}
        assert len(logs) == len(asked)

    def test_they_hold_words_of_the_vocabulary_and_no_text_of_the_data(self, exported, trained_run):
        words = {word.encode() for word in open_run(trained_run).vocabulary}
        calls = [call for call in read_warmup(exported, "x") if call.signature == "serving_default"]
        for call in calls:
            assert all(set(text.split(b" ")) <= words for text in np.asarray(call.inputs["text"]).tolist())

    def test_the_gate_replays_them(self, exported):
        calls = read_warmup(exported, "x")
        assert [len(next(iter(call.inputs.values()))) for call in calls] == sorted(BATCH_SIZES * 6)
        for call, answer in zip(calls, run_in_loader(exported, "x", calls), strict=True):
            assert all(len(array) == call.batch for array in answer.values())

    def test_a_record_that_fails_stops_the_export_and_nothing_is_left(
        self, trained_run, trained_proof, tmp_path, monkeypatch
    ):
        broken = prediction_log_pb2.PredictionLog()
        broken.classify_log.request.model_spec.signature_name = "classify"
        broken.classify_log.request.input.example_list.examples.add()  # that has no text
        records = [*serving_warmup.warmup_records(trained_proof.model), broken.SerializeToString()]
        monkeypatch.setattr(serving_warmup, "warmup_records", lambda *_: records)
        output = tmp_path / "saved_model"
        with pytest.raises(ParityError, match=r"warm-up record 19: .*Feature: text .*is required"):
            export_saved_model(open_run(trained_run), trained_proof, output)
        assert not output.exists()

    @pytest.mark.parametrize(
        ("request_of", "message"),
        [
            (("other", {"text": ["a"]}), "no signature other"),
            (("", {"ids": [1]}), r"gives serving_default the inputs \['ids'\]. Expected \['text'\]"),
            (("ids", {"ids": np.ones([1, 12], np.int64)}), r"record 1 gives ids ids as int64 \[1, 12\]"),
            (("ids", {"ids": np.ones([1, 13], np.int32)}), r"int32 \[1, 13\]. Expected int32 \[None, 12\]"),
        ],
    )
    def test_a_request_that_the_server_would_refuse_is_refused(self, exported, tmp_path, request_of, message):
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.model_spec.signature_name = request_of[0]
        for name, value in request_of[1].items():
            log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        folder = with_records(exported, tmp_path / "bad", [log.SerializeToString()])
        with pytest.raises(ModelError, match=message):
            run_in_loader(folder, "x", read_warmup(folder, "x"))

    def test_what_is_no_predict_or_classify_request_is_refused(self, exported, tmp_path):
        wrong = prediction_log_pb2.PredictionLog()
        wrong.classify_log.request.model_spec.signature_name = "serving_default"
        other = prediction_log_pb2.PredictionLog()
        other.session_run_log.request.feed.add()
        for number, (record, message) in enumerate(
            [
                (wrong.SerializeToString(), "asks serving_default to classify, whose method is .*/predict, not"),
                (other.SerializeToString(), "warm-up record 1 is a session_run_log. Expected"),
                (b"no protocol buffer", "warm-up records cannot be read"),
            ]
        ):
            folder = with_records(exported, tmp_path / str(number), [record])
            with pytest.raises(ModelError, match=message):
                read_warmup(folder, "x")
        (folder / WARMUP).write_bytes(b"no record either")
        with pytest.raises(ModelError, match="warm-up records cannot be read"):
            read_warmup(folder, "x")
        (folder / WARMUP).unlink()
        assert read_warmup(folder, "x") == []


def with_records(saved_model: Path, to: Path, records: list[bytes]) -> Path:
    """A copy with other warm-up records; it lacks the weights."""
    shutil.copytree(saved_model, to, ignore=shutil.ignore_patterns("variables"))
    with tf.io.TFRecordWriter(str(to / WARMUP)) as writer:
        for record in records:
            writer.write(record)
    return to


class TestConfiguration:
    def test_all_files_mean_the_same_model(self, exported, readme, trained_run):
        name = served_name(open_run(trained_run))
        content = (exported.parent / "models.config").read_text(encoding="utf-8")
        config = text_format.Parse(content, model_server_config_pb2.ModelServerConfig())
        (model,) = config.model_config_list.config
        assert (model.name, model.base_path, model.model_platform) == (name, f"/models/{name}", "tensorflow")
        compose = (exported.parent / "docker-compose.yml").read_text(encoding="utf-8")
        lines = [line.strip() for line in compose.splitlines()]
        assert f"target: /models/{name}" in lines and "image: tensorflow/serving:2.19.1" in lines
        assert f"- --model_config_file=/models/{name}/models.config" in lines
        assert f"- --batching_parameters_file=/models/{name}/batching_params.pbtxt" in lines
        for file in ("models.config", "batching_params.pbtxt"):
            assert (exported.parent / file).is_file()
        urls = re.findall(r"http://localhost:8501/v1/models/([^:/\s]+):", readme)
        assert urls == [name, name] and f'model_spec.name = "{name}"' in readme

    def test_batches_are_of_sizes_that_the_server_takes(self, exported):
        content = (exported.parent / "batching_params.pbtxt").read_text(encoding="utf-8")
        parameters = text_format.Parse(content, batching_parameters())
        sizes = list(parameters.allowed_batch_sizes)
        assert sizes == sorted(set(sizes)) == [1, 2, 4, 8, 16, 32, 64]
        assert parameters.max_batch_size.value == sizes[-1]
        assert set(BATCH_SIZES) <= set(sizes)  # so that warm-up runs what requests will
        assert parameters.batch_timeout_micros.value == 1000 and parameters.max_enqueued_batches.value == 100

    @pytest.mark.parametrize(
        ("folder", "name"),
        [("made", "made"), ("a b/ü:x", "x"), ("v1.2_b-3", "v1.2_b-3"), ("é", "model"), ("..x", "x"), ("a b", "a-b")],
    )
    def test_the_name_fits_into_an_address(self, folder, name, tmp_path):
        assert served_name(cast(Run, SimpleNamespace(path=tmp_path / folder))) == name

    @pytest.mark.parametrize("largest", [1, 2, 3, 5, 8, 100, 256])
    def test_sizes_rise_to_the_largest_and_hold_those_of_the_warm_up(self, largest):
        sizes = allowed_batch_sizes(largest)
        assert sizes == sorted(set(sizes)) and (sizes[0], sizes[-1]) == (1, largest)
        assert batch_sizes(largest)[-1] == largest and len(batch_sizes(largest)) <= 3


def batching_parameters():
    """An empty BatchingParameters, which no package ships.

    Numbers and types: tensorflow_serving/servables/tensorflow/session_bundle_config.proto in github.com/tensorflow/
    serving. Fields that the exported file does not use are left out.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="test", syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(("max_batch_size", "batch_timeout_micros", "max_enqueued_batches"), 1):
        wrapped = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        message.field.add(name=name, number=number, type=wrapped, label=1, type_name=".google.protobuf.Int64Value")
    whole = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
    message.field.add(name="allowed_batch_sizes", number=6, type=whole, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))()


def test_a_file_that_cannot_be_written_stops_the_export(trained_run, trained_proof, tmp_path, monkeypatch):
    monkeypatch.setattr(trained_proof, "check", lambda runner: None)
    monkeypatch.setattr(savedmodel_export, "write_manifest", lambda *arguments: None)
    (tmp_path / "README.md" / "in the way").mkdir(parents=True)
    with pytest.raises(RunError, match=r"README\.md cannot be written"):
        export_saved_model(open_run(trained_run), trained_proof, tmp_path)
    assert not (tmp_path / "1").exists()


class TestReadme:
    def test_the_curl_lines_get_the_answers_below_them(self, readme, signatures):
        """TF Serving's REST names, https://www.tensorflow.org/tfx/serving/api_rest, over the exported signatures."""
        asked = re.findall(r"^(curl .*)\n```\n\n```json\n(.*)\n```$", readme, re.MULTILINE)
        (predict, predicted), (classify, classified) = [(shlex.split(line)[-1], answer) for line, answer in asked]
        request = json.loads(predict)
        assert set(request) == {"instances"}  # and so to serving_default
        answer = signatures.serving_default(text=tf.constant(request["instances"]))
        (row,) = json.loads(predicted)["predictions"]
        assert row["label"] == answer["label"].numpy()[0].decode()
        assert row["probabilities"] == pytest.approx(answer["probabilities"].numpy()[0].tolist(), abs=1e-6)

        request = json.loads(classify)
        assert request["signature_name"] == "classify"
        answer = signatures.classify(inputs=tf.constant([as_example(each) for each in request["examples"]]))
        (pairs,) = json.loads(classified)["results"]
        assert [label for label, _ in pairs] == [each.decode() for each in answer["classes"].numpy()[0]]
        assert [score for _, score in pairs] == pytest.approx(answer["scores"].numpy()[0].tolist(), abs=1e-6)

    def test_the_grpc_example_is_understood_and_answered(self, readme, signatures, trained_run, capsys):
        """A server of TF Serving's protocol, in this process, with the exported signatures behind it."""
        name = served_name(open_run(trained_run))

        class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                assert request.model_spec.name == name
                inputs = {key: tf.constant(tf.make_ndarray(each)) for key, each in request.inputs.items()}
                answer = getattr(signatures, request.model_spec.signature_name)(**inputs)
                outputs = {key: tf.make_tensor_proto(each.numpy()) for key, each in answer.items()}
                return predict_pb2.PredictResponse(outputs=outputs)

        server = grpc.server(ThreadPoolExecutor(1))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            (example,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
            exec(example.replace("localhost:8500", f"127.0.0.1:{port}"), {})  # noqa: S102
        finally:
            server.stop(None).wait()
        expected = signatures.serving_default(text=tf.constant([TEXT]))
        shown = f"{expected['label'].numpy()} {expected['probabilities'].numpy()}"
        assert capsys.readouterr().out.strip() == shown

    def test_the_table_has_every_signature_as_it_is(self, readme, signatures, exported):
        rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", readme, re.MULTILINE)
        assert {name for name, *_ in rows} == PREDICTED | {"classify"}
        for name, inputs, outputs in rows:
            signature = getattr(signatures, name)
            for column, specs in (
                (inputs, signature.structured_input_signature[1]),
                (outputs, signature.structured_outputs),
            ):
                listed = dict(re.findall(r"`(\w+)`: (\w+ \[.*?\])", column))
                assert listed == {
                    key: f"{each.dtype.name} [{', '.join(['batch', *map(str, each.shape[1:])])}]"
                    for key, each in specs.items()
                }

    def test_it_says_what_was_not_run(self, readme):
        assert "The server's own program (REST, gRPC, batching) was not run." in readme


def as_example(features: dict[str, str]) -> bytes:
    """What TF Serving makes of an object under `examples`."""
    example = tf.train.Example()
    for name, value in features.items():
        example.features.feature[name].bytes_list.value.append(value.encode())
    return example.SerializeToString()


@pytest.mark.parametrize("name", ["models.config", "batching_params.pbtxt", "docker-compose.yml", "README.md"])
def test_a_file_of_the_users_own_is_not_replaced(trained_run, tmp_path, name):
    (tmp_path / name).write_text("mine")
    run = open_run(trained_run)
    with pytest.raises(RunError, match=rf"{name} was not written by an export"):
        export_saved_model(run, Proof(run, texts=1), tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
