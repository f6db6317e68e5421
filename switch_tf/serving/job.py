"""Batch scoring: files of texts to a folder of answers beside all their columns, by every core, and again after a kill.

A second call with the same model, input and options does only what is missing; any other is refused. Nothing is
written before the input, the model and the folder are looked at.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from switch_tf import files
from switch_tf.data.arrow_tables import ArrowTables, format_of, open_tables
from switch_tf.data.inputs import InputFile, find_inputs
from switch_tf.data.rows import TEXT_COLUMN, Wanted
from switch_tf.data.streams import refuse_column_of_lines
from switch_tf.errors import DataError
from switch_tf.serving import parts
from switch_tf.serving.answering import beside
from switch_tf.serving.model_digest import digest_of
from switch_tf.serving.output_folder import SUCCESS, OutputFolder, begin, output_folder, part_name, read_json
from switch_tf.serving.part_files import format_for
from switch_tf.serving.pool import Work, answer_parts, cores

if TYPE_CHECKING:
    from switch_tf.artifacts.base import Predictor
    from switch_tf.artifacts.providers import Provider

_TOTALS = ("rows", "errors", "parts")
_FORMAT = 1  # of a job: how rows are cut into parts, and what stands in them


class Progress(Protocol):
    """What is told of a job while it runs."""

    def begin(self, workers: int) -> None:
        """So many processes are about to answer."""
        ...

    def part(self, rows: int, share: float, is_new: bool) -> None:
        """A part is there, this share of the input; it is new, or was there already."""
        ...

    def note(self, message: str) -> None:
        """A line that stays."""
        ...


@dataclass(frozen=True)
class ScoringOptions:
    """What a job does beside its model and its input.

    Attributes:
        text_column: the column of the texts, or several with commas between; None where none was named.
        no_header: the first row is data; columns are "1", "2", ...
        format: of the files of answers: "csv", "jsonl", "parquet", or None for that of the input.
        all_probabilities: a column for each class.
        rows_per_part: at most, in a file of answers.
        workers: processes; None is one a core.
        threads: of one operator, for a file; None is 1.
        provider: of ONNX Runtime.
    """

    text_column: str | None = None
    no_header: bool = False
    format: str | None = None
    all_probabilities: bool = False
    rows_per_part: int = parts.ROWS
    workers: int | None = None
    threads: int | None = None
    provider: "Provider" = "auto"


@dataclass(frozen=True)
class Input:
    """The files of a job, looked at."""

    files: list[InputFile]
    tables: ArrowTables
    notes: list[str]
    stamps: list[tuple[int, str]]  # of the files, before they were read


def score_files(
    model: Path,
    source: str,
    output: str,
    options: ScoringOptions,
    progress: Progress,
    load: "Callable[[], Predictor]",
) -> dict[str, Any]:
    """Answer all rows of files into a folder.

    Args:
        model: the path of what answers: a file or folder that `switch_tf.artifacts.opening.load_predictor` takes.
        source: a file, a folder, or a pattern with *.
        output: the folder, which need not be there.
        load: opens the model, to know its classes; each process opens its own.

    Returns:
        output, rows, errors (rows without an answer), parts, new_parts (of this call) and seconds.

    Raises:
        DataError: the input cannot be used, or a file of it was changed meanwhile.
        ModelError: the model cannot be opened, or fails.
        RunError: the folder is another job's or cannot be written, or processes keep dying. What is done stays.
    """
    started = time.monotonic()
    there = open_input(source, output, options)
    for line in dict.fromkeys(there.notes):
        progress.note(line)
    work = _work_for(model, there, options, load())
    folder = output_folder(output)
    with folder.alone():
        names = begin(folder, _job(work, there, options))
        totals, new = read_json(folder, SUCCESS, _TOTALS) if SUCCESS in names else {}, 0
        if totals and _is_complete(totals, names, work.format):
            progress.note(f"{output} is complete: nothing is left to do.")
        else:
            totals, new = _answer_all(work, there, options, folder, names, progress)
            if [file.stamp() for file in there.files] != there.stamps:
                raise DataError(f"{source}: a file was changed while it was read. Answer again, into another folder.")
            folder.write(SUCCESS, files.as_json(totals))
    return {"output": output, **totals, "new_parts": new, "seconds": round(time.monotonic() - started, 3)}


def open_input(source: str, output: str, options: ScoringOptions) -> Input:
    """The files that are meant, each of which can be read and has the columns.

    Raises:
        DataError: one has not.
        ArgumentError: a column was named, and there are none.
    """
    found = find_inputs(source)
    wanted = Wanted(options.text_column or TEXT_COLUMN, no_header=options.no_header)
    if options.text_column is not None:
        refuse_column_of_lines(found[0], options.text_column)
    if any(Path(file.path).parent.absolute() == Path(output).absolute() for file in found):
        raise DataError(f"{source} means files in {output} itself. Write the answers to another folder.", "output")
    stamps = [file.stamp() for file in found]
    return Input(found, open_tables(found, wanted), wanted.notes, stamps)


def _work_for(model: Path, there: Input, options: ScoringOptions, loaded: "Predictor") -> Work:
    added = beside(there.tables.schema.names, loaded.labels, loaded.rejection, options.all_probabilities)
    from switch_tf.artifacts.fine_tuned_folder import artifact_folder, is_artifact

    takes_threads = model.is_file() or is_artifact(artifact_folder(model))
    return Work(
        model=model,
        digest=digest_of(model),
        threads=(options.threads or 1) if takes_threads else None,
        provider=options.provider,
        texts=tuple(there.tables.texts),
        added=added,
        format=options.format or format_for(format_of(there.files[0])),
        json=there.tables.json,
    )


def _job(work: Work, there: Input, options: ScoringOptions) -> dict[str, Any]:
    """What has to be the same for a job to go on."""
    return {
        "format": _FORMAT,
        "model": {"sha256": work.digest},
        "input": [file.fingerprint() for file in there.files],
        "paths": {"model": str(work.model), "input": [file.path for file in there.files]},  # which may change
        "options": {
            "text_columns": list(work.texts),
            "no_header": options.no_header,
            "columns": there.tables.schema.names,
            "output_format": work.format,
            "answers": list(work.added.names),
            "rows_per_part": options.rows_per_part,
        },
    }


def _is_complete(totals: dict[str, Any], names: set[str], format: str) -> bool:
    """Whether all parts are there that were there at the end: one may have been removed since."""
    count = totals["parts"]
    return type(count) is int and all(part_name(number, format) in names for number in range(count))


def _answer_all(
    work: Work, there: Input, options: ScoringOptions, folder: OutputFolder, names: set[str], progress: Progress
) -> tuple[dict[str, int], int]:
    """Write the parts that are not there; the totals of all, and how many are new."""
    totals = dict.fromkeys(_TOTALS, 0)

    def missing() -> Iterator[parts.Part]:
        for part in parts.cut(there.tables, there.files, work.added.error, options.rows_per_part):
            totals["rows"] += part.rows.num_rows
            totals["errors"] += part.errors
            totals["parts"] += 1
            if part_name(part.number, work.format) in names:
                progress.part(part.rows.num_rows, part.share, is_new=False)
            else:
                yield part

    workers, new = options.workers or cores(), 0
    progress.begin(workers)
    for part, content in answer_parts(missing(), work, workers, progress.note):
        folder.write(part_name(part.number, work.format), content)
        progress.part(part.rows.num_rows, part.share, is_new=True)
        new += 1
    return totals, new
