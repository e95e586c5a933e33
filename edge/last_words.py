"""What a process that failed wrote last."""

from __future__ import annotations

LONGEST = 500
"""Characters that are kept."""


def last_words(talk: str, status: int) -> str:
    """What a command said of its failure: the error that it states, else its last line that is no hint.

    Args:
        talk: its stderr.
        status: its exit code, for one that said nothing.
    """
    lines = [line.strip() for line in talk.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("hint:")]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return (errors or said or [f"it ended with exit code {status} and said nothing"])[-1][:LONGEST]
