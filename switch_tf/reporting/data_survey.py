"""The survey of the data as a person reads it, in lines of at most 80 characters."""

from typing import Any

from rich.cells import cell_len, set_cell_size

_WIDTH = 80
_ENDS = 4  # labels shown at the top and at the bottom where there are many
_NAME = 40  # cells of a label's name


def survey_lines(report: dict[str, Any]) -> list[str]:
    """Labels, figures and what was done about each, then the warnings."""
    examples = report["examples"]
    total = examples["training"] + examples["validation"]
    lines = _folded("Data: ", ", ".join(f"{count:,} for {name}" for name, count in examples.items()))
    lines += _folded("", f"{len(report['labels']):,} labels:", indent="  ")
    lines += _label_lines(report["labels"], total)
    for name, value in _figures(report, total):
        lines += _folded(f"  {name:<26}", value, indent=" " * 28)
    for note in report["notes"]:
        lines += _folded("  note: ", note, indent="        ")
    if report["skipped_rows"]:
        lines += _folded("  skipped: ", f"{report['skipped_rows']:,} rows that cannot be used, the first:", "    ")
        lines += _folded("    ", report["first_skipped_row"], "    ")
    for warning in report["warnings"]:
        lines += warning_lines(warning)
    return lines


def warning_lines(warning: str) -> list[str]:
    """A warning that nobody overlooks, in lines of at most 80 characters."""
    return _folded("WARNING: ", warning, indent="         ")


def _figures(report: dict[str, Any], total: int) -> list[tuple[str, str]]:
    length = report["sequence_length"]
    words = report["words_per_text"]
    tokens = "words" if report["tokenizer"] == "words" else "pieces"
    return [
        (f"{tokens} in a text", f"{words['median']:.0f} (median), {words['p95']:.0f} (95% have no more)"),
        (f"longer than L = {length}", f"{report['longer_than_sequence_length']:.1%} of texts; cut there"),
        (
            "out of vocabulary",
            f"{report['unknown_words_on_validation']:.1%} of validation's {tokens}, read as one that is unknown",
        ),
        ("no word, or missing", f"{_share(report['texts_without_a_word'], total)}; kept, read as nothing"),
        ("no known word", f"{_share(report['texts_without_a_known_word'], total)}; kept"),
        ("duplicates", f"{_share(report['duplicates'], total)}; kept, all on one side of the split"),
        ("of them contradicting", f"{_share(report['contradicting'], total)}; kept as they are"),
    ]


def _label_lines(labels: dict[str, int], total: int) -> list[str]:
    names = list(labels)
    if len(names) > 2 * _ENDS + 2:
        left = len(names) - 2 * _ENDS
        shown: list[str | None] = [*names[:_ENDS], None, *names[-_ENDS:]]
    else:
        left, shown = 0, list(names)
    lines = []
    for name in shown:
        if name is None:
            lines.append(f"    ... {left:,} more ...")
            continue
        printable = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)
        cut = printable if cell_len(printable) <= _NAME else set_cell_size(printable, _NAME - 3) + "..."
        lines.append(f"    {set_cell_size(cut, _NAME)} {labels[name]:>12,}  {labels[name] / total:6.1%}")
    return lines


def _share(count: int, total: int) -> str:
    return f"{count:,} of {total:,} ({count / total:.1%})"


def _folded(start: str, text: str, indent: str = "  ") -> list[str]:
    """Words in lines of at most 80 cells; a word that is longer is cut into pieces."""
    lines, line = [], start
    for word in text.split(" "):
        while cell_len(line) + cell_len(word) > _WIDTH and line.strip() and line not in (start, indent):
            lines.append(line.rstrip())
            line = indent
        while cell_len(line) + cell_len(word) > _WIDTH:
            piece = set_cell_size(word, _WIDTH - cell_len(line)).rstrip()
            lines.append(line + piece)
            word, line = word[len(piece) :], indent
        line += f"{word} "
    return [*lines, line.rstrip()]
