"""What the documentation shows is there: every command with its options, every link, every page made from the code.

Nothing is run here but the parser of the command line: how commands behave is shown by the journeys.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edge.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if path.exists()
)
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)
INLINE = re.compile(r"`(edge [^`\n]+)`")
COMMAND = re.compile(r"^\s*(?:\$ )?(edge [a-z].*)$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SHELL_ENDS = ("|", "||", "&", "&&", ";", ">", ">>", "2>", "<")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands_of(text: str) -> list[str]:
    """The lines of a page's code blocks that a user would type, and what stands in its sentences, joined at `\\`."""
    blocks = [match.group() for match in FENCED.finditer(text)]
    blocks += INDENTED.findall(FENCED.sub("", text))
    found = []
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if match := COMMAND.match(line):
                found.append(match.group(1))
    return found + INLINE.findall(FENCED.sub("", text))


def words_of(command: str) -> list[str]:
    """The words after `edge`, without a comment and what the shell does with the rest."""
    words = shlex.split(command, comments=True)[1:]
    ends = [number for number, word in enumerate(words) if word in SHELL_ENDS]
    return words[: ends[0]] if ends else words


def mistake_in(command: str) -> str | None:
    """What is wrong with a command, or None. What a sentence leaves out is no mistake: arguments, and values."""
    words = words_of(command)
    found: click.Command = cli
    path = "edge"
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        child = found.get_command(click.Context(found), words[0])
        if child is None:
            return f"`{path}` has no command `{words[0]}`"
        path, words, found = f"{path} {words[0]}", words[1:], child
    flags = options_of(found)
    arguments, rest = 0, iter(words)
    for word in rest:
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            arguments += 1
        elif name not in flags:
            return f"`{path}` has no option `{name}`"
        elif not flags[name] and not value:
            next(rest, None)
    takes = [param.nargs for param in found.params if isinstance(param, click.Argument)]
    if not isinstance(found, click.Group) and -1 not in takes and arguments > sum(takes):
        return f"`{path}` takes {sum(takes)} arguments, not {arguments}"
    return None


def options_of(command: click.Command) -> dict[str, bool]:
    """Every spelling of a command's options, and whether it stands alone, without a value."""
    return {"-h": True, "--help": True} | {
        name: option.is_flag
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    mistakes = [
        f"{command}: {mistake}"
        for command in commands_of(page.read_text())
        if (mistake := mistake_in(command)) is not None
    ]
    assert mistakes == []


@pytest.mark.parametrize(
    ("command", "mistake"),
    [
        ("edge frobnicate", "`edge` has no command `frobnicate`"),
        ("edge device ad pi@board", "`edge device` has no command `ad`"),
        ("edge flash board digits@1 --fast", "`edge flash` has no option `--fast`"),
        ("edge publish digits folder --budget", None),
        ("edge infer board a.png b.png", "`edge infer` takes 2 arguments, not 3"),
        ("edge sim up 2 --kind onnx   # two boards", None),
        ("edge forward board --print-port &", None),
        ("edge device", None),
        ("edge --version", None),
    ],
)
def test_a_mistake_is_found(command: str, mistake: str | None) -> None:
    assert mistake_in(command) == mistake


def test_commands_are_found_where_they_stand() -> None:
    text = "Say `edge init`.\n\n    edge sim up 2\n\n```console\n$ edge flash a \\\n    m@1\nedge: no\n```\n"
    assert commands_of(text) == ["edge flash a      m@1", "edge sim up 2", "edge init"]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{shown(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{shown(page)} links to {link}"


def test_every_test_that_is_named_exists() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        for name in re.findall(r"`(test_\w+)`", page.read_text()):
            assert f"def {name}(" in sources, f"{shown(page)} names {name}"
        for path in re.findall(r"`(tests/[\w/.]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{shown(page)} names {path}"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as they are usually made."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


def test_pages_that_are_made_from_the_code_are_new() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
