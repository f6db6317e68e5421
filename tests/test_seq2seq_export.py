"""Encoder-decoders as SavedModel, TFLite and ONNX write what transformers writes, and the gate sees what is off."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ask

from switch_tf import checksums
from switch_tf.errors import ArgumentError, ParityError, RunError
from switch_tf.export.seq2seq import graphs, onnx_files
from switch_tf.export.seq2seq.gate import GenerationProof, made_up_prompts
from switch_tf.export.seq2seq.options import Seq2SeqOptions
from switch_tf.export.seq2seq.runners import OnnxWriter, SavedModelWriter, TFLiteWriter
from switch_tf.export.seq2seq.session import export_seq2seq
from switch_tf.models.seq2seq import Seq2Seq, load_seq2seq

FIXTURES = Path(__file__).parent / "data" / "huggingface"
LENGTH = LONGEST = 24


@cache
def model(name: str = "untied") -> Seq2Seq:
    return load_seq2seq(FIXTURES / name)


@cache
def proof() -> GenerationProof:
    return GenerationProof(model(), LENGTH, LONGEST, prompts=8)


def reference(name: str = "untied") -> dict[str, np.ndarray]:
    return dict(np.load(FIXTURES / name / "reference.npz"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint that was exported to every format."""
    folder = tmp_path_factory.mktemp("seq2seq") / "untied"
    shutil.copytree(FIXTURES / "untied", folder)
    shutil.copy(FIXTURES / "spiece.model", folder)
    answers = export_seq2seq(folder, Seq2SeqOptions("all", length=LENGTH, max_new_tokens=LONGEST))
    assert [path.name for path, _ in answers] == ["saved_model", "tflite", "onnx"]
    for _, compared in answers:
        assert compared.problems == [] and compared.equal + compared.near_ties == compared.prompts == 32
    return folder / "export"


class TestWritten:
    def test_64_of_64_texts_by_saved_model_and_tflite(self, exported: Path) -> None:
        expected = reference()
        for writer in (SavedModelWriter(exported / "saved_model"), TFLiteWriter(exported / "tflite")):
            written, _ = writer.write(expected["prompts"])
            np.testing.assert_array_equal(written, expected["greedy"])

    @pytest.mark.parametrize("merged", [False, True])
    def test_64_of_64_texts_by_onnx_runtime(self, exported: Path, merged: bool) -> None:
        expected = reference()
        written, logits = OnnxWriter(exported / "onnx", model().settings, LONGEST, merged).write(expected["prompts"])
        np.testing.assert_array_equal(written, expected["greedy"])
        assert logits.shape == (64, LONGEST, 416)

    def test_a_tied_checkpoint_in_onnx(self, tmp_path: Path) -> None:
        onnx_files.write_onnx(model("plain"), tmp_path, longest=32)
        expected = reference("plain")
        written, _ = OnnxWriter(tmp_path, model("plain").settings, LONGEST).write(expected["prompts"])
        np.testing.assert_array_equal(written, expected["greedy"])

    def test_neither_padding_nor_batch_mates_change_a_text_in_onnx(self, exported: Path) -> None:
        prompts = reference()["prompts"][:8]
        writer = OnnxWriter(exported / "onnx", model().settings, 8)
        together, logits = writer.write(prompts)
        for row, length in enumerate((prompts != 0).sum(axis=1)):
            alone, its_logits = writer.write(prompts[row : row + 1, :length])
            np.testing.assert_array_equal(alone[0], together[row])
            np.testing.assert_allclose(its_logits[0], logits[row], atol=1e-4)

    def test_a_text_that_is_too_long_is_refused_by_the_file(self, exported: Path) -> None:
        session = onnxruntime.InferenceSession(str(exported / "onnx" / onnx_files.ENCODER))
        ids = np.ones([1, LENGTH + 1], np.int64)
        with pytest.raises(Exception, match="encoder"):
            session.run(None, {"input_ids": ids, "attention_mask": ids})

    def test_names_and_axes_are_those_that_optimum_asks_for(self, exported: Path) -> None:
        def values(name: str) -> dict[str, list[Any]]:
            graph = onnx.load(exported / "onnx" / name, load_external_data=False).graph
            return {
                value.name: [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
                for value in (*graph.input, *graph.output)
            }

        assert values(onnx_files.ENCODER) == {
            "input_ids": ["batch_size", "sequence_length"],
            "attention_mask": ["batch_size", "encoder_sequence_length"],
            "last_hidden_state": ["batch_size", "encoder_sequence_length", 16],
        }
        past = values(onnx_files.DECODER_WITH_PAST)
        assert past["past_key_values.2.decoder.key"] == ["batch_size", 3, "past_steps", 6]
        assert past["past_key_values.0.encoder.value"] == ["batch_size", 3, "encoder_sequence_length", 6]
        assert past["present.2.decoder.value"] == ["batch_size", 3, "steps", 6]
        merged = values(onnx_files.MERGED)
        first = values(onnx_files.DECODER)
        assert set(merged) == {*first, *past, "use_cache_branch"} and merged["use_cache_branch"] == [1]
        assert merged["past_key_values.0.decoder.key"] == ["batch_size", 3, "past_steps", "head_width"]
        assert "present.0.encoder.key" not in past and "present.0.encoder.key" in values(onnx_files.DECODER)

    def test_weights_stand_once_in_a_file_of_their_own(self, exported: Path) -> None:
        stored = exported / "onnx" / onnx_files.WEIGHTS
        content, seen = stored.read_bytes(), set()
        for name in (onnx_files.ENCODER, onnx_files.DECODER, onnx_files.DECODER_WITH_PAST, onnx_files.MERGED):
            for tensor in onnx.load(exported / "onnx" / name, load_external_data=False).graph.initializer:
                if tensor.data_location == onnx.TensorProto.EXTERNAL:
                    where = {each.key: each.value for each in tensor.external_data}
                    assert where["location"] == onnx_files.WEIGHTS and int(where["offset"]) % 4096 == 0
                    seen.add(tensor.name)
            assert (exported / "onnx" / name).stat().st_size < 100_000
        variables = {f"weights/{each.name.removesuffix(':0')}": each.numpy() for each in model().variables}
        assert seen == set(variables)
        assert sum(each.nbytes for each in variables.values()) <= len(content) < 2 * 10**6

    def test_settings_tokenizer_and_checksums_stand_beside(self, exported: Path) -> None:
        for name in ("saved_model", "tflite", "onnx"):
            manifest = json.loads((exported / name / "manifest.json").read_text(encoding="utf-8"))
            assert {"config.json", "spiece.model"} < set(manifest["files"])
            assert checksums.difference(exported / name, manifest["files"]) is None
            assert manifest["comparison"]["problems"] == [] and manifest["length"] == LENGTH


class Broken:
    """The model's own answers, changed."""

    def __init__(self, change: Any):
        self._answers = [(part.ids, part.logits) for part in proof()._parts]
        self._change = change

    def write(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        written, logits = self._answers[0]
        row = slice(None) if len(ids) == len(written) else slice(-1, None)
        return self._change(written[row].copy(), logits[row].copy())


class TestGate:
    def test_the_model_itself_passes(self) -> None:
        compared = proof().check(Broken(lambda ids, logits: (ids, logits)), "x")
        assert (compared.equal, compared.near_ties, compared.max_abs_diff, compared.alone_equal) == (8, 0, 0.0, 1)

    def test_one_other_id_is_seen(self) -> None:
        def change(ids: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            ids[len(ids) // 2, 5] += 1
            return ids, logits

        with pytest.raises(ParityError, match=r"x does not write what the model writes: For prompt 4, id 5 is"):
            proof().check(Broken(change), "x")

    def test_logits_that_are_off_are_seen(self) -> None:
        bound = proof().compare(Broken(lambda ids, logits: (ids, logits)), "x").bound
        assert proof().compare(Broken(lambda ids, logits: (ids, logits + bound / 2)), "x").problems == []
        with pytest.raises(ParityError, match="Logits are off by"):
            proof().check(Broken(lambda ids, logits: (ids, logits + 2 * bound)), "x")
        with pytest.raises(ParityError, match="Logits are off by inf"):
            proof().check(Broken(lambda ids, logits: (ids, logits * np.nan)), "x")

    def test_an_answer_that_depends_on_its_batch_is_seen(self) -> None:
        def change(ids: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return (ids + 1 if len(ids) == 1 else ids), logits

        with pytest.raises(ParityError, match="another answer alone"):
            proof().check(Broken(change), "x")

    def test_rounding_may_decide_between_two_ids_that_are_equally_good(self) -> None:
        part = proof()._parts[0]
        first, second = np.argsort(-part.logits[3, 4])[:2]
        before = part.logits[3, 4, second]
        part.logits[3, 4, second] = part.logits[3, 4, first]

        def change(ids: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if len(ids) > 1:
                ids[3, 5] = second
            return ids, logits

        try:
            compared = proof().compare(Broken(change), "x")
        finally:
            part.logits[3, 4, second] = before
        assert (compared.equal, compared.near_ties) == (7, 1)
        assert compared.problems == ["1 of 8 prompts differ where two ids or experts are nearly as good."]

    def test_prompts_are_of_all_lengths(self) -> None:
        prompts = made_up_prompts(model(), LENGTH, 64, seed=0)
        lengths = (prompts != 0).sum(axis=1)
        assert lengths[:4].tolist() == [1, LENGTH, LENGTH, LENGTH // 2] and len(set(lengths)) > 15
        assert len(set(prompts[2])) == 2 and prompts.max() < 416
        assert all(row[length - 1] == 1 for row, length in zip(prompts, lengths, strict=True))

    def test_what_is_refused_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = graphs.write_saved_model

        def write_another(loaded: Seq2Seq, folder: Path, length: int, longest: int) -> None:
            assert loaded.head is not None
            loaded.head.kernel.assign(-loaded.head.kernel)
            write(loaded, folder, length, longest)

        monkeypatch.setattr(graphs, "write_saved_model", write_another)
        folder = shutil.copytree(FIXTURES / "untied", tmp_path / "untied")
        words = ["export", folder, "--task", "seq2seq", "--format", "saved_model", "--length", 8]
        answer = ask(*words, "--max-new-tokens", 2)
        assert answer.code == 3 and "does not write what the model writes" in answer.err
        assert not (folder / "export").exists()


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"format": "gguf"}, "Expected one of saved_model, tflite, onnx, all"),
            ({"format": "onnx", "length": 0}, "length=0. Expected an integer from 1 to 4,096"),
            ({"format": "onnx", "max_new_tokens": 5000}, "max_new_tokens=5000"),
            ({"format": "all", "output": Path("x")}, "Expected one format, or the default places"),
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, given: dict[str, Any], problem: str) -> None:
        with pytest.raises(ArgumentError) as caught:
            Seq2SeqOptions(**given)
        assert problem in str(caught.value)

    def test_a_place_that_is_taken_is_refused_before_anything_is_loaded(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="already exists"):
            export_seq2seq(FIXTURES / "plain", Seq2SeqOptions("onnx", tmp_path))

    @pytest.mark.parametrize(
        ("words", "code", "problem"),
        [
            ([FIXTURES / "plain", "--task", "seq2seq", "--batch", 3], 2, "Received --batch with the task seq2seq"),
            ([FIXTURES / "plain", "--task", "seq2seq", "--quantize", "int8"], 2, "Received --quantize with the task"),
            (["--task", "seq2seq"], 2, "Received no checkpoint"),
            ([FIXTURES, "--task", "seq2seq"], 1, "writes no texts"),
            ([FIXTURES / "plain"], 2, "Export it with --task seq2seq"),
            ([FIXTURES / "plain", "--length", 24], 2, "Received --length with the task classify"),
            ([FIXTURES / "plain", "--max-new-tokens", 24], 2, "Received --max-new-tokens with the task classify"),
            ([FIXTURES / "plain", "--task", "seq2seq", "--length", 0], 2, "On the command line: --length."),
        ],
    )
    def test_words_that_make_no_sense_are_refused(self, words: list[Any], code: int, problem: str) -> None:
        answer = ask("export", *words, "--format", "onnx")
        assert answer.code == code and problem in answer.err

    def test_what_it_says(self, tmp_path: Path) -> None:
        words = ["export", FIXTURES / "plain", "--task", "seq2seq", "--format", "saved_model", "--length", 8]
        answer = ask(*words, "--max-new-tokens", 2, "--output", tmp_path / "out", "--json")
        assert answer.code == 0
        (artifact,) = json.loads(answer.out)["artifacts"]
        assert artifact["path"] == str(tmp_path / "out") and artifact["equal"] == artifact["prompts"] == 32
