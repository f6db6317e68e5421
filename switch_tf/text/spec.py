"""How text becomes token ids: the one specification that every front-end (Keras, numeric, ONNX) realises."""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from switch_tf.settings import STRICT, setting

PADDING_ID = 0
OUT_OF_VOCABULARY_ID = 1
FIRST_WORD_ID = 2  # of the vocabulary's first word
PADDING = ""  # what stands for the first two ids where words do
OUT_OF_VOCABULARY = "[UNK]"

Standardize = Literal["lower_and_strip_punctuation", "lower", "strip_punctuation", "none"]
Rules = Literal["bert", "hf_bert", "sentencepiece"]  # of pieces, each the name of a reference
Lowercase = Literal["ascii", "unicode", "none"]
Normalization = Literal[
    "identity",
    "nmt_nfkc",
    "nmt_nfkc_cf",
    "nfkc",
    "nfkc_cf",
    "nmt_nfkc/0.2.0",
    "nmt_nfkc_cf/0.2.0",
    "nfkc/0.2.0",
    "nfkc_cf/0.2.0",
    "nmt_nfkc/0.1.83",
    "nmt_nfkc_cf/0.1.83",
    "nfkc/0.1.83",
    "nfkc_cf/0.1.83",
]
_OTHER_SETTINGS = {  # what does it where `lowercase` does not
    ("words", "none"): "words keep capitals by standardize = 'strip_punctuation' or 'none'",
    ("unigram", "none"): "unigram keeps capitals by normalization = 'nmt_nfkc'",
    ("unigram", "unicode"): "unigram lower-cases by normalization",
}


@dataclass(frozen=True, config=STRICT)
class TextSpec:
    """How text becomes token ids; every front-end (Keras, numeric, ONNX) realises this one specification.

    Bytes 9-13, 32 and 0 are whitespace; lower-casing is ASCII only; punctuation is `string.punctuation` and is
    removed without leaving a space; a token that becomes empty vanishes; id 0 is padding and id 1 is out of vocabulary.
    With `tokenizer` = "wordpiece" tokens are pieces of words instead, as `switch_tf.text.plain_pieces` has it, with
    "unigram" as `switch_tf.text.plain_unigram` has it, and every input reads the first `num_bytes` bytes of a text. So
    it does with `lowercase` = "unicode", by which a word is what `switch_tf.text.unicode_characters` says, and with
    `unknown_words` = "letters", where what `switch_tf.text.plain_spelling` says stands behind the ids. Of wordpiece
    `lowercase` and `strip_accents` are what they are to BERT's normalizers: see `folding`.
    """

    vocabulary_size: Annotated[int, Field(ge=3, le=1_000_000)] = setting(
        10_000, "ids in use at most, padding and OOV included; the most frequent training words are kept"
    )
    tokenizer: Literal["words", "wordpiece", "unigram"] = setting(
        "words", "what a token is: a word, or a piece of one, for languages and spellings that few words cover"
    )
    tokenizer_rules: Rules = setting(
        "bert", "reference of pieces: tensorflow_text.FastBertTokenizer, tokenizers' BERT, or of unigram sentencepiece"
    )
    normalization: Normalization = setting(
        "nmt_nfkc_cf", "unigram's rules for characters, as sentencepiece names them: cf folds cases, nmt cleans spaces"
    )
    unigram_sums: Literal["exact", "sequential"] = setting(
        "exact", "scores on a grid, whose sums are exact in any order, or any scores, added as sentencepiece does"
    )
    vocabulary_file: Annotated[str, Field(min_length=1)] | None = setting(
        None, "pieces from a vocab.txt, tokenizer.json or (of unigram) spiece.model, in place of learnt ones"
    )
    lowercase: Lowercase = setting(
        "ascii",
        "'unicode': words by Unicode's rules, Chinese by character; 'none': wordpiece that keeps capitals (cased)",
    )
    strip_accents: bool = setting(
        False, "with lowercase = 'unicode' or 'none': read é as e and й as и, which then are one word"
    )
    unknown_words: Literal["alike", "letters"] = setting(
        "alike", "all words out of vocabulary are one, or the wide path tells them by their letters, typos among them"
    )
    standardize: Standardize = setting(
        "lower_and_strip_punctuation",
        "as in Keras TextVectorization, lower-casing ASCII alone (not É or Ж); 'none' changes nothing",
    )
    sequence_length: Annotated[int, Field(ge=1, le=8192)] = setting(64, "tokens read of a text (L)")
    byte_length: Annotated[int, Field(ge=0, le=65_536)] | None = setting(
        None, "bytes read by the bytes input (N); unset or 0: 8 x sequence_length, rounded up to a multiple of 256"
    )
    truncation: Literal["prefix", "drop"] = setting(
        "prefix", "texts that fill byte_length: keep a last word that may be cut ('prefix') or leave it out ('drop')"
    )

    @model_validator(mode="before")
    @classmethod
    def _rules_of_unigram(cls, given: Any) -> Any:
        """There is one kind of rules that unigram can have."""
        named = given.kwargs if isinstance(given, ArgsKwargs) else given
        if named and named.get("tokenizer") == "unigram" and "tokenizer_rules" not in named:
            return {**named, "tokenizer_rules": "sentencepiece"}
        return given

    @model_validator(mode="after")
    def _fits_tokenizer(self) -> "TextSpec":
        if self.tokenizer != "words" and self.standardize != "lower_and_strip_punctuation":
            does = {"wordpiece": "what wordpiece lower-cases, its rules say", "unigram": "unigram has normalization"}
            raise ValueError(f"standardize is for tokenizer = 'words'; {does[self.tokenizer]}")
        if self.tokenizer == "words" and (self.tokenizer_rules != "bert" or self.vocabulary_file is not None):
            raise ValueError("tokenizer_rules and vocabulary_file are for tokenizer = 'wordpiece' or 'unigram'")
        if (self.tokenizer == "unigram") != (self.tokenizer_rules == "sentencepiece"):
            raise ValueError("tokenizer = 'unigram' has the rules 'sentencepiece', and no other has")
        if self.tokenizer != "unigram" and (self.normalization, self.unigram_sums) != ("nmt_nfkc_cf", "exact"):
            raise ValueError("normalization and unigram_sums are for tokenizer = 'unigram'")
        return self

    @model_validator(mode="after")
    def _fits_lowercase(self) -> "TextSpec":
        if (self.tokenizer, self.lowercase) in _OTHER_SETTINGS:
            instead = _OTHER_SETTINGS[self.tokenizer, self.lowercase]
            raise ValueError(f"lowercase = {self.lowercase!r} is not for tokenizer = {self.tokenizer!r}; {instead}")
        if self.lowercase != "ascii" and self.standardize != "lower_and_strip_punctuation":
            goes_with = "standardize = 'lower_and_strip_punctuation' alone"
            raise ValueError(f"lowercase = {self.lowercase!r} goes with {goes_with}")
        if self.strip_accents and self.lowercase == "ascii":
            raise ValueError("strip_accents is for lowercase = 'unicode', and of wordpiece for 'none'")
        lowers, strips = self.folding
        if self.tokenizer_rules == "bert" and self.tokenizer == "wordpiece" and lowers != strips:
            raise ValueError(
                "the rules 'bert' lower-case and strip accents (leave lowercase out) or do neither (lowercase = "
                "'none'). For one of the two set tokenizer_rules = 'hf_bert'"
            )
        return self

    @model_validator(mode="after")
    def _fits_unknown_words(self) -> "TextSpec":
        if self.unknown_words == "letters" and not self.by_bytes:
            other = f"tokenizer = {self.tokenizer!r} reads pieces of words"
            if self.tokenizer == "words":
                other = "lowercase = 'unicode' has words of characters"
            raise ValueError(f"unknown_words = 'letters' is for words of bytes, and {other}: leave one of them out")
        return self

    @property
    def by_bytes(self) -> bool:
        """Whether a token is a word of bytes, whatever their encoding, as Keras reads it.

        >>> TextSpec().by_bytes, TextSpec(lowercase="unicode").by_bytes, TextSpec(tokenizer="wordpiece").by_bytes
        (True, False, False)
        """
        return self.tokenizer == "words" and self.lowercase == "ascii"

    @property
    def folding(self) -> tuple[bool, bool]:
        """Whether wordpiece lower-cases, and whether it strips accents, as BERT's normalizers have it.

        >>> TextSpec(tokenizer="wordpiece").folding, TextSpec(tokenizer="wordpiece", lowercase="none").folding
        ((True, True), (False, False))
        """
        return self.lowercase != "none", self.lowercase == "ascii" or self.strip_accents

    @property
    def num_bytes(self) -> int:
        """Bytes that the bytes input reads, N: as asked for, or else from the sequence length.

        >>> TextSpec(sequence_length=256).num_bytes, TextSpec(sequence_length=256, byte_length=100).num_bytes
        (2048, 100)
        """
        return self.byte_length or -(-8 * self.sequence_length // 256) * 256

    @property
    def by_strings(self) -> bool:
        """Whether Keras reads strings, and so all of a text, where the bytes input reads its first N bytes."""
        return self.by_bytes and not self.spells

    @property
    def spells(self) -> bool:
        """Whether the letters of unknown words stand behind the ids of a text.

        >>> TextSpec().spells, TextSpec(unknown_words="letters").spells
        (False, True)
        """
        return self.unknown_words == "letters"

    @property
    def ids_length(self) -> int:
        """Integers that stand for a text: L ids, and N + 2 for the letters of its unknown words if it has them.

        >>> TextSpec(sequence_length=32).ids_length, TextSpec(sequence_length=32, unknown_words="letters").ids_length
        (32, 290)
        """
        return self.sequence_length + (self.num_bytes + 2 if self.spells else 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a model that leaves this package, which has to know N whether it was asked for or not."""
        values = dataclasses.asdict(self) | {"byte_length": self.num_bytes}
        left_out = ["vocabulary_file"]  # of the machine that trained
        if self.tokenizer == "words":
            left_out += ["tokenizer", "tokenizer_rules"]  # as every release that reads such a model expects
        if self.tokenizer != "unigram":
            left_out += ["normalization", "unigram_sums"]  # the same
        if self.lowercase == "ascii":
            left_out += ["lowercase", "strip_accents"]  # the same
        if not self.spells:
            left_out += ["unknown_words"]  # the same
        return {name: value for name, value in values.items() if name not in left_out}
