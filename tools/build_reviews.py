"""Builds the embedded set `reviews` from a source distribution of vaderSentiment 3.3.2, the same bytes every time.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python tools/build_reviews.py vaderSentiment-3.3.2.tar.gz

A snippet is `pos` or `neg` by the sign of its mean rating; ratings nearer to zero than 0.5 are left out.
"""

import argparse
import hashlib
import io
import lzma
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from switch_tf.data.examples import Examples, split_validation

SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
OUTPUT = Path(__file__).parent.parent / "switch_tf" / "datasets" / "reviews"

_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_SNIPPETS = ("movieReviewSnippets_GroundTruth.txt", "amazonReviewSnippets_GroundTruth.txt")
_LEAST_RATING = 0.5  # on the scale from -4 to 4: raters do not agree on the sign of weaker ones
_TEST_SHARE = 0.15
_SEED = 0

_NOTICE = """\
The data set "reviews": movie and product review snippets with human sentiment ratings
======================================================================================

Origin
------
Files movieReviewSnippets_GroundTruth.txt and amazonReviewSnippets_GroundTruth.txt of the ICWSM 2014 data set by
C.J. Hutto and Eric Gilbert, as distributed in the source distribution of the Python package vaderSentiment 3.3.2
(inside it, additional_resources/hutto_ICWSM_2014.tar.gz). Each snippet has a mean rating between -4 and 4 by human
raters. Its authors derived the snippets from the movie reviews of Pang and Lee (2004) and from the customer reviews
of Hu and Liu (2004).

Citation
--------
Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text. Eighth International Conference on Weblogs and Social Media (ICWSM-14). Ann Arbor, MI, June 2014.

What was changed
----------------
- Snippets with a mean rating of at least 0.5 are labelled "pos", of at most -0.5 "neg"; the others are left out, and
  so are the ids and the ratings.
- A tab or line break inside a snippet is a space.
- The snippets are split at random, 85 % for train.tsv.xz and 15 % for test.tsv.xz, stratified by label; snippets
  that differ in case, punctuation or spacing alone stay together.
tools/build_reviews.py in the sources of switch-tf makes these files.

Licence of the original work
----------------------------
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the archive, writes the two tables and the notice, and prints how many rows they have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdist", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder to write to (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.sdist.is_file():
        parser.error(f"there is no file {options.sdist}")
    received = hashlib.sha256(options.sdist.read_bytes()).hexdigest()
    if received != SHA256:
        print(f"{options.sdist} has SHA-256 {received}. Expected {SHA256}: download it again.", file=sys.stderr)
        return 1
    for line in build(options.sdist, options.output):
        print(line)
    return 0


def build(sdist: Path, output: Path) -> list[str]:
    """Writes `train.tsv.xz`, `test.tsv.xz` and `NOTICE.txt` into `output`; a line to print for each table."""
    summary = []
    output.mkdir(parents=True, exist_ok=True)
    examples = read_snippets(sdist)
    for name, part in zip(("train", "test"), split_validation(examples, _TEST_SHARE, _SEED), strict=True):
        path = output / f"{name}.tsv.xz"
        path.write_bytes(lzma.compress(as_tsv(part), preset=9 | lzma.PRESET_EXTREME))
        positive = part.labels.to_pylist().count("pos")
        summary.append(f"{path}: {len(part):,} rows, {positive:,} positive, {path.stat().st_size:,} bytes")
    licence = _member(sdist.read_bytes(), "LICENSE.txt").decode().replace("\r\n", "\n")
    (output / "NOTICE.txt").write_text(_NOTICE + licence.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    return summary


def read_snippets(sdist: Path) -> Examples:
    """The snippets with a clear rating, movies first, in the order of their files."""
    archive = _member(sdist.read_bytes(), _ARCHIVE)
    rows = [row for name in _SNIPPETS for row in labelled(_member(archive, name))]
    labels, texts = zip(*rows, strict=True)
    return Examples(
        texts=pa.chunked_array([texts], type=pa.large_string()),
        labels=pa.chunked_array([labels], type=pa.string()),
        source=str(sdist),
        places=pa.chunked_array([range(len(rows))], type=pa.int64()),
        unit="row",
    )


def labelled(snippets: bytes) -> Iterator[tuple[str, str]]:
    """(label, text) of the lines `id, mean rating, text`, separated by tabs, whose rating is clear."""
    for line in snippets.decode().split("\n"):
        if not line.strip():
            continue
        _, rating, text = line.removesuffix("\r").split("\t", 2)
        if abs(float(rating)) >= _LEAST_RATING:
            yield "pos" if float(rating) > 0 else "neg", text.replace("\t", " ").replace("\r", " ")


def as_tsv(examples: Examples) -> bytes:
    """The table as bytes: header `label`, `text`, one line a row, no quoting."""
    rows = zip(examples.labels.to_pylist(), examples.texts.to_pylist(), strict=True)
    return "".join(f"{label}\t{text}\n" for label, text in [("label", "text"), *rows]).encode()


def _member(archive: bytes, name: str) -> bytes:
    """One file of a .tar.gz by its path below the archive's top folder; nothing is unpacked to disk."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for entry in tar:
            if entry.isfile() and entry.name.partition("/")[2] == name:
                content = tar.extractfile(entry)
                assert content is not None  # a regular file has content
                return content.read()
    raise FileNotFoundError(f"The archive has no file {name}.")


if __name__ == "__main__":
    sys.exit(main())
