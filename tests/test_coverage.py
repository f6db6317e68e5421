"""Every word and every expert is reached, by texts that every front-end reads whole."""

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from switch_tf.config import load_config
from switch_tf.export.proof.coverage import texts_that_visit, vocabulary_texts
from switch_tf.export.proof.reference import ask_reference
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.text_classifier import TextClassifier
from switch_tf.text.spec import TextSpec


def test_words_alone_and_together():
    alone, together = vocabulary_texts(TextSpec(sequence_length=3), ["a", "bc", "é", "d"])
    assert alone == [b"a", b"bc", "é".encode(), b"d"]
    assert together == ["a bc é".encode(), b"d"]


def test_texts_end_before_the_last_byte_and_a_long_word_stands_alone():
    _, together = vocabulary_texts(TextSpec(sequence_length=9, byte_length=8), ["abc", "def", "g", "hijklmnop", "q"])
    assert together == [b"abc def", b"g", b"hijklmnop", b"q"]  # of 7 bytes at most, but for the long one


def test_pieces_that_stand_apart_are_asked_without_spaces_too():
    spec = TextSpec(tokenizer="wordpiece", sequence_length=8, byte_length=32)
    alone, together = vocabulary_texts(spec, ["un", "!", "##b", "a", "中", "?", "-", ";"])
    assert alone == [b"un", b"!", b"ab", b"a", "中".encode(), b"?", b"-", b";"]
    assert together == [b"un ! ab a", "中 ? - ;".encode(), "!!中中??--".encode(), b";;"]


def test_other_spellings_of_words_by_unicode_are_asked_in_words():
    spec = TextSpec(lowercase="unicode", sequence_length=64, byte_length=256)
    alone, together = vocabulary_texts(spec, ["éa", "中", "d"])
    assert alone == ["éa".encode(), "中".encode(), b"d"]
    assert together[:2] == ["éa 中 d".encode(), "中中".encode()]
    asked = b" ".join(together[2:]).decode().split(" ")
    assert {"Éa", "e\u0301A", "D", "\uff24"} <= set(asked)
    assert not any("b" in each for each in asked)


@given(
    st.lists(st.text(alphabet="abcxyzé", min_size=1, max_size=12), min_size=1, max_size=60, unique=True),
    st.integers(1, 20),
    st.integers(1, 80),
)
def test_every_word_is_in_one_text_and_texts_fit(words, length, size):
    spec = TextSpec(sequence_length=length, byte_length=size)
    _, together = vocabulary_texts(spec, words)
    assert b" ".join(together).split(b" ") == [word.encode() for word in words]
    for text in together:
        assert len(text.split(b" ")) <= length
        assert len(text) <= size - 1 or b" " not in text


def model_with_routes(routes):
    """Two experts; the token of each word goes to the one that `routes` says, since its embedding says so alone."""
    config = load_config(
        assignments=[
            *("text.sequence_length=4", "model.d_model=4", "model.d_ff=4", "model.num_heads=1"),
            f"model.num_experts={max(routes) + 2}",
        ]
    )
    classifier = SwitchClassifier(config, num_ids=len(routes) + 2, num_classes=2)
    classifier.initialize()
    block = classifier.blocks[0]
    block.attention.out.kernel.assign(tf.zeros_like(block.attention.out.kernel))
    assert classifier.positions is not None
    classifier.positions.assign(tf.zeros_like(classifier.positions))
    rows = [[0.0] * 4] * 2 + [tf.one_hot(route, 4).numpy().tolist() for route in routes]
    classifier.tokens.embeddings.assign(rows)
    block.feed_forward.router_kernel.assign(tf.eye(4, max(routes) + 2))
    return TextClassifier(config, [f"w{number}" for number in range(len(routes))], ["neg", "pos"], classifier)


def test_an_expert_that_one_word_reaches_is_found_and_one_that_nothing_reaches_is_not():
    model = model_with_routes([0] * 30 + [1] + [0] * 30)
    visited = ask_reference(model, [b"w0 w1"]).visited
    assert [each.tolist() for each in visited] == [[True, False, False]]
    texts = texts_that_visit(model, visited)
    assert texts == [b"w30"]
    assert ask_reference(model, texts).visited[0].tolist() == [False, True, False]


def test_nothing_is_searched_when_all_were_visited():
    model = model_with_routes([0, 1])
    assert texts_that_visit(model, [ask_reference(model, [b"w0 w1"]).visited[0] | True]) == []
