"""Draw `edge watch` as it shows a fleet folder now.

Usage: python docs/watch_picture.py FLEET PICTURE.svg [--columns 104] [--lines 12] [--press KEY…]

The app is the real one, on the real store; only the terminal is none. `--press enter` draws the first board's page.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from edge.config import FleetFolder
from edge.dashboard.app import WatchApp
from edge.dashboard.source import Source

LOOKS_S = 2.5
"""Until the screen has read the store, also after a key."""


async def draw(fleet: FleetFolder, columns: int, lines: int, keys: list[str]) -> str:
    """The picture, as SVG; nothing is fetched to show it."""
    with Source(fleet) as source:
        app = WatchApp(source)
        async with app.run_test(size=(columns, lines)) as pilot:
            for key in ["", *keys]:
                if key:
                    await pilot.press(key)
                await pilot.pause(LOOKS_S)
            picture = app.export_screenshot(title="edge watch")
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    return "".join(f"{line.rstrip()}\n" for line in picture.splitlines())


def main() -> None:
    """Read the fleet, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("fleet", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--columns", type=int, default=104)
    parser.add_argument("--lines", type=int, default=12)
    parser.add_argument("--press", nargs="*", default=[])
    options = parser.parse_args()
    fleet = FleetFolder.open(options.fleet)
    options.picture.write_text(asyncio.run(draw(fleet, options.columns, options.lines, options.press)))


if __name__ == "__main__":
    main()
