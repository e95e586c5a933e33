"""Errors that a board's own process wrote, raised here as what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from agent.contract.errors import EdgeError, InstallFailed, error_from_plain
from edge.last_words import last_words


def error_of(text: str) -> EdgeError | None:
    """The last error that a command of the agent wrote as a line of JSON; None where it wrote none."""
    for line in reversed(text.splitlines()):
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        if isinstance(plain, dict):
            inner = plain.get("error", plain)
            error = error_from_plain(inner) if isinstance(inner, dict) else None
            if error is not None:
                return error
    return None


def raise_remote(answer: Mapping[str, Any], *, host: str, step: str) -> NoReturn:
    """Raise what a command of the agent said when it failed.

    Args:
        answer: `stdout` and `stderr` as text, `status`.
        host: how sentences call the board.
        step: what was done, for `InstallFailed`.

    Raises:
        EdgeError: the board's own, where it wrote one as JSON.
        InstallFailed: otherwise, with its last words.
    """
    error = error_of(f"{answer.get('stdout', '')}\n{answer.get('stderr', '')}")
    if error is not None:
        raise error
    raise InstallFailed(
        host=host, step=step, reason=last_words(str(answer.get("stderr", "")), answer["status"])
    )


def agents_words(talk: str, status: int) -> str:
    """The last words of a command of the board's agent that wrote no error as JSON, for a sentence."""
    words = last_words(talk, status)
    if "unrecognized arguments" in words or "invalid choice" in words:
        words += "; the board's agent is older than this: flash it again"
    return words
