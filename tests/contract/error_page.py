"""`docs/errors.md`: every error that edge can end with, written from the tree itself.

python -m tests.contract.error_page --write
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from agent.contract.errors import EdgeError, ExitCode
from tests.house.tree import ROOT

PAGE = ROOT / "docs" / "errors.md"
HEAD = """# Errors

Every error has a code that does not change; reports, logs and `--json` carry it. This page is written by
`python -m tests.contract.error_page --write`; `make test` checks it.

A command's exit code says how it ended:

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command line or a setting is wrong |
| 3 | a negative verdict: something was looked at and refused |
| 4 | incomplete: the same command again goes on, or more data would tell |
| 130 | interrupted |
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_family(family) for family in EdgeError.__subclasses__())


def _family(family: type[EdgeError]) -> str:
    members = list(_members(family))
    rows = [
        f"| `{kind.code}` | {int(kind.exit_code)} | {_shown(kind.template)} | {_shown(kind.hint_template)} |\n"
        for kind in members
    ]
    if not rows:
        return ""
    title = (family.__doc__ or family.__name__).strip().splitlines()[0].rstrip(".")
    return f"\n## {title}\n\n| code | exit | it says | and advises |\n|---|---|---|---|\n" + "".join(rows)


def _members(family: type[EdgeError]) -> Iterator[type[EdgeError]]:
    if family.code:
        yield family
    for kind in family.__subclasses__():
        yield from _members(kind)


def _shown(template: str) -> str:
    """A template for people: facts in italics, no Markdown inside."""
    text = re.sub(r"\{(\w+)[^}]*\}", lambda fact: f"‹{fact[1].replace('_', ' ')}›", template)
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page."""
    if arguments != ["--write"]:
        print(__doc__)
        return 2
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}, exit codes {', '.join(str(int(code)) for code in ExitCode)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
