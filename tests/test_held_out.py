"""What a run holds out, and what is kept of it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Quiet, made_up_rows, tiny_config, write_tsv
from test_session import made

from switch_tf.data.request import DataRequest, read_test
from switch_tf.runs.folder import read_vocabulary
from switch_tf.training.session import prepare, train


class TestWhatIsHeldOut:
    def test_no_word_of_a_held_out_text_alone_is_in_the_vocabulary(self, tmp_path: Path) -> None:
        """Every text of `made_up_rows` has a word that no other has."""
        request = DataRequest(
            str(write_tsv(tmp_path / "a.tsv", made_up_rows(60))),
            str(write_tsv(tmp_path / "b.tsv", made_up_rows(20, seed=1))),
        )
        config = tiny_config("text.vocabulary_size=500", "train.epochs=1", "train.validation_share=0.2")
        run = train(request, config, tmp_path / "run", Quiet())
        prepared = prepare(request, config)

        def own_words(texts: list[str]) -> set[str]:
            return {text.split()[-1] for text in texts}

        vocabulary = set(read_vocabulary(run.path / "vocabulary.txt"))
        trained_on = own_words(prepared.training.texts.to_pylist())
        assert prepared.test is not None
        held_out = own_words(prepared.validation.texts.to_pylist()) | own_words(prepared.test.texts.to_pylist())
        assert (len(trained_on), len(held_out)) == (48, 32)
        assert trained_on <= vocabulary
        assert not held_out & vocabulary

    def test_an_embedded_set_brings_its_own_test_texts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        test = read_test(DataRequest("reviews"))
        assert test is not None
        assert test.source == "reviews/test.tsv.xz"
        monkeypatch.chdir(tmp_path)  # a file of that name wins, and has no test part
        write_tsv(tmp_path / "reviews", made_up_rows(4))
        assert read_test(DataRequest("reviews")) is None
        assert read_test(DataRequest("other.tsv")) is None

    def test_without_a_test_set_the_validation_texts_are_kept(self, data_folder: Path, tmp_path: Path) -> None:
        run = train(made(data_folder, test=False), tiny_config("train.epochs=1"), tmp_path / "run", Quiet())
        metrics = json.loads((run.path / "metrics.json").read_text())
        assert "test" not in metrics
        assert "| test |" not in (run.path / "summary.md").read_text()
        prepared = prepare(made(data_folder, test=False), tiny_config())
        held_out = pq.read_table(run.path / "held_out.parquet")["text"].to_pylist()
        assert held_out == prepared.validation.texts.to_pylist()
        assert (run.data["test_examples"], run.data["test_fingerprint"]) == (0, None)
