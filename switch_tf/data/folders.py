"""Rows of folders: one folder of text files for each class."""

import os
from collections.abc import Iterator
from pathlib import Path

from switch_tf.data.opening import refusing_damage
from switch_tf.data.rows import ROW_LIMIT, Row, check_label
from switch_tf.data.sniffing import recognise, remedy
from switch_tf.errors import DataError


def split_folder(folder: Path, split: str) -> Path:
    """The folder that holds the class folders: `folder`, or `folder/split` where train and test are kept apart."""
    # A folder `train` that holds texts is a class (of vehicles, say); one that holds folders is a split.
    splits = [name for name in ("train", "test") if _subfolders(folder / name)]
    if not splits:
        return folder
    if not _subfolders(folder / split):
        raise DataError(f"{folder} has no split {split!r}. Expected class folders in {folder / split}.")
    return folder / split


def folder_rows(folder: Path) -> Iterator[Row]:
    """Texts of `folder/CLASS/*.txt`, classes and files in order of their names; a folder without .txt is no class.

    A row's problem names its file.

    Raises:
        DataError: there is no class folder, or it cannot be read.
    """
    empty = True
    for class_folder in _subfolders(folder):
        with refusing_damage(class_folder):
            files = sorted(path for path in class_folder.iterdir() if path.suffix == ".txt")
        for path in files:
            label, problem = check_label(class_folder.name)
            if problem:
                raise DataError(f"{class_folder}, its name: {problem}")
            name = os.fsencode(path.name).decode(errors="backslashreplace")
            text, problem = _read_text(path)
            yield Row(f"{label}/{name}", text, label, problem)
            empty = False
    if empty:
        raise DataError(f"{folder} has no class folders. Expected one folder for each class, with .txt files in it.")


def _subfolders(folder: Path) -> list[Path]:
    """Folders that may be classes; in the aclImdb layout `unsup` holds the texts without a label."""
    with refusing_damage(folder):
        if not folder.is_dir():
            return []
        folders = [path for path in folder.iterdir() if path.is_dir() and path.name != "unsup"]
    return sorted(path for path in folders if not path.name.startswith("."))


def _read_text(path: Path) -> tuple[str, str]:
    """(text, problem) of a file."""
    with refusing_damage(path), path.open("rb") as stream:
        content = stream.read(ROW_LIMIT + 1)
    if len(content) > ROW_LIMIT:
        return "", f"{path} is over 16 MiB. Expected one text to classify in each file."
    found = recognise(content[:4096])
    if found is not None and found.what not in ("an HTML page", "XML"):  # a page may well be a text
        return "", f"{path} holds {found.what}, not UTF-8 text. {remedy(found, path)}."
    try:
        return content.decode().removeprefix("\ufeff"), ""
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        position = error.start - content.rfind(b"\n", 0, error.start)  # counted from 1, as lines are
        problem = f"0x{content[error.start]:02x} is not UTF-8, which was expected"
        convert = "Convert the file, such as with `iconv -f cp1252 -t utf-8`"
        return "", f"{path}, line {line}, byte {position}: {problem}. {convert}."
