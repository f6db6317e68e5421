"""A student learns what its teacher says, from where the teacher stood; other data, odd values and kills are told."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from conftest import Quiet, ask, tiny_config, write_tsv
from hypothesis import given, settings
from hypothesis import strategies as st

import switch_tf
from switch_tf import files
from switch_tf.config import Config, load_config
from switch_tf.data.examples import fingerprint, read_examples
from switch_tf.data.request import DataRequest, request_of
from switch_tf.errors import ArgumentError, ConfigError, DataError, RunError
from switch_tf.models.classifier import ClassifierOutput
from switch_tf.models.text_classifier import load_classifier
from switch_tf.runs.folder import Run, open_run, read_metrics
from switch_tf.training import distilling, session
from switch_tf.training.distilling import Distillation, distill, soften, student_config
from switch_tf.training.reached import Reached
from switch_tf.training.session import prepare
from switch_tf.training.steps import Encoded, Taught, losses
from switch_tf.training.trainer import Start, Trainer

PAIR = [("a lovely film", "good"), ("a dull film", "bad")]


@pytest.fixture(scope="module")
def teacher(trained_run: Path) -> Run:
    return open_run(trained_run)


# --- what is learnt


def test_the_loss_by_hand() -> None:
    """Two texts of two classes, logits (0, log 3): p = 1/4, 3/4, and at temperature 2 the odds are 1 to sqrt 3."""
    output = ClassifierOutput(tf.constant([[0.0, math.log(3)]] * 2), ())
    config = load_config(assignments=["train.label_smoothing=0.0"])
    taught = Taught(tf.constant([[0.5, 0.5]] * 2), tf.constant([0.25, 1.0]), tf.constant(2.0))
    loss, _ = losses(output, tf.constant([1, 0]), tf.constant([1.0, 1.0]), config, taught)
    odds = 1 + math.sqrt(3)
    soft = -0.5 * (math.log(1 / odds) + math.log(math.sqrt(3) / odds))
    first, second = 0.75 * -math.log(0.75) + 0.25 * 4 * soft, 4 * soft
    np.testing.assert_allclose(loss, (first + second) / 2, rtol=1e-6)
    alone, _ = losses(output, tf.constant([1, 0]), tf.constant([1.0, 1.0]), config)
    np.testing.assert_allclose(alone, (-math.log(0.75) - math.log(0.25)) / 2, rtol=1e-6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5).filter(lambda values: sum(values) > 0.1), st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_softened_probabilities_are_probabilities_in_the_same_order(values: list[float], temperature: float) -> None:
    probabilities = np.array([values]) / sum(values)
    soft = soften(probabilities, temperature)
    assert soft.dtype == np.float32 and abs(soft.sum() - 1) < 1e-5 and (soft >= 0).all()
    order = np.argsort(probabilities[0], kind="stable")
    assert (np.diff(soft[0][order]) >= -1e-6).all()
    np.testing.assert_allclose(soften(probabilities, 1.0), np.maximum(probabilities, 1e-12), atol=1e-5)


def test_what_fills_up_a_batch_is_taught_nothing() -> None:
    taught = Taught(np.array([[0.5, 0.5], [0.1, 0.9], [0.2, 0.8]], np.float32), np.array([0.25, 0.25, 1.0]), 2.0)
    data = Encoded(np.ones([3, 4], np.int32), np.zeros(3, np.int32), None, taught)
    probabilities, share, temperature = data.taught_of(np.array([2, 0]), 3)
    np.testing.assert_allclose(probabilities, [[0.2, 0.8], [0.5, 0.5], [0.0, 0.0]], rtol=1e-6)
    assert share.numpy().tolist() == [1.0, 0.25, 0.0] and temperature.numpy() == 2.0
    assert data._replace(taught=None).taught_of(np.array([0]), 3) == ()


@pytest.mark.slow
def test_lessons_are_the_labelled_texts_and_then_the_others(teacher: Run) -> None:
    wanted = Distillation(0.5, 2.0, ["a lovely film", "dull"])
    config = student_config(teacher)
    student = Run(teacher.path, config, teacher.labels, teacher.vocabulary, teacher.data)
    prepared = prepare(request_of(teacher.data), config)
    from switch_tf.text.from_strings import KerasText
    from switch_tf.training.encoding import encode

    training = encode(prepared.training, teacher.labels, KerasText(config.text, teacher.vocabulary))
    lessons, start = distilling._lessons(teacher, wanted, student, prepared.training, training)
    count = len(training.ids)
    assert lessons.ids.shape == (count + 2, 12) and lessons.taught is not None
    np.testing.assert_array_equal(lessons.ids[:count], training.ids)
    np.testing.assert_array_equal(lessons.labels[:count], training.labels)
    assert lessons.taught.share.tolist() == [0.5] * count + [1.0, 1.0]
    answers = load_classifier(teacher).probabilities(["a lovely film", "dull"])
    np.testing.assert_allclose(lessons.taught.probabilities[count:], soften(answers, 2.0), atol=1e-6)
    assert "classifier/tokens/embeddings" in start.weights and not start.finished


@pytest.mark.slow
def test_a_student_begins_where_its_teacher_stands_but_for_experts(teacher: Run) -> None:
    weights, _ = files.read_tensors(teacher.path / "weights.safetensors")
    num_ids = len(teacher.vocabulary) + 2
    made = Trainer(student_config(teacher), num_ids, 2, 4, Start(weights)).weights()
    same = {name for name in made if name in weights and np.array_equal(made[name], weights[name])}
    assert {name for name in made if "dense_ffn" not in name} == same
    assert not any("switch_ffn" in name for name in made)
    wider = student_config(teacher, ["model.d_model=16"])
    assert Trainer(wider, num_ids, 2, 4, Start(weights)).weights()["classifier/tokens/embeddings"].shape[1] == 16


# --- the whole way


@pytest.mark.slow
def test_the_command_trains_a_student_and_the_same_alone(teacher: Run, tmp_path: Path) -> None:
    more = write_tsv(tmp_path / "more.tsv", [(f"a lovely film {i}", "") for i in range(20)])
    words = ("distill", teacher.path, "--output", tmp_path / "student", "--unlabelled", more, "--temperature", 2)
    answer = ask(*words, "--set", "model.d_ff=8", "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    student = open_run(tmp_path / "student")
    assert student.config.model.num_experts == 0 and student.config.model.d_ff == 8
    assert student.data["distilled"]["unlabelled_texts"] == 20
    assert student.data["distilled"]["teacher_share"] == 0.25
    metrics = read_metrics(student.path)
    assert metrics["distillation"] == {key: value for key, value in report.items() if key != "run"}
    assert report["student"]["accuracy"] == metrics["test"]["accuracy"]
    assert report["teacher"]["accuracy"] == read_metrics(teacher.path)["test"]["accuracy"]
    assert report["student"]["bytes"] == report["student_alone"]["bytes"] < report["teacher"]["bytes"]
    assert report["student"]["log_loss"] != report["student_alone"]["log_loss"]
    gain = report["teacher"]["accuracy"] - report["student_alone"]["accuracy"]
    if gain > 0:
        expected = (report["student"]["accuracy"] - report["student_alone"]["accuracy"]) / gain
        assert report["gain_kept"] == pytest.approx(expected)
    else:
        assert report["gain_kept"] is None


@pytest.mark.slow
def test_what_was_cut_off_goes_on_by_the_same_distillation(
    teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, config = tmp_path / "student", student_config(teacher, ["train.baseline=false"])
    wanted = Distillation(0.5, alone=False)
    whole = distill(teacher, wanted, config, tmp_path / "whole", Quiet())
    save = Trainer.save

    def cut_off(self: Any, path: Path, reached: Reached) -> None:
        save(self, path, reached)
        if len(reached.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "save", cut_off)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, wanted, config, output, Quiet())
    with pytest.raises(RunError, match="by a teacher, or by another one") as caught:
        distill(teacher, Distillation(0.75, alone=False), config, output, Quiet(), resume=True)
    assert caught.value.argument == "resume"
    alone = ask("train", "--resume", "--output", output)
    assert alone.code == 1 and "resume it by the same distillation" in alone.err
    resumed = distill(teacher, wanted, config, output, Quiet(), resume=True)
    assert resumed["student"] == whole["student"]
    one, other = (files.read_tensors(path / "weights.safetensors")[0] for path in (output, tmp_path / "whole"))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_both_paths_are_taught_too(data_folder: Path, tmp_path: Path) -> None:
    composed = ("model.context=mean", "model.character_grams=true", "model.pair_min_count=2", "wide.enabled=true")
    config = tiny_config("train.epochs=1", "model.router=token", "text.unknown_words=letters", *composed)
    request = DataRequest(str(data_folder / "made.tsv"), str(data_folder / "made-test.tsv"))
    run = session.train(request, config, tmp_path / "run", Quiet())
    classifier = switch_tf.load(run.path).distill(
        tmp_path / "student", unlabelled=["a lovely film"], alone=False, verbose=0
    )
    spelt, alike = classifier.predict_proba(["awful numbers", "awful zzz"])  # the vocabulary has neither
    assert np.abs(spelt - alike).max() > 1e-4
    assert open_run(tmp_path / "student").config.wide.enabled


# --- refusals


@pytest.mark.parametrize(
    ("values", "said", "argument"),
    [
        ({"share": 1.5}, "teacher_share=1.5. Expected 0 to 1", "teacher_share"),
        ({"share": float("nan")}, "teacher_share=nan", "teacher_share"),
        ({"temperature": 0.0}, "temperature=0.0. Expected above 0", "temperature"),
        ({"temperature": float("inf")}, "temperature=inf", "temperature"),
    ],
)
def test_what_means_nothing_is_refused(values: dict[str, Any], said: str, argument: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        Distillation(**values)
    assert caught.value.argument == argument


def test_other_data_and_settings_are_refused(teacher: Run, data_folder: Path, tmp_path: Path) -> None:
    other = str(data_folder / "made-test.tsv")
    with pytest.raises(DataError, match=r"is not what .* was trained on\. Say where that is") as caught:
        distill(teacher, Distillation(), student_config(teacher), tmp_path / "new", Quiet(), data=other)
    assert caught.value.argument == "data"
    training = str(data_folder / "made.tsv")
    with pytest.raises(DataError, match="is not what there was to measure") as caught:
        distill(teacher, Distillation(), student_config(teacher), tmp_path / "new", Quiet(), test=training)
    assert caught.value.argument == "test"
    with pytest.raises(ConfigError, match=r"there is no setting model\.width"):
        student_config(teacher, ["model.width=8"])
    held = Run(teacher.path, teacher.config, teacher.labels, teacher.vocabulary, teacher.data | {"in_memory": ["data"]})
    with pytest.raises(DataError, match="given in memory, which no run keeps"):
        distill(held, Distillation(), student_config(teacher), tmp_path / "new", Quiet())
    assert not (tmp_path / "new").exists()


def test_what_is_in_the_way_is_told_before_anything_is_trained(
    teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distilling, "train", lambda *_, **__: pytest.fail("it trains"))
    config = student_config(teacher)
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunError, match="taken already exists"):
        distill(teacher, Distillation(), config, tmp_path / "taken", Quiet())
    (tmp_path / "begun.unfinished").mkdir()
    with pytest.raises(RunError, match="holds an unfinished training"):
        distill(teacher, Distillation(), config, tmp_path / "begun", Quiet())
    with pytest.raises(RunError, match="nothing to resume"):
        distill(teacher, Distillation(), config, tmp_path / "new", Quiet(), resume=True)


def test_a_teacher_that_was_pruned_on_other_labels_is_refused(teacher: Run, tmp_path: Path) -> None:
    """On texts of one label alone, and on texts that are to be rejected."""
    for rows, named in (([("a film", "good"), ("film", "good")], "bad"), ([*PAIR, ("xyz", "unknown")], "unknown")):
        path = write_tsv(tmp_path / "pruned_on.tsv", rows)
        data = {"data": str(path), "fingerprint": fingerprint(read_examples(path)), "test_fingerprint": None}
        of_both = teacher.data | data | {"test": None, "embedded": None}
        pruned = Run(teacher.path, teacher.config, teacher.labels, teacher.vocabulary, of_both)
        with pytest.raises(DataError, match=rf"'{named}' is a label of .* alone\. Distil the run that it was pruned"):
            distill(pruned, Distillation(), student_config(teacher), tmp_path / "new", Quiet())


def test_the_student_alone_has_no_threshold_to_reach(
    teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(request: DataRequest, config: Config, *_: object, **__: object) -> None:
        seen.append(config.train)
        raise KeyboardInterrupt

    monkeypatch.setattr(distilling, "train", stop)
    config = student_config(teacher, ["train.reject=0.9", "train.reject_label=unsure"])
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, Distillation(), config, tmp_path / "new", Quiet())
    assert [(each.reject, each.reject_label, each.baseline) for each in seen] == [(None, None, False)]
    assert config.train.reject == 0.9


def test_words_that_do_not_fit_end_with_2(teacher: Run, tmp_path: Path) -> None:
    assert ask("distill", teacher.path, "--text-column", "review").code == 2
    assert ask("distill", teacher.path, "--resume").code == 2
    answer = ask("distill", teacher.path, "--teacher-share", 2)
    assert answer.code == 2 and "--teacher-share" in answer.err
    (tmp_path / "bad.csv").write_text("text\n\xff\n", encoding="latin-1")
    assert ask("distill", teacher.path, "--unlabelled", tmp_path / "bad.csv").code == 1
