# ruff: noqa: RUF001 - sentences of many scripts
"""Makes the references that tests hold the tokenizer wordpiece against: ids of many texts by the libraries themselves.

    python3 -m venv reference && reference/bin/pip install . tensorflow-text tokenizers
    reference/bin/python tools/wordpiece_fixtures.py tests/data/wordpiece
    reference/bin/python tools/wordpiece_fixtures.py tests/data/wordpiece_cased --cased

It writes vocab.txt, which the library tokenizers has learnt from the built-in reviews and the sentences below; the
tokenizer.json of the same; and reference.json.xz: texts, and their ids by tensorflow_text.FastBertTokenizer ("bert")
and by tokenizers ("hf_bert"), numbered as we number them: 0 is padding, 1 is [UNK], the first piece of vocab.txt is 2.
With --cased the vocabulary keeps capitals and accents, and the ids are by the names of tools/character_tables.py.
"""

import argparse
import json
import lzma
import random
from collections.abc import Iterator
from pathlib import Path

import tensorflow_text
from tokenizers import BertWordPieceTokenizer, Tokenizer, normalizers

REVIEWS = Path(__file__).parents[1] / "switch_tf" / "datasets" / "reviews" / "train.tsv.xz"
PIECES, TEXTS, SEED = 1200, 1500, 0
FOLDING = {  # of tokenizers: whether it lower-cases and strips accents
    False: {"hf_bert": (True, True)},
    True: {"hf_bert_accents": (True, False), "hf_bert_cased": (False, False), "hf_bert_cased_stripped": (False, True)},
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SENTENCES = [
    "The film was a quiet surprise, and I can't recommend it enough!",
    "Der Film war eine ruhige Überraschung; die Größe täuscht.",
    "Le film était une surprise, très réussie, où l'été ne finit pas.",
    "La película fue una sorpresa: ¿quién lo habría dicho, señor?",
    "O filme não é tão ruim, mas a atuação deixa a desejar.",
    "Il film è stato una sorpresa, perché così non si vede più.",
    "De film was een rustige verrassing, vond mijn coördinator.",
    "Filmen var en stilla överraskning på svenska, ja, åtminstone.",
    "Film był cichą niespodzianką, źle, że tak późno go obejrzałem.",
    "Ten film byl příjemné překvapení, řekl šéf s úsměvem.",
    "Film sessiz bir sürprizdi; İstanbul'da ışık çok güzeldi.",
    "Phim này thật bất ngờ, diễn viên diễn rất hay, tôi thích lắm.",
    "Фильм оказался тихой неожиданностью, ёлки-палки!",
    "Фільм виявився приємною несподіванкою, її ґанок чудовий.",
    "Η ταινία ήταν μια ήσυχη έκπληξη, πολύ καλή.",
    "הסרט היה הפתעה שקטה, שָׁלוֹם לכולם.",
    "كان الفيلم مفاجأة هادئة، والممثلون رائعون جدًا.",
    "فیلم یک غافلگیری آرام بود، می‌توانم آن را پیشنهاد کنم.",
    "फ़िल्म एक शांत आश्चर्य थी, मुझे बहुत पसंद आई।",
    "ছবিটি একটি শান্ত চমক ছিল, আমার খুব ভালো লেগেছে।",
    "இந்தப் படம் ஒரு அமைதியான ஆச்சரியம், மிகவும் பிடித்தது.",
    "ภาพยนตร์เรื่องนี้น่าประหลาดใจมาก นักแสดงเล่นดีจริงๆ",
    "这部电影真是个安静的惊喜，演员演得非常好。",
    "この映画は静かな驚きでした。とても面白かったです。",
    "영화가 정말 좋았어요. 배우들의 연기가 훌륭했습니다!",
    "ფილმი ძალიან კარგი იყო, მომეწონა.",
    "Ֆիլմը շատ լավն էր, ինձ դուր եկավ։",
]
BLOCKS = [
    (0x01, 0x80), (0x80, 0x250), (0x250, 0x370), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xD80),
    (0xE00, 0xE80), (0x1000, 0x1200), (0x1E00, 0x2100), (0x2100, 0x2800), (0x3000, 0x3400), (0x4E00, 0xA000),
    (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x20000), (0x1F300, 0x1FA00), (0xE0000, 0xE0200), (0x01, 0xD800),
    (0x10000, 0x110000),
]  # fmt: skip
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\x85", "\x1c", ""]


def texts(words: list[str]) -> Iterator[str]:
    """Sentences, then mixtures of words in other cases, of what words are made of, and of characters of all scripts."""
    draw = random.Random(SEED)
    yield from [
        "",
        " ",
        "[UNK] [CLS]",
        "a" * 99,
        "a" * 100,
        "a" * 101,
        "é" * 50,
        "é" * 51,
        "中" * 60,
        "½" * 20,
        "\ufdfa",
    ]
    yield from SENTENCES
    yield from (sentence.upper() for sentence in SENTENCES)

    def character() -> str:
        return chr(draw.randrange(*draw.choice(BLOCKS)))

    def word() -> str:
        kind, known = draw.random(), draw.choice(words)
        if kind < 0.4:
            return draw.choice([known, known.upper(), known.title()])
        if kind < 0.6:
            return "".join(draw.choice(words) for _ in range(draw.randint(2, 4)))
        if kind < 0.7:
            place = draw.randint(0, len(known))
            return known[:place] + draw.choice(["\u0301", "!", "x", character()]) + known[place:]
        if kind < 0.8:
            return draw.choice("!?.,;:'\"-_()[]{}@#$%^&*+=~`<>/\\|") * draw.randint(1, 4)
        return "".join(character() for _ in range(draw.randint(1, 5)))

    while True:
        yield "".join(word() + draw.choice(SPACES) for _ in range(draw.randint(1, 14)))


def valid(given: Iterator[str]) -> Iterator[str]:
    """Those that UTF-8 can hold."""
    return (text for text in given if not any(0xD800 <= ord(each) < 0xE000 for each in text))


def write(folder: Path, *, cased: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with lzma.open(REVIEWS, "rt", encoding="utf-8") as stream:
        reviews = [line.split("\t")[1] for line in stream.read().splitlines()[1:]]
    learner = BertWordPieceTokenizer(lowercase=not cased, strip_accents=False if cased else None)
    learner.train_from_iterator([*reviews, *SENTENCES * 5], vocab_size=PIECES, min_frequency=2, show_progress=False)
    learner.save(str(folder / "tokenizer.json"))
    pieces = sorted(learner.get_vocab(), key=learner.get_vocab().__getitem__)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")

    words = [*{word for each in [*SENTENCES, *reviews[:200]] for word in each.split()}]
    made = valid(texts(sorted(words)))
    asked = [next(made) for _ in range(TEXTS)]
    known = ["[PAD]", "[UNK]", *(piece for piece in pieces if piece not in SPECIAL)]
    fast = tensorflow_text.FastBertTokenizer(
        known, support_detokenization=False, lower_case_nfd_strip_accents=not cased
    )
    reference = {
        "texts": asked,
        "bert_cased" if cased else "bert": fast.tokenize(asked).merge_dims(1, -1).to_list(),
        **{name: by_tokenizers(folder, asked, known, *folding) for name, folding in FOLDING[cased].items()},
    }
    with lzma.open(folder / "reference.json.xz", "wt", encoding="utf-8", preset=9) as stream:
        json.dump(reference, stream)


def by_tokenizers(
    folder: Path, asked: list[str], known: list[str], lowercase: bool, strip_accents: bool
) -> list[list[int]]:
    """The ids of texts by the tokenizer.json of a folder, whose capitals and accents are kept or not."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    own.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    own.encode_special_tokens = True  # what spells a special token is plain text to us
    numbers = {piece: number for number, piece in enumerate(known)}
    return [[numbers[each] for each in own.encode(text, add_special_tokens=False).tokens] for text in asked]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cased", action="store_true")
    given = parser.parse_args()
    write(given.folder, cased=given.cased)
