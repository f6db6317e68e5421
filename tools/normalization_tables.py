"""Writes switch_tf/text/character_tables/normalization.npz: the rules by which SentencePiece makes texts normal.

    python tools/normalization_tables.py nmt_nfkc=new.model nmt_nfkc/0.2.0=older.model ...

Each name is given a model file that the release has made with this `normalization_rule_name`; the newest release that
the table knows has no number behind its names. What is kept of a model is its rules: which characters, one or several,
become which. Rules that several names share are stored once.
"""

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np

from switch_tf.text.sentencepiece_file import read_model

TABLE = Path(__file__).parents[1] / "switch_tf" / "text" / "character_tables" / "normalization.npz"
_LABEL, _VALUE, _LEAF = 0xFF, 0x7FFFFFFF, 1 << 31


def rules(charsmap: bytes) -> dict[str, str]:
    """Every rule of a model's double-array trie, whose units are 32-bit words."""
    (size,) = struct.unpack_from("<I", charsmap)
    units = struct.unpack_from(f"<{size // 4}I", charsmap, 4)
    replacements = charsmap[4 + size :]
    found, waiting = {}, [(0, b"")]
    while waiting:
        place, key = waiting.pop()
        unit = units[place]
        children = place ^ (unit >> 10 << ((unit & 1 << 9) >> 6))
        if unit >> 8 & 1:
            start = units[children] & _VALUE
            found[key.decode()] = replacements[start : replacements.index(b"\0", start)].decode()
        for byte in range(1, 256):
            child = children ^ byte
            if child < len(units) and units[child] & (_LEAF | _LABEL) == byte:
                waiting.append((child, key + bytes([byte])))
    return found


def tables(charsmaps: dict[str, bytes]) -> dict[str, np.ndarray]:
    """As `switch_tf.text.normalization` reads them."""
    owners: dict[tuple[str, str], int] = {}
    for number, charsmap in enumerate(charsmaps.values()):
        for rule in rules(charsmap).items():
            owners[rule] = owners.get(rule, 0) | 1 << number
    ordered = sorted(owners, key=lambda rule: (len(rule[0]), rule[1], rule[0]))  # so that neighbours differ by little
    longest = max(len(key) for key, _ in ordered)
    keys = np.array([[*map(ord, key), *[0] * (longest - len(key))] for key, _ in ordered], np.int32)
    outputs = {output: number for number, output in enumerate(dict.fromkeys(output for _, output in ordered))}
    numbers = np.array([outputs[output] for _, output in ordered], np.int32)
    texts = np.array([ord(each) for each in "".join(outputs)], np.int32)
    return {
        "names": np.array(list(charsmaps)),
        "digests": np.array([hashlib.sha256(each).hexdigest() for each in charsmaps.values()]),
        "keys": np.diff(keys, axis=0, prepend=0).T,
        "outputs": np.diff(numbers, prepend=0),
        "owners": np.array([owners[rule] for rule in ordered], np.int32),
        "lengths": np.array(list(map(len, outputs)), np.uint8),
        "texts": np.diff(texts, prepend=0),
    }


if __name__ == "__main__":
    named = dict(each.split("=", 1) for each in sys.argv[1:])
    arrays = tables({name: read_model(Path(file).read_bytes()).charsmap for name, file in named.items()})
    np.savez_compressed(TABLE, allow_pickle=False, **arrays)
    print(f"{TABLE}: {TABLE.stat().st_size:,} bytes, {len(arrays['owners']):,} rules")
