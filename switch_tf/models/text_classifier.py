"""The trained model as one thing that takes text: front-end, classifier, softmax and label, all shapes static.

This is what `predict` runs, what every export is made from and what it is compared with.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property

import numpy as np
import tensorflow as tf

from switch_tf.config import Config
from switch_tf.errors import DataError, RunError
from switch_tf.models.classifier import SwitchClassifier, answer_of
from switch_tf.models.fused import FusedClassifier, read_classifier
from switch_tf.models.packed import packed_logits
from switch_tf.runs.folder import VOCABULARY, WEIGHTS, Run
from switch_tf.runs.rejection import Rejection, label_list
from switch_tf.text.front_ends import BytesFrontEnd, bytes_front_end, reading_front_end, string_front_end
from switch_tf.text.given import check_texts
from switch_tf.text.plain_subwords import PlainSubwords
from switch_tf.text.spec import FIRST_WORD_ID

_BATCH = 64  # texts at a time: larger ones are no faster on a CPU


class TextClassifier(tf.Module):
    """Raw text in, probabilities and label out.

    Text inputs answer the label as a string, the `ids` and `bytes` inputs as an index, so that they hold no string
    operator and compile under XLA. With a `rejection`, a text whose highest probability is below its threshold is
    answered by the reject label, whose index is the number of classes; probabilities stay those of the classes.
    """

    runtime = "TensorFlow"

    def __init__(
        self,
        config: Config,
        vocabulary: Sequence[str],
        labels: Sequence[str],
        classifier: SwitchClassifier | FusedClassifier,
        rejection: Rejection | None = None,
    ):
        super().__init__(name="text_classifier")
        self.spec = config.text
        self._labels, self._vocabulary = list(labels), list(vocabulary)
        self.rejection = rejection
        self.text = string_front_end(config.text, vocabulary)
        self.classifier = classifier
        text = tf.TensorSpec([None], tf.string, name="text")
        ids = tf.TensorSpec([None, config.text.ids_length], tf.int32, name="ids")
        raw = tf.TensorSpec([None, config.text.num_bytes], tf.uint8, name="bytes")
        self.tokenize = tf.function(self._tokenize, input_signature=[text], autograph=False)
        self.classify_ids = tf.function(self._classify_ids, input_signature=[ids], autograph=False)
        self.classify_text = tf.function(self._classify_text, input_signature=[text], autograph=False)
        self._trace = cache(self.classify_text.get_concrete_function)  # TensorFlow warns of models asked once each
        self.tokenize_bytes = tf.function(self._tokenize_bytes, input_signature=[raw], autograph=False)
        self.classify_bytes = tf.function(self._classify_bytes, input_signature=[raw], autograph=False)
        examples = tf.TensorSpec([None], tf.string, name="inputs")
        self.classify_examples = tf.function(self._classify_examples, input_signature=[examples], autograph=False)

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the probabilities; a plain list, where the module holds a tracked one."""
        return list(self._labels)

    @property
    def label_list(self) -> list[str]:
        """What a label index means: the class names and, behind them, the reject label where there is one."""
        return label_list(self._labels, self.rejection)

    @property
    def vocabulary(self) -> list[str]:
        """Words, the first of which has id 2."""
        return list(self._vocabulary)

    @cached_property
    def numeric_text(self) -> BytesFrontEnd:
        """The front-end of the `bytes` input, made when it is first asked for: neither training nor `predict` does."""
        return bytes_front_end(self.spec, self._vocabulary, self.text)

    @cached_property
    def whole_ids(self) -> Callable[[Sequence[bytes]], np.ndarray]:
        """What reads texts of any length as a whole, whatever the inputs read of them: int32 [texts, length]."""
        front_end = reading_front_end(self.spec, self._vocabulary)
        if isinstance(front_end, PlainSubwords):
            return front_end.whole_ids
        return lambda texts: self.tokenize(tf.constant(texts, tf.string))["ids"].numpy()

    def stored_arrays(self) -> dict[str, np.ndarray]:
        """Every weight and table of the classifier by name, float32 or int32: what each artifact must hold.

        The two scales of a model with both paths are single numbers here, as the graph takes them apart.
        """
        arrays = {each.name.removesuffix(":0"): each.numpy() for each in self.classifier.variables}
        if isinstance(self.classifier, FusedClassifier):
            name = self.classifier.scales.name.removesuffix(":0")
            arrays |= {f"{name}/{number}": each for number, each in enumerate(np.split(arrays.pop(name), 2))}
        return arrays

    def folded_arrays(self) -> dict[str, np.ndarray]:
        """Those of `stored_arrays` that the graph multiplies by a constant afterwards, multiplied by it.

        A converter may store these instead: TFLite's does.
        """
        settings = self.classifier.settings
        factors = {"/attention/query/": np.float32((settings.d_model // settings.num_heads) ** -0.5)}
        if isinstance(self.classifier, FusedClassifier):
            factors["/head/"] = self.classifier.scales.numpy()[1]
        return {
            name: array * factor
            for name, array in self.stored_arrays().items()
            for place, factor in factors.items()
            if place in name
        }

    def probabilities(self, texts: Sequence[str | bytes] | np.ndarray) -> np.ndarray:
        """float32 [texts, classes]; any number of texts, in batches.

        Raises:
            DataError: a text is neither a string nor bytes.
        """
        given = check_texts(texts)
        answer = self._trace()
        answers = [
            answer(tf.constant(given[start : start + _BATCH], tf.string))["probabilities"].numpy()
            for start in range(0, len(given), _BATCH)
        ]
        return np.concatenate([np.zeros([0, len(self.labels)], np.float32), *answers])

    def classify_packed(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `classify_ids` answers, but for rounding, by `packed_logits`: for runtimes on a CPU, in any batch."""
        return answer_of(packed_logits(self.classifier, ids), self.rejection)

    def _tokenize(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": self.text(text)}  # [batch, ids]

    def _tokenize_bytes(self, bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"ids": self.numeric_text(bytes)}  # [batch, length]

    def _classify_bytes(self, bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._classify_ids(self.numeric_text(bytes))

    def _classify_ids(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer_of(self.classifier(ids, training=False).logits, self.rejection)

    def _classify_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = self._classify_ids(self.text(text))
        return answer | {"label": tf.gather(tf.constant(self.label_list), answer["label"])}  # [batch]

    def _classify_examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """As TF Serving's Classify wants it: every class beside its score, for serialized tf.Example with a `text`.

        The reject label is one more, and its score is the threshold: the highest score is that of the answer.
        """
        text = tf.io.parse_example(inputs, {"text": tf.io.FixedLenFeature([], tf.string)})["text"]  # [batch]
        scores = self._classify_ids(self.text(text))["probabilities"]  # [batch, classes]
        if self.rejection is not None:
            threshold = tf.fill([tf.shape(scores)[0], 1], np.float32(self.rejection.threshold))  # [batch, 1]
            scores = tf.concat([scores, threshold], axis=1)  # [batch, classes + 1]
        return {"classes": tf.broadcast_to(tf.constant(self.label_list), tf.shape(scores)), "scores": scores}


def load_classifier(run: Run, words: int | None = None) -> TextClassifier:
    """The trained model of a run folder, in float32.

    Args:
        words: keep that many of the most frequent words; the others become out of vocabulary.

    Raises:
        RunError: the weights or the vocabulary are missing, damaged or of another model.
    """
    vocabulary = run.vocabulary[:words]
    classifier = read_classifier(
        run.config,
        run.path / WEIGHTS,
        num_ids=len(run.vocabulary) + FIRST_WORD_ID,
        num_classes=len(run.labels),
        kept_ids=len(vocabulary) + FIRST_WORD_ID,
    )
    try:
        return TextClassifier(run.config, vocabulary, run.labels, classifier, run.rejection)
    except DataError as error:  # of the vocabulary
        raise RunError(f"{run.path / VOCABULARY} is damaged: {error} Restore the file, or train again.") from error
