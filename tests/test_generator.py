"""`switch_tf.load(DIR).generate` and `switch-tf generate`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ask

import switch_tf
from switch_tf.errors import ArgumentError, DataError, ModelError
from switch_tf.models.huggingface import read_settings
from switch_tf.models.tokenizer import load_pieces

FIXTURES = Path(__file__).parent / "data" / "huggingface"
TEXT = "The <extra_id_0> walks in <extra_id_1> park"


def copied(folder: Path, name: str) -> Path:
    """A checkpoint with its tokenizer."""
    shutil.copytree(FIXTURES / name, folder / name)
    shutil.copy(FIXTURES / "spiece.model", folder / name)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("generator"), "untied")


@pytest.fixture(scope="module")
def generator(folder: Path) -> Any:
    return switch_tf.load(folder)


def test_it_loads_and_says_what_it_is(generator: Any, folder: Path) -> None:
    assert isinstance(generator, switch_tf.TextGenerator)
    assert repr(generator) == f"<TextGenerator {str(folder)!r}: 4 experts, width 16>"


def test_ids_are_those_of_transformers(generator: Any) -> None:
    expected = dict(np.load(FIXTURES / "untied" / "reference.npz"))
    prompts = [[int(each) for each in row if each] for row in expected["prompts"]]
    written = generator.generate_ids(prompts, max_new_tokens=24)
    assert written == [[int(each) for each in row[1:] if each] for row in expected["greedy"]]


def test_a_text_gets_a_text(generator: Any) -> None:
    first, second = generator.generate([TEXT, "A fine film."], max_new_tokens=6)
    assert generator.generate(["A fine film.", TEXT], max_new_tokens=6) == [second, first]
    assert generator.generate([TEXT], max_new_tokens=6) == [first]
    ids = generator.generate_ids(generator.tokenize([TEXT]), max_new_tokens=6)[0]
    assert len(ids) == 6 and generator.decode(ids) == first
    assert generator.generate([], max_new_tokens=6) == []


@pytest.mark.parametrize(
    ("call", "error", "problem"),
    [
        (lambda it: it.generate("A text"), ArgumentError, "texts"),
        (lambda it: it.generate(["A"], max_tokens=3), ArgumentError, "There is no setting 'max_tokens'"),
        (lambda it: it.generate(["A"], seed=-1), ArgumentError, "seed=-1"),
        (lambda it: it.generate_ids([[]]), DataError, "Text 0 has 0 ids"),
        (lambda it: it.generate_ids([[3, 1], [3] * 5000]), DataError, "Text 1 has 5,000 ids"),
        (lambda it: it.generate_ids([[0, 3, 1]]), DataError, "padding before a token"),
        (lambda it: it.generate_ids([[3, 416]]), DataError, "Expected 0 to 415"),
    ],
)
def test_what_makes_no_sense_is_refused(
    generator: Any, call: Callable[[Any], Any], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        call(generator)


def test_threads_are_for_files(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="threads is for those alone"):
        switch_tf.load(folder, threads=2)


class TestTokenizer:
    def test_without_one_ids_are_needed(self) -> None:
        with pytest.raises(ModelError, match=r"has no spiece\.model"):
            switch_tf.load(FIXTURES / "plain").generate(["A"])

    def test_one_of_another_checkpoint_is_refused(self, tmp_path: Path) -> None:
        folder = copied(tmp_path, "plain")
        (folder / "tokenizer_config.json").write_text('{"extra_ids": 117}', encoding="utf-8")
        with pytest.raises(ModelError, match=r"417 ids\. Expected at most vocab_size = 416"):
            switch_tf.load(folder).tokenize(["A"])

    def test_tokens_that_were_added_are_refused(self, tmp_path: Path) -> None:
        """As transformers 4.57 writes them; what it lists of the pieces and sentinels is known."""
        folder = copied(tmp_path, "plain")
        listed = {str(number): {"content": f"<extra_id_{399 - number}>"} for number in (300, 399)}
        described = {"extra_ids": 100, "added_tokens_decoder": {"0": {"content": "<pad>"}, **listed}}
        (folder / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
        assert load_pieces(folder, read_settings(folder)).encode("<extra_id_0>") == [399, 1]
        described["added_tokens_decoder"] = listed | {"400": {"content": "<sep>"}, "9" * 5000: "x", "²": "y"}
        (folder / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
        with pytest.raises(ModelError, match="adds '<sep>', 'x' to the tokenizer, which would be read as text here"):
            load_pieces(folder, read_settings(folder))

    @pytest.mark.parametrize("content", ["", "[]", '{"extra_ids": "100"}', '{"extra_ids": -1}'])
    def test_damaged_settings_of_it_are_refused(self, tmp_path: Path, content: str) -> None:
        folder = copied(tmp_path, "plain")
        (folder / "tokenizer_config.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
            switch_tf.load(folder).tokenize(["A"])


class TestCommand:
    def test_a_line_for_each_text(self, folder: Path, generator: Any) -> None:
        expected = generator.generate([TEXT, "A fine film."], max_new_tokens=6)
        answer = ask("generate", folder, TEXT, "A fine film.", "--max-new-tokens", 6, "--json")
        assert answer.code == 0 and "TextGenerator" in answer.err
        assert [json.loads(line) for line in answer.out.splitlines()] == [
            {"text": TEXT, "generated": expected[0]},
            {"text": "A fine film.", "generated": expected[1]},
        ]

    def test_a_file_is_read(self, folder: Path, generator: Any, tmp_path: Path) -> None:
        (tmp_path / "texts.txt").write_text(f"{TEXT}\nA fine film.\n", encoding="utf-8")
        answer = ask("generate", folder, "--input", tmp_path / "texts.txt", "--max-new-tokens", 6, "--num-beams", 2)
        assert answer.out.split("\n") == [
            *generator.generate([TEXT, "A fine film."], max_new_tokens=6, num_beams=2),
            "",
        ]

    @pytest.mark.parametrize(
        ("words", "code", "problem"),
        [
            ([], 2, "neither a text nor --input"),
            (["A", "--input", "-"], 2, "both texts and --input"),
            (["A", "--top-k", "3"], 2, "top_k=3 without do_sample=True"),
            (["A", "--num-beams", "0"], 2, "On the command line: --num-beams."),
            (["--input", "missing.txt"], 1, "missing.txt"),
        ],
    )
    def test_words_that_make_no_sense_are_refused(
        self, folder: Path, words: list[str], code: int, problem: str
    ) -> None:
        answer = ask("generate", folder, *words)
        assert answer.code == code and problem in answer.err and answer.out == ""

    def test_another_kind_of_model_is_refused(self, tmp_path: Path) -> None:
        answer = ask("generate", tmp_path, "A")
        assert answer.code == 1 and "does not write texts. Expected a folder whose config.json" in answer.err
