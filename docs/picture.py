"""Draw what a command printed as a picture of a terminal.

Usage: python docs/picture.py RECORDED.txt PICTURE.svg --title "edge flash" [--columns 100]

RECORDED.txt is real output, with its colours, from `script -qec "edge flash sim-1 digits@1" RECORDED.txt`. Of a line
that was written over (a progress bar) what was last to be seen is drawn.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text


def last_seen(line: str) -> str:
    """What remains of a line after its carriage returns."""
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


def lines_of(recorded: str) -> list[str]:
    """The lines that a terminal would show, without what `script` writes around them."""
    lines = [last_seen(line.rstrip("\r")) for line in recorded.replace("\x1b[K", "").split("\n")]
    return [line for line in lines if line and not re.match(r"Script (started|done) on ", line)]


def draw(recorded: str, *, title: str, columns: int) -> str:
    """The picture, as SVG."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    for line in lines_of(recorded):
        console.print(Text.from_ansi(line), soft_wrap=False)
    picture = console.export_svg(title=title, theme=MONOKAI, font_aspect_ratio=0.61)
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # nothing is fetched to show it


def main() -> None:
    """Read the text, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recorded", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--columns", type=int, default=100)
    options = parser.parse_args()
    options.picture.write_text(
        draw(options.recorded.read_bytes().decode(), title=options.title, columns=options.columns)
    )


if __name__ == "__main__":
    main()
