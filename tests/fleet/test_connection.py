from __future__ import annotations

import threading
import time

import pytest

from agent.contract.errors import ConnectionLost, DeadlinePassed, RemoteCommandFailed
from edge.fleet.session import Limits
from tests.beds.link import Link
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open

ECHO = """
import json, sys
request = json.loads(sys.stdin.buffer.readline())
rest = sys.stdin.buffer.read()
print("\\x1e" + json.dumps({"request": request, "rest": len(rest)}))
"""


def test_a_commands_bytes_pass_unchanged_both_ways(open_board: Open) -> None:
    given = bytes(range(256)) * 4000
    result = open_board().run(["sh", "-c", "cat; echo bad >&2; exit 7"], input=given)
    assert (result.status, result.stdout, result.stderr) == (7, given, b"bad\n")


def test_arguments_reach_the_program_as_they_are(open_board: Open) -> None:
    words = ["a b", "$HOME", "`id`", "'", '"', "*", "; false", "ä", ""]
    said = open_board().run(["printf", "%s\\n", *words]).stdout.decode()
    assert said.split("\n")[:-1] == words


def test_a_program_that_does_not_read_its_input_still_tells_its_status(open_board: Open) -> None:
    result = open_board().run(["sh", "-c", "exec <&-; echo gone; exit 5"], input=b"x" * 8_000_000)
    assert (result.status, result.stdout) == (5, b"gone\n")


def test_a_deadline_ends_its_command_alone(open_board: Open) -> None:
    board = open_board()
    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"did not finish running `sleep` within 0.5 s"):
        board.run(["sleep", "20"], timeout_s=0.5)
    assert time.monotonic() - began < 5
    assert board.run(["true"]).status == 0


def test_a_script_gets_its_request_and_what_follows(open_board: Open) -> None:
    answer = open_board().python(ECHO, {"a": ["ü", 1]}, doing="trying", payload=[b"x" * 100_000] * 3)
    assert answer == {"request": {"a": ["ü", 1]}, "rest": 300_000}


def test_what_login_files_print_does_not_disturb_a_script(open_board: Open, bed: SshdBoard) -> None:
    noise = bed.home / ".bashrc"
    noise.write_text("echo Welcome to this board; printf '{}'\n")
    try:
        assert open_board().python(ECHO, 1, doing="trying") == {"request": 1, "rest": 0}
    finally:
        noise.unlink()


def test_a_script_that_fails_tells_its_last_words(open_board: Open) -> None:
    with pytest.raises(
        RemoteCommandFailed, match=r"trying failed with exit code 1: ValueError: no such thing"
    ):
        open_board().python("raise ValueError('no such thing')", None, doing="trying")


def test_a_link_that_is_cut_is_a_lost_connection(open_board: Open, link: Link) -> None:
    board = open_board(port=link.port)
    threading.Timer(0.3, link.cut_now).start()
    with pytest.raises(ConnectionLost, match="was lost while running `sleep`"):
        board.run(["sleep", "20"])
    with pytest.raises(ConnectionLost):
        board.run(["true"])


def test_a_link_that_stalls_ends_in_its_deadline(open_board: Open, link: Link) -> None:
    board = open_board(port=link.port)
    link.stall()
    try:
        began = time.monotonic()
        with pytest.raises(DeadlinePassed, match="within 1 s"):
            board.stream(
                ["cat"],
                given=[b"x" * 1_000_000] * 50,
                limits=Limits(stall_s=1.0),
                doing="sending",
                on_output=lambda data: None,
            )
        assert time.monotonic() - began < 6
    finally:
        link.resume()


def test_closing_leaves_no_thread(open_board: Open) -> None:
    before = set(threading.enumerate())
    board = open_board()
    board.run(["true"])
    board.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(threading.enumerate()) - before == set()
