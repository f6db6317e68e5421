"""README, docs and the device kit: commands that exist, links that lead somewhere, lines that fit a terminal."""

import re
import shlex
from pathlib import Path

import click
import pytest

from switch_tf.cli.commands import commands

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples" / "device" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def code(page: Path, languages: tuple[str, ...]) -> list[str]:
    """The lines of a page's blocks in one of the languages, prompts left out."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for language, block in blocks if language in languages for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """What stands between backticks in a page's prose."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def anchors(page: Path) -> list[str]:
    """What links to the headings of a page say behind #."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


def calls(page: Path) -> list[list[str]]:
    """The words behind `switch-tf` of every complete command on a page."""
    found = []
    for line in code(page, ("sh", "console")):
        for part in re.split(r"&&|\||(?<!\S)#", line):
            words = shlex.split(part) if "switch-tf" in part and "$(" not in part else []
            if words and words[0].split("/")[-1] == "switch-tf":
                found.append(words[1:])
    return found


CALLS = [(name, words) for name, page in zip(NAMES, PAGES, strict=True) for words in calls(page)]
OPTIONS = {
    option
    for command in [commands, *commands.commands.values()]
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
} | {"--help"}


def parse(words: list[str]) -> None:
    """Have the command take its words, without running it.

    Raises:
        click.UsageError: it does not take them.
    """
    context = click.Context(commands, **commands.context_settings)
    name, command, rest = commands.resolve_command(context, words)
    assert name is not None and command is not None
    command.make_context(name, rest, parent=context)


def test_there_are_commands_on_the_pages() -> None:
    assert len(CALLS) >= 20
    assert {name for name, _ in CALLS} >= {"README.md", "docs/deploy.md"}


@pytest.mark.parametrize(("name", "words"), CALLS, ids=[" ".join([name, *words[:4]]) for name, words in CALLS])
def test_every_command_shown_is_one_that_the_command_line_takes(name: str, words: list[str]) -> None:
    parse(words)


@pytest.mark.parametrize("words", [["export", "--formal", "onnx"], ["exports"], ["export", "--format", "gguf"]])
def test_a_command_that_does_not_exist_would_be_seen(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_option_named_in_the_text_exists(page: Path) -> None:
    if page.name in ("CONTRIBUTING.md", "performance.md"):  # of other programs
        return
    ours = [span for span in spans(page) if not span.startswith(("python ", "pip ", "pytest "))]
    named = {option for span in ours for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span)}
    assert named <= OPTIONS


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    lines = [*code(page, ("sh", "console")), *spans(page)]
    paths = [path for line in lines for path in re.findall(r"(?<![\w./-])(?:tools|tests|docs)/[\w./-]+\w", line)]
    links = [link for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose(page)) if link]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_a_page_leads_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", prose(page)):
        assert anchor in anchors(page.parent / target if target else page)


def test_the_changelog_tells_nothing_twice_and_ends_no_entry_in_another() -> None:
    entries = re.findall(r"^- (.*(?:\n  .*)*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(entries) > 50
    beginnings = [" ".join(entry.split())[:45] for entry in entries]
    assert sorted(set(beginnings)) == sorted(beginnings)
    assert [entry for entry in entries if re.search(r"\.\n  [a-z]", entry)] == []


def test_lines_of_prose_and_of_readmes_tables_fit_120_columns() -> None:
    for name, page in zip(NAMES, PAGES, strict=True):
        lines = page.read_text(encoding="utf-8").splitlines()
        long = [line for line in lines if len(line) > 120 and (name == "README.md" or not line.startswith("|"))]
        assert [line for line in long if name != "docs/quality.md"] == [], name
