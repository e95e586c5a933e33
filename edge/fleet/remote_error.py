"""Errors that a board's own process wrote, raised here as what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from agent.contract.errors import EdgeError, InstallFailed, concrete_errors


def error_from_plain(plain: Mapping[str, Any]) -> EdgeError | None:
    """What `EdgeError.to_plain` wrote, as an instance of its class; None where this version does not know it."""
    kinds = {kind.code: kind for kind in concrete_errors()}
    kind = kinds.get(str(plain.get("code")))
    facts = plain.get("facts")
    if kind is None or not isinstance(facts, Mapping):
        return None
    try:
        return kind(**facts)
    except (TypeError, ValueError, KeyError):
        return None


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
    raise InstallFailed(host=host, step=step, reason=_last_words(answer))


def _last_words(answer: Mapping[str, Any]) -> str:
    lines = [line.strip() for line in str(answer.get("stderr", "")).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("hint:")]
    return (said or [f"it ended with {answer.get('status')} and said nothing"])[-1].removeprefix("error: ")[
        :500
    ]
