"""How long texts are in pieces: counted with the vocabulary that is learnt or given, and what `auto` makes of it."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Quiet, ask, write_tsv

import switch_tf
from switch_tf import calls
from switch_tf.data.examples import Examples, read_examples
from switch_tf.data.request import DataRequest
from switch_tf.errors import ConfigError, RunError
from switch_tf.runs.folder import read_vocabulary
from switch_tf.settings import read_toml
from switch_tf.text.spec import TextSpec
from switch_tf.training.auto import Settled, auto_config, lengths_in_pieces
from switch_tf.training.encoding import choose_vocabulary
from switch_tf.training.piece_lengths import piece_lengths, sample_of
from switch_tf.training.prepared import Prepared
from switch_tf.training.search_space import with_settings
from switch_tf.training.session import train

WORDPIECE = "text.tokenizer=wordpiece"
# The same twenty letters in four orders, none of which has two neighbours of another: no pair of them becomes a piece.
ORDERS = [
    ("".join(chr(97 + step * place % 20) for place in range(20)), label)
    for step, label in zip((1, 3, 7, 9), "pnpn", strict=True)
]
COUNTS = ((17, "p"), (18, "n"), (19, "p"), (20, "n"))
WORDS = [(" ".join(["abcdefgh"] * count), label) for count, label in COUNTS]


def settled(folder: Path, rows: list[tuple[str, str]], *assignments: str) -> Settled:
    return auto_config(DataRequest(str(write_tsv(folder / "few.tsv", rows))), None, assignments)


def prepared_by(found: Settled) -> Prepared:
    assert found.prepared is not None
    return found.prepared


def examples(folder: Path, *texts: str) -> Examples:
    return read_examples(write_tsv(folder / "texts.tsv", [(text, "a") for text in texts]))


def reasons(found: Settled) -> dict[str, str]:
    return {choice.key: choice.why for choice in found.choices}


def vocabulary_file(folder: Path, *pieces: str) -> str:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    return f"text.vocabulary_file={folder / 'vocab.txt'}"


class TestAuto:
    @pytest.mark.parametrize("tokenizer", ["wordpiece", "unigram"])
    def test_of_few_texts_a_piece_is_a_letter(self, tokenizer: str, tmp_path: Path) -> None:
        found = settled(tmp_path, ORDERS, f"text.tokenizer={tokenizer}")
        assert (found.config.text.sequence_length, found.config.text.byte_length) == (32, None)
        said = reasons(found)
        assert said["text.sequence_length"].startswith("99.5 % of the texts have at most 20 pieces; ")
        assert said["model.pair_min_count"].startswith("4 texts of up to 32 pieces")

    def test_of_words_that_repeat_a_piece_is_a_word(self, tmp_path: Path) -> None:
        found = settled(tmp_path, [(f"{text} {text}", label) for text, label in ORDERS], WORDPIECE)
        assert found.config.text.sequence_length == 16
        assert "at most 2 pieces" in reasons(found)["text.sequence_length"]

    @pytest.mark.parametrize(
        ("pieces", "length"),
        [
            (["abcdefgh"], 32),  # 17 to 20 words a text
            (["abcd", "##efgh"], 48),  # 34 to 40 pieces
            (["abc", "##def", "##gh"], 64),  # 51 to 60
            (["other"], 32),  # as many unknown ones as words
        ],
    )
    def test_of_a_vocabulary_from_a_file(self, pieces: list[str], length: int, tmp_path: Path) -> None:
        found = settled(tmp_path, WORDS, WORDPIECE, vocabulary_file(tmp_path, *pieces))
        assert found.config.text.sequence_length == length

    def test_it_is_never_over_512(self, tmp_path: Path) -> None:
        rows = [("a " * count, label) for count, label in ((600, "p"), (601, "n"), (602, "p"), (603, "n"))]
        found = settled(tmp_path, rows, WORDPIECE, vocabulary_file(tmp_path, "a"))
        assert (found.config.text.sequence_length, found.config.text.byte_length) == (512, None)

    @pytest.mark.parametrize(
        ("letters", "extent"),
        [
            (10, 768),  # 29 to 32 words of 21 bytes each with the space, 608 to 671 bytes, where 256 would be read
            (30, 1024),  # 61 bytes each, of which 32 count
            (3, None),  # 7 bytes each
        ],
    )
    def test_long_pieces_have_the_bytes_that_they_take(self, letters: int, extent: int | None, tmp_path: Path) -> None:
        word = "ж" * letters
        rows = [(" ".join([word] * (count + 12)), label) for count, label in COUNTS]
        found = settled(tmp_path, rows, WORDPIECE, vocabulary_file(tmp_path, word))
        assert (found.config.text.sequence_length, found.config.text.byte_length) == (32, extent)
        assert ("text.byte_length" in reasons(found)) == (extent is not None)

    def test_what_is_asked_for_stays(self, tmp_path: Path) -> None:
        found = settled(tmp_path, ORDERS, WORDPIECE, "text.sequence_length=7")
        assert (found.config.text.sequence_length, found.prepared) == (7, None)
        assert "text.sequence_length" not in reasons(found)
        found = settled(tmp_path, ORDERS, WORDPIECE, "text.sequence_length=64")
        assert reasons(found)["model.pair_min_count"].startswith("4 texts of up to 64 pieces")
        found = settled(tmp_path, ORDERS, WORDPIECE, "text.byte_length=9")
        assert (found.config.text.sequence_length, found.config.text.byte_length) == (16, 9)
        assert "at most 9 pieces" in reasons(found)["text.sequence_length"]  # nine letters are read

    def test_an_unusable_vocabulary_is_refused_before_training(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"text\.vocabulary_file = .*none\.txt"):
            settled(tmp_path, ORDERS, WORDPIECE, "text.vocabulary_file=none.txt")

    def test_a_folder_in_the_way_is_told_before_anything_is_learnt(self, tmp_path: Path) -> None:
        """The vocabulary of no file cannot be read, which would be told otherwise."""
        data, nothing = write_tsv(tmp_path / "few.tsv", ORDERS), f"text.vocabulary_file={tmp_path / 'none.txt'}"
        words = ["train", data, "--set", WORDPIECE, "--set", nothing, "--output", tmp_path]
        assert "none.txt" in ask(*words[:-1], tmp_path / "new").err
        answer = ask(*words)
        assert answer.code == 1 and f"{tmp_path} already exists" in answer.err.replace("\n", " ")
        with pytest.raises(RunError, match="already exists"):
            switch_tf.train(data, output=tmp_path, tokenizer="wordpiece", vocabulary_file=str(tmp_path / "none.txt"))

    def test_in_python_it_is_the_same(self, tmp_path: Path) -> None:
        data = tuple(map(list, zip(*ORDERS, strict=True)))
        held = calls.in_memory({"data": data}, "text", "label")
        request = calls.request_of(data, None, "text", "label")
        found = calls.settle(request, held, None, {"tokenizer": "wordpiece"})
        assert found.config == settled(tmp_path, ORDERS, WORDPIECE).config
        given = calls.settle(request, held, {"text": {"tokenizer": "wordpiece"}}, {"sequence_length": 7})
        assert (given.config.text.sequence_length, given.prepared) == (7, None)


class TestOnce:
    """Neither the data nor its vocabulary is needed a second time."""

    def test_a_training_takes_what_was_prepared_and_a_resumed_one_what_it_left(self, tmp_path: Path) -> None:
        asked = [WORDPIECE, vocabulary_file(tmp_path, "abcd", "##efgh")]
        found = settled(tmp_path, WORDS, *asked)
        (tmp_path / "vocab.txt").unlink()
        (tmp_path / "few.tsv").unlink()

        def interrupt(report: dict[str, Any]) -> None:
            assert (report["sequence_length"], report["longer_than_sequence_length"]) == (48, 0.0)
            raise KeyboardInterrupt

        request, output = DataRequest(str(tmp_path / "few.tsv")), tmp_path / "run"
        with pytest.raises(KeyboardInterrupt):
            train(request, found.config, output, Quiet(), prepared=found.prepared, tell=interrupt)
        assert read_toml(tmp_path / "run.unfinished" / "config.toml")["text"]["sequence_length"] == 48
        assert read_vocabulary(tmp_path / "run.unfinished" / "vocabulary.txt") == ["abcd", "##efgh"]

        data = write_tsv(tmp_path / "few.tsv", WORDS)
        words = ["train", data, "--resume", "--output", output, *(word for each in asked for word in ("--set", each))]
        answer = ask(*words, "--workers", "5000")  # refused for this alone
        assert (answer.code, "Error: Received 5000 workers." in answer.err) == (1, True), answer.err
        answer = ask(*words, "--set", "text.sequence_length=32")
        assert answer.code == 2 and "was started with other data or settings than" in answer.err

    def test_other_lengths_have_the_same_vocabulary(self, tmp_path: Path) -> None:
        found = settled(tmp_path, ORDERS, WORDPIECE)
        prepared = prepared_by(found)
        vocabulary = choose_vocabulary(found.config, prepared)
        longer = with_settings(found.config, {"text.sequence_length": 99, "text.byte_length": 2000})
        assert choose_vocabulary(longer, prepared) is vocabulary and len(vocabulary) == 40
        fewer = choose_vocabulary(with_settings(found.config, {"text.vocabulary_size": 22}), prepared)
        assert len(fewer) == 14  # seven letters, at the beginning of a word and behind it
        for size in (23, 24, 25):
            choose_vocabulary(with_settings(found.config, {"text.vocabulary_size": size}), prepared)
        assert len(prepared.learnt) == 4 and choose_vocabulary(found.config, prepared) == vocabulary

    def test_another_vocabulary_has_another_length(self, tmp_path: Path) -> None:
        found = settled(tmp_path, WORDS, WORDPIECE)
        assert found.config.text.sequence_length == 32
        # Sixteen letters leave room for six of the seven pairs that a word is made of: two pieces a word.
        fewer = with_settings(found.config, {"text.vocabulary_size": 24})
        assert lengths_in_pieces(fewer, prepared_by(found)) == {"text.sequence_length": 48}
        assert lengths_in_pieces(fewer, prepared_by(found), frozenset({"text.sequence_length"})) == {}
        few_bytes = with_settings(fewer, {"text.sequence_length": 48, "text.byte_length": 30})
        assert lengths_in_pieces(few_bytes, prepared_by(found)) == {"text.byte_length": 0}
        # Of 30 bytes three words are read and three letters of the fourth.
        given = frozenset({"text.byte_length"})
        assert lengths_in_pieces(few_bytes, prepared_by(found), given) == {"text.sequence_length": 16}
        more_bytes = with_settings(fewer, {"text.sequence_length": 48, "text.byte_length": 999})
        assert lengths_in_pieces(more_bytes, prepared_by(found)) == {"text.byte_length": 0}
        assert lengths_in_pieces(more_bytes, prepared_by(found), frozenset({"text.byte_length"})) == {}


class TestCounting:
    def test_pieces_and_bytes_of_each_text(self, tmp_path: Path) -> None:
        spec, vocabulary = TextSpec(tokenizer="wordpiece"), ["un", "##do", "é", "!"]
        counted = piece_lengths(examples(tmp_path, "undo é", "undo!", "x"), spec, vocabulary)
        assert counted.pieces.tolist() == [3, 3, 1]
        assert counted.sizes.tolist() == [7, 5, 1]

    def test_what_stands_behind_the_bytes_is_not_counted(self, tmp_path: Path) -> None:
        spec = TextSpec(tokenizer="wordpiece", byte_length=5)
        counted = piece_lengths(examples(tmp_path, "a a a a a"), spec, ["a"])
        assert (counted.pieces.tolist(), counted.sizes.tolist()) == ([3], [5])
        dropped = TextSpec(tokenizer="wordpiece", byte_length=5, truncation="drop")
        assert piece_lengths(examples(tmp_path, "a a a a a"), dropped, ["a"]).pieces.tolist() == [2]

    def test_a_sample_is_bounded_and_the_same_each_time(self, tmp_path: Path) -> None:
        texts = [f"{number:02}" * 5 for number in range(30)]
        whole = examples(tmp_path, *texts)
        assert sample_of(whole) is whole
        drawn = sample_of(whole, texts=8).texts.to_pylist()
        assert len(drawn) == len(set(drawn)) == 8 and drawn == sorted(drawn) and set(drawn) < set(texts)
        assert sample_of(whole, texts=8).texts.to_pylist() == drawn != texts[:8]
        assert sample_of(whole, characters=100).texts.to_pylist() == texts[::3]  # 300 characters: each third text
        long = examples(tmp_path, "x" * 100_000, "y", "z")  # of which 16,384 are looked at
        assert sample_of(long, characters=16_386) is long
        assert sample_of(long, characters=16_385).texts.to_pylist() == ["x" * 100_000, "z"]
