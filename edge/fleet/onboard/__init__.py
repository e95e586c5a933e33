"""Scripts that run on boards, sent over SSH as text.

The rule: standard library only, any Python from 3.7 on, each file alone. A script reads one line of JSON from
standard input, and writes lines of JSON, each behind the character U+001E, so that what a board's login files
print is told apart. What they change is inside edge's folder, `authorize` excepted. `os.path` and not `pathlib`,
whose import costs a Raspberry Pi Zero a fifth of a second.
"""

from __future__ import annotations

from importlib import resources


def script(name: str) -> str:
    """The text of the script called `name`."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
