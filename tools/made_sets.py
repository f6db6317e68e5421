"""Makes small sets that words of bytes cannot tell, for compare_front_ends.py: one word of each text says its class.

    python tools/made_sets.py FOLDER
    python tools/compare_front_ends.py chinese=FOLDER/chinese thai=FOLDER/thai russian=FOLDER/russian

Chinese and Thai are written without spaces; of Russian each letter is a capital or a small one by chance. The word that
tells is one of five, at any place among four others that tell nothing. No two texts are alike.
"""

import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from switch_tf.files import write_bytes

TRAINING, TEST, SEED = 160, 400, 0


class Language(NamedTuple):
    """Words that say good, that say bad and that say nothing, and what stands between words."""

    good: str
    bad: str
    filling: str
    between: str = ""
    any_case: bool = False


LANGUAGES = {
    "chinese": Language("好棒 喜欢 精彩 感人 优秀", "难看 无聊 讨厌 糟糕 失望", "电影 这部 我 今天 演员 剧情 昨天"),
    "thai": Language(
        "ดีมาก สนุก ประทับใจ ยอดเยี่ยม ชอบ", "แย่มาก น่าเบื่อ ผิดหวัง ห่วย เกลียด", "หนัง เรื่องนี้ ฉัน วันนี้ นักแสดง บท เมื่อวาน"
    ),
    "russian": Language(
        "чудо прекрасно отлично люблю радость",
        "скука ужасно плохо ненавижу тоска",
        "фильм этот я сегодня актёр сюжет вчера",
        between=" ",
        any_case=True,
    ),
}


def rows(language: Language) -> Iterator[tuple[str, str]]:
    """Labels and texts without end, good and bad in turns, no text twice."""
    draw, seen = np.random.default_rng(SEED), set[str]()
    telling = {"good": language.good.split(), "bad": language.bad.split()}
    while True:
        for label, words in telling.items():
            text = ""
            while not text or text in seen:
                chosen = [*draw.choice(language.filling.split(), 4), draw.choice(words)]
                text = language.between.join(draw.permutation(chosen))
                if language.any_case:
                    text = "".join(letter.upper() if draw.random() < 0.5 else letter for letter in text)
            seen.add(text)
            yield label, text


def write(folder: Path) -> None:
    """A folder for each language, with train.tsv.xz and test.tsv.xz in it."""
    for name, language in LANGUAGES.items():
        made = rows(language)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for part, count in (("train", TRAINING), ("test", TEST)):
            lines = ["label\ttext", *("\t".join(next(made)) for _ in range(count))]
            write_bytes(
                folder / name / f"{part}.tsv.xz", lzma.compress("".join(f"{line}\n" for line in lines).encode())
            )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
