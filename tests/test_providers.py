"""Which provider answers: the choice, the fallback that is said, and both halves of a file that is cut at its ids.

Nothing here needs a GPU. Where the installed build of ONNX Runtime has no CUDA provider, it is made to name one, and
the real runtime then fails to load it, as a build with CUDA does on a machine without a GPU.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ask, export_file

import switch_tf
from switch_tf.artifacts import providers
from switch_tf.artifacts.onnx_file import OnnxPredictor
from switch_tf.artifacts.opening import load_predictor
from switch_tf.artifacts.providers import CPU, CUDA, wants_cuda
from switch_tf.errors import ArgumentError, ModelError
from switch_tf.runs.folder import open_run

TEXTS = ["a lovely film", "", "plot, dull\0plot", "Schön " * 30]


@pytest.fixture(scope="module")
def exported(trained_run: Path, trained_proof: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each input; that of ids has a fixed batch, as for a GPU."""
    run, folder = open_run(trained_run), tmp_path_factory.mktemp("providers")
    return {
        door: export_file("onnx", run, trained_proof, folder / f"{door}.onnx", inputs=door, batch=batch)[0]
        for door, batch in (("text", None), ("bytes", None), ("ids", 3))
    }


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The build has CUDA, and no GPU to run on."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])


@pytest.fixture
def not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", CPU])


@pytest.mark.parametrize(
    ("provider", "door", "available", "wanted"),
    [
        ("auto", "ids", [CUDA, CPU], True),
        ("auto", "ids", [CPU], False),
        ("auto", "text", [CUDA, CPU], False),
        ("auto", "bytes", [CUDA, CPU], False),
        ("cpu", "ids", [CUDA, CPU], False),
        ("cuda", "ids", [CUDA, CPU], True),
        ("cuda", "text", [CUDA, CPU], True),
    ],
)
def test_the_choice(provider: str, door: str, available: list[str], wanted: bool) -> None:
    assert wants_cuda(provider, door, available) is wanted


def test_cuda_that_is_not_installed_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_is_installed", lambda name: name == "onnxruntime")
    with pytest.raises(ArgumentError, match=f"has {CPU}. Uninstall onnxruntime and install onnxruntime-gpu") as raised:
        wants_cuda("cuda", "ids", [CPU])
    assert raised.value.argument == "provider"
    monkeypatch.setattr(providers, "_is_installed", lambda name: True)
    with pytest.raises(ArgumentError, match="Both onnxruntime and onnxruntime-gpu are installed"):
        wants_cuda("cuda", "ids", [CPU])


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"provider='gpu'. Expected one of auto, cpu, cuda"):
        wants_cuda("gpu", "ids", [CPU])


@pytest.mark.slow
class TestAnswering:
    def test_a_file_of_ids_answers_texts_as_the_one_of_strings(self, exported: dict[str, Path]) -> None:
        expected = load_predictor(exported["text"])
        received = load_predictor(exported["ids"], provider="cpu")
        np.testing.assert_array_equal(received.tokenize(TEXTS), expected.tokenize(TEXTS))
        np.testing.assert_allclose(received.probabilities(TEXTS), expected.probabilities(TEXTS), atol=1e-5)
        assert received.probabilities([]).shape == (0, len(received.labels))

    @pytest.mark.parametrize("metadata", [{}, {"vocabulary": "["}, {"vocabulary": '["a", "a"]'}])
    def test_a_file_of_ids_that_does_not_say_what_they_stand_for_is_refused(
        self, exported: dict[str, Path], metadata: dict[str, str]
    ) -> None:
        model = onnx.load(exported["ids"])
        kept = {entry.key: entry.value for entry in model.metadata_props if entry.key in ("text", "labels")}
        onnx.helper.set_model_props(model, kept | metadata)
        with pytest.raises(ModelError, match=r"do not name the words that they stand for. Export it again"):
            OnnxPredictor(model.SerializeToString(), path="x").probabilities(TEXTS)

    def test_a_file_of_ids_that_describes_other_ids_is_refused(self, exported: dict[str, Path]) -> None:
        model = onnx.load(exported["ids"])
        facts = {entry.key: entry.value for entry in model.metadata_props if entry.key != "sha256"}
        text = json.loads(facts["text"])
        text["sequence_length"] += 1
        onnx.helper.set_model_props(model, facts | {"text": json.dumps(text)})
        with pytest.raises(ModelError, match=r"13 tokens a text for 12 ids"):
            OnnxPredictor(model.SerializeToString(), path="x").probabilities(TEXTS)

    @pytest.mark.parametrize("door", ["text", "bytes"])
    def test_cut_at_its_ids_a_file_answers_the_same(
        self, exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch, door: str
    ) -> None:
        whole = load_predictor(exported[door])
        expected = whole.probabilities(TEXTS)
        # What is asked for CUDA runs here on the CPU, so that both sessions are real ones.
        monkeypatch.setattr(providers, "CUDA", CPU)
        monkeypatch.setattr(providers, "_ON_CUDA", [CPU])
        halves = OnnxPredictor(exported[door], provider="cuda")
        assert [each.name for each in halves._session.get_inputs()] == ["ids"]
        np.testing.assert_allclose(halves.probabilities(TEXTS), expected, atol=1e-6)
        np.testing.assert_array_equal(halves.tokenize(TEXTS), whole.tokenize(TEXTS))


@pytest.mark.slow
@pytest.mark.usefixtures("offered")
class TestWithoutAGpu:
    def test_auto_falls_back_and_says_so(self, exported: dict[str, Path]) -> None:
        said: list[str] = []
        model = load_predictor(exported["ids"], tell=said.append)
        assert model.runtime == "ONNX Runtime, CPUExecutionProvider"
        (message,) = said
        assert message.startswith("ONNX Runtime's CUDA provider cannot be used: ")
        assert message.endswith("Answering on the CPU.")
        assert np.isfinite(model.probabilities(TEXTS)).all()

    def test_auto_does_not_try_it_for_strings(self, exported: dict[str, Path]) -> None:
        said: list[str] = []
        load_predictor(exported["text"], tell=said.append)
        assert said == []

    def test_in_python_it_is_a_warning(self, exported: dict[str, Path]) -> None:
        with warnings.catch_warnings(record=True) as caught:  # a build without CUDA warns of the name besides
            warnings.simplefilter("always")
            switch_tf.load(exported["ids"])
        (warning,) = (each for each in caught if each.category is RuntimeWarning)
        assert str(warning.message).endswith("Answering on the CPU.") and warning.filename == __file__

    @pytest.mark.parametrize("door", ["ids", "text"])
    def test_cuda_is_an_error(self, exported: dict[str, Path], door: str) -> None:
        with pytest.raises(ModelError, match=r"CUDA provider cannot be used: .+ Expected an NVIDIA GPU"):
            switch_tf.load(exported[door], provider="cuda")

    def test_the_command_line_says_it_on_stderr(self, exported: dict[str, Path]) -> None:
        answer = ask("predict", exported["ids"], "--json", "a lovely film")
        assert answer.code == 0, answer.err
        assert json.loads(answer.out)["label"] in ("bad", "good")
        first, second = answer.err.splitlines()
        assert "Answering on the CPU." in first and second == "ONNX Runtime, CPUExecutionProvider"
        answer = ask("predict", exported["ids"], "--provider", "cpu", "--json", "a lovely film")
        assert answer.err == "ONNX Runtime, CPUExecutionProvider\n"
        answer = ask("predict", exported["ids"], "--provider", "cuda", "--json", "a lovely film")
        assert (answer.code, answer.out) == (1, "") and "CUDA provider cannot be used" in answer.err


@pytest.mark.slow
@pytest.mark.usefixtures("not_offered")
class TestABuildForTheCpu:
    def test_auto_is_the_cpu_without_a_word(self, exported: dict[str, Path]) -> None:
        said: list[str] = []
        load_predictor(exported["ids"], tell=said.append)
        assert said == []

    def test_cuda_ends_with_2(self, exported: dict[str, Path], data_folder: Path) -> None:
        for words in (("predict", exported["ids"], "a"), ("evaluate", exported["ids"], data_folder / "made-test.tsv")):
            answer = ask(*words, "--provider", "cuda")
            assert (answer.code, answer.out) == (2, "")
            assert "has AzureExecutionProvider, CPUExecutionProvider." in answer.err
            assert "On the command line: --provider." in answer.err

    def test_evaluate_measures_a_file_of_ids(self, exported: dict[str, Path], data_folder: Path) -> None:
        figures = [
            json.loads(ask("evaluate", exported[door], data_folder / "made-test.tsv", "--json").out)["accuracy"]
            for door in ("ids", "text")
        ]
        assert figures[0] == figures[1]


def test_other_models_have_no_provider(trained_run: Path) -> None:
    with pytest.raises(ArgumentError, match=r"is no .onnx file: provider is for those alone") as raised:
        load_predictor(trained_run, provider="cpu")
    assert raised.value.argument == "provider"
