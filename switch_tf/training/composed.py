"""Training a model whose word vectors are composed: of the word's own, and of its letters'; pairs of words add theirs.

    x[t] = W[id_t] + sum_g C[g] / sqrt(number of grams of id_t) + P[pair (id_{t-1}, id_t)]

A step computes the rows that its batch needs and moves those alone. What leaves training is one table over ids and one
over pairs: a finished model only gathers.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow as tf

from switch_tf import files
from switch_tf.config import Config
from switch_tf.errors import ConfigError, RunError
from switch_tf.layers import replicas
from switch_tf.layers.token_routes import TokenRoutes, Words
from switch_tf.models.classifier import SwitchClassifier
from switch_tf.models.finished import finish
from switch_tf.models.weights import EMBEDDINGS, PAIR_EMBEDDINGS, arrays_of, named_weights
from switch_tf.text.spec import PADDING_ID
from switch_tf.training.lazy_adam import LazyAdam, RowGradient
from switch_tf.training.reached import Reached
from switch_tf.training.sampling import KnownPairs, Sample, sample, scale_grams
from switch_tf.training.steps import Encoded, StepResult, Taught, losses, step_result, taught_specs
from switch_tf.training.trainer import Start, Trainer, begin_with, logits_in_batches

_INITIAL = 0.05  # entries of new tables are uniform in plus or minus this


class ComposedTrainer(Trainer):
    """The tables, the rest of the model, their optimizer and the compiled step.

    Args:
        ids: int32 [n, length], the training texts, which say what pairs there are.
        grams: from `switch_tf.text.ngrams.word_grams`; used if `config.model.character_grams`.
        start: what to begin with; vectors of words and pairs are folded there, so that letters begin at zero.

    Raises:
        ConfigError: settings that only models with attention have.
    """

    def __init__(
        self,
        config: Config,
        ids: np.ndarray,
        num_ids: int,
        num_classes: int,
        total_steps: int,
        grams: scipy.sparse.csr_matrix | None = None,
        start: Start | None = None,
    ):
        if config.train.jit_compile or config.train.weight_decay or config.train.mixed_precision:
            excluded = "jit_compile, weight_decay and mixed_precision"
            raise ConfigError(f"train.{excluded} are for model.context = 'attention'. Leave them at their defaults.")
        self.config = config
        self.num_classes = num_classes
        self.strategy = tf.distribute.get_strategy()
        self.finished = start is not None and start.finished
        self.known = KnownPairs(ids, num_ids, config.model.pair_min_count)
        if start is not None and start.pairs is not None:
            self.known = KnownPairs.given(start.pairs, num_ids)
        self.num_pairs = len(self.known.pairs)
        self.model = SwitchClassifier(config, num_ids, num_classes, num_pairs=self.num_pairs, finished=self.finished)
        self.model.initialize()
        if grams is None or not config.model.character_grams:
            grams = scipy.sparse.csr_matrix((num_ids, 0), dtype=np.float32)
        self.grams = scale_grams(grams)

        random = np.random.default_rng(config.train.seed)
        sizes = (num_ids, self.grams.shape[1], self.num_pairs)
        self.tables = [_new_table(random, rows, config.model.d_model) for rows in sizes]
        if start is not None:
            self._begin_with(start.weights)
        folded = (EMBEDDINGS, PAIR_EMBEDDINGS)
        learned = {name: variable for name, variable in named_weights(self.model).items() if name not in folded}
        self.variables = [variable for variable in learned.values() if variable.trainable]
        # That even loads out; and tables of routes, which stay.
        self.biases = [variable for variable in learned.values() if not variable.trainable]
        self.optimizer = LazyAdam(self.variables, self.tables, config.train, total_steps)
        self._steps: dict[int, Any] = {}
        texts = tf.TensorSpec([None, config.text.sequence_length], tf.int32)
        self._specs = texts, texts
        self._rows_of: tuple[Encoded, np.ndarray] | None = None

    @cached_property
    def _logits(self) -> Callable[..., tf.Tensor]:
        logits = tf.function(lambda ids, pairs: self.model(ids, pair_rows=pairs).logits, autograph=False)
        return logits.get_concrete_function(*self._specs)

    def train_on(self, data: Encoded, rows: np.ndarray, epoch: int, number: int) -> StepResult:
        """As `Trainer.train_on`."""
        settings, model = self.config.train, self.config.model
        if self._rows_of is None or self._rows_of[0] is not data:
            self._rows_of = data, self.known.rows(data.ids)
        drawn = sample(
            data,
            self._rows_of[1],
            self.num_pairs,
            self.grams,
            rows,
            settings.batch_size,
            (model.token_dropout, model.pair_dropout),
            [settings.seed, epoch, number],
        )
        taught = data.taught_of(rows, settings.batch_size)
        step = self._step_of(drawn.words.shape[1], bool(taught))
        result: StepResult = step(Sample(*(tf.constant(array) for array in drawn)), tf.constant(number), *taught)
        return result

    def weights(self) -> dict[str, np.ndarray]:
        """Of the finished model, tables folded."""
        self._fold()
        learned = arrays_of(self.model)
        return learned if self.finished else finish(learned, self.config.model)

    def save(self, path: Path, reached: Reached) -> None:
        tensors = {f"variable/{i}": variable.numpy() for i, variable in enumerate(self._state())}
        files.write_tensors(path, tensors, reached.to_metadata())

    def restore(self, path: Path) -> Reached:
        tensors, metadata = files.read_tensors(path)
        try:
            for i, variable in enumerate(self._state()):
                variable.assign(tensors[f"variable/{i}"])
            return Reached.from_metadata(metadata)
        except (KeyError, TypeError, ValueError) as error:  # an array or the history is missing, or of another shape
            raise RunError(f"{path} does not fit: {error}. Remove it to train from the start.") from error

    def logits(self, data: Encoded) -> np.ndarray:
        """As `Trainer.logits`."""
        self._fold()
        return logits_in_batches(self._logits, data.ids, self.known.rows(data.ids))

    def _state(self) -> list[tf.Variable]:
        return [*self.variables, *self.biases, *self.tables, *self.optimizer.moments]

    def _begin_with(self, weights: Mapping[str, np.ndarray]) -> None:
        taken = begin_with(self.model, weights)
        if EMBEDDINGS in taken:
            self.tables[0].assign(weights[EMBEDDINGS])
            self.tables[1].assign(np.zeros(self.tables[1].shape, np.float32))
        if PAIR_EMBEDDINGS in taken:
            self.tables[2].assign(weights[PAIR_EMBEDDINGS][:-1])

    def _fold(self) -> None:
        """Give the model the sums that its tables are."""
        words, grams, pairs = (table.numpy() for table in self.tables)
        weights = named_weights(self.model)
        weights[EMBEDDINGS].assign(words + self.grams @ grams[: self.grams.shape[1]])
        if self.num_pairs:
            weights[PAIR_EMBEDDINGS].assign(np.pad(pairs, [[0, 1], [0, 0]]))

    def _step_of(self, length: int, taught: bool) -> Any:
        """The compiled step for texts of `length` tokens: one trace a length, however many rows a batch needs."""
        if length not in self._steps:
            batch = self.config.train.batch_size
            tokens, some = tf.TensorSpec([batch, length], tf.int32), tf.TensorSpec([None], tf.int32)
            signature = Sample(
                words=tokens,
                pairs=tokens,
                labels=tf.TensorSpec([batch], tf.int32),
                weights=tf.TensorSpec([batch], tf.float32),
                word_ids=some,
                pair_rows=some,
                gram_rows=some,
                gram_owners=some,
                gram_places=some,
                gram_weights=tf.TensorSpec([None], tf.float32),
            )
            step = tf.function(self._shared_step, autograph=False)
            # Asked as what was traced: TensorFlow counts the traces of a function that is called, and warns.
            soft = taught_specs(batch, self.num_classes) if taught else ()
            self._steps[length] = step.get_concrete_function(signature, tf.TensorSpec([], tf.int32), *soft)
        return self._steps[length]

    def _part_of(self, batch: Sequence[Any], part: replicas.Replicas) -> Sequence[Any]:
        """As `Trainer._part_of`: rows of the tables are those of the whole batch, which all replicas move alike."""
        drawn, *rest = batch
        own = {name: part.rows_of(getattr(drawn, name)) for name in ("words", "pairs", "labels", "weights")}
        return drawn._replace(**own), *(part.rows_of(each) for each in rest)

    def _step(self, batch: Sample, number: tf.Tensor, *taught: tf.Tensor) -> StepResult:  # type: ignore[override]
        """One update; `batch` holds tensors, and `taught` those of a `Taught` where there is a teacher."""
        rows = [batch.word_ids, batch.gram_rows, batch.pair_rows]
        vectors = [tf.gather(table, each) for table, each in zip(self.tables, rows, strict=True)]
        mask = tf.logical_or(batch.words > 0, batch.pairs > 0)  # [batch, length]
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            words, pairs = compose(vectors[0], vectors[1], vectors[2], batch)  # [batch, length, d_model] each
            seed = tf.stack([self.config.train.seed, number])
            known = batch.words > 0  # [batch, length]
            routes = self._routes(batch, known)
            output = self.model.classify(words + pairs, mask, True, seed, Words(words, known), routes)
            loss, cross_entropy = losses(
                output, batch.labels, batch.weights, self.config, Taught(*taught) if taught else None
            )
        of_vectors, of_weights = tape.gradient(loss, [vectors, self.variables])
        of_vectors = replicas.current().sums([tf.convert_to_tensor(gradient) for gradient in of_vectors])
        moved = [RowGradient(each, gradient) for each, gradient in zip(rows, of_vectors, strict=True)]
        self.optimizer.apply(of_weights, moved, number)
        self.model.balance(output.reports)
        return step_result(output, cross_entropy, batch.labels, batch.weights, mask)

    def _routes(self, batch: Sample, known: tf.Tensor) -> list[TokenRoutes | None]:
        """Of a finished model, what its tables say of each token; None for a block without."""
        ids = tf.gather(tf.concat([[PADDING_ID], batch.word_ids], axis=0), batch.words)  # [batch, length]
        return [None if table is None else table(ids)._replace(known=known) for table in self.model.routes]


def _new_table(random: np.random.Generator, rows: int, width: int) -> tf.Variable:
    """A table at its start; one of no rows has a row that nothing asks for.

    TensorFlow's processes crash where one tells the others the start of a variable without elements.
    """
    drawn = random.uniform(-_INITIAL, _INITIAL, [rows, width]).astype(np.float32)
    return tf.Variable(drawn if rows else np.zeros([1, width], np.float32))


def compose(words: tf.Tensor, grams: tf.Tensor, pairs: tf.Tensor, batch: Sample) -> tuple[tf.Tensor, tf.Tensor]:
    """The vectors of each token's word and pair, of which its own is the sum, from the rows that the batch needs.

    Args:
        words: float32 [word_ids, d_model].
        grams: float32 [gram_rows, d_model].
        pairs: float32 [pair_rows, d_model].

    Returns:
        float32 [batch, length, d_model] twice, zero at padding and where the word or the pair is left out.
    """
    links = tf.gather(grams, batch.gram_places) * batch.gram_weights[:, tf.newaxis]  # [links, d_model]
    words += tf.math.unsorted_segment_sum(links, batch.gram_owners, tf.shape(words)[0])  # [word_ids, d_model]
    nothing = tf.zeros([1, words.shape[1]])
    of_words = tf.gather(tf.concat([nothing, words], axis=0), batch.words)  # [batch, length, d_model]
    return of_words, tf.gather(tf.concat([nothing, pairs], axis=0), batch.pairs)
