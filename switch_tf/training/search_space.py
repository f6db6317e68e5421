"""What a search may vary around settings that are a good start, and how far."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from switch_tf.config import Config, config_from_dict, config_to_dict

_FEWEST_WORDS, _FEWER_WORDS = 500, 32  # of a vocabulary, and how many times fewer than at the start
_WIDTHS, _LEAST_WIDTH = 8, 16  # of d_model


class Dimension(NamedTuple):
    """A setting that is searched: integers where `low` is one.

    Attributes:
        key: with its table.
        low: the least value, and `high` the largest one.
        log: whether a factor matters rather than a difference.
        step: of integers.
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: int = 1

    def rounded(self, value: float) -> float:
        """A value as it will be set: within the bounds, an integer on a step, or a number of three digits."""
        value = min(max(value, self.low), self.high)
        if isinstance(self.low, int):
            return self.low + round((value - self.low) / self.step) * self.step
        return float(f"{value:.3g}")


def search_space(config: Config, given: Collection[str] = (), limited: bool = False) -> list[Dimension]:
    """What to vary around `config`, whose own values lie within.

    Args:
        given: keys of settings that were asked for and stay.
        limited: whether the size of the model counts: then the vocabulary is searched too.
    """
    model, train = config.model, config.train
    width = model.num_heads * max(1, -(-_LEAST_WIDTH // model.num_heads))
    space = [
        Dimension("model.d_model", width, max(_WIDTHS * width, -(-model.d_model // width) * width), step=width),
        _around("model.token_dropout", model.token_dropout, 0.0, 0.8),
        _around("model.expert_dropout", model.expert_dropout, 0.0, 0.5),
        _around("train.learning_rate", train.learning_rate, train.learning_rate / 4, train.learning_rate * 4, True),
        _around("train.label_smoothing", train.label_smoothing, 0.0, 0.2),
        Dimension("train.epochs", max(1, train.epochs // 2), 2 * train.epochs, True),
    ]
    if limited:
        words = config.text.vocabulary_size
        fewest = min(words, max(_FEWEST_WORDS, words // _FEWER_WORDS))
        space.append(Dimension("text.vocabulary_size", fewest, words, True))
    space += _of_tables(config) if model.context == "mean" else [_around("model.dropout", model.dropout, 0.0, 0.5)]
    space += _of_wide_path(config) if config.wide.enabled else []
    return [each for each in space if each.key not in given]


def _of_tables(config: Config) -> list[Dimension]:
    """What only composed embeddings have."""
    rate, model = config.train.table_learning_rate, config.model
    space = [_around("train.table_learning_rate", rate, rate / 4, rate * 4, True)]
    if model.pair_min_count:
        space.append(_around("model.pair_dropout", model.pair_dropout, 0.0, 0.8))
        space.append(Dimension("model.pair_min_count", 1, max(16, model.pair_min_count), True))
    return space


def _of_wide_path(config: Config) -> list[Dimension]:
    from switch_tf.training.wide_fit import USUAL_STRENGTH

    wide = config.wide
    return [
        _around("wide.inverse_regularization", wide.inverse_regularization or USUAL_STRENGTH, 1.0, 200.0, True),
        _around("wide.naive_bayes_power", wide.naive_bayes_power, 0.0, 1.0),
        Dimension("wide.pair_min_count", 1, max(16, wide.pair_min_count), True),
    ]


def _around(key: str, value: float, low: float, high: float, log: bool = False) -> Dimension:
    return Dimension(key, float(min(low, value)), float(max(high, value)), log)


def with_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """The settings with some of them changed, by dotted key.

    Pairs that the deep path has vectors of are found by the wide path: its count is raised where it would be less.
    """
    values = config_to_dict(config)
    for key, value in changes.items():
        table, name = key.split(".")
        values[table][name] = value
    deep = values["model"]["pair_min_count"]
    if deep and values["wide"]["enabled"]:
        values["model"]["pair_min_count"] = max(deep, values["wide"]["pair_min_count"])
    return config_from_dict(values, "the settings of a trial")
