"""What may be a class name, wherever one is read: in a run, an artifact or its manifest."""

import re

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def labels_problem(labels: object) -> str | None:
    """What is wrong with class names that were read from a file; None if nothing is.

    They are at least two strings, none empty, none twice, none with a line break or another control character, and all
    of them UTF-8, which half a surrogate pair is not.
    """
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return "are no list of class names"
    if len(labels) < 2:
        return "are fewer than two class names"
    if len(set(labels)) < len(labels):
        return "have a name twice"
    for label in labels:
        if not label.strip() or _CONTROL_CHARACTER.search(label):
            return f"have the name {label[:40]!r}, which is empty or holds a control character"
        if any("\ud800" <= character <= "\udfff" for character in label):
            return f"have the name {label[:40]!r}, which is not UTF-8"
    return None
