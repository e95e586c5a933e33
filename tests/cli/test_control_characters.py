"""What others say (boards, files) is shown and never obeyed by the user's terminal."""

from __future__ import annotations

import pytest

from edge.cli import output

HOSTILE = "ok\x1b]0;owned\x07\x1b[2J\x9b31m\r\x00\u202e"


@pytest.mark.parametrize("way", ["line", "facts", "table"])
def test_what_a_board_says_never_speaks_to_the_terminal(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    if way == "line":
        output.line("bad", HOSTILE)
    elif way == "facts":
        output.facts([("refused", HOSTILE)])
    else:
        output.table(("device", "why"), [("door", HOSTILE)])
    said = "".join(capfd.readouterr())
    assert "ok" in said
    assert "owned" in said
    assert not {"\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e"} & set(said)
