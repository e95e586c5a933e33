"""The root of the tree: exit codes, `EdgeError`, and the list of all that derive from it."""

from __future__ import annotations

import enum
import string
from collections.abc import Mapping
from typing import Any, ClassVar


class ExitCode(enum.IntEnum):
    """What a command's exit code means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NEGATIVE_VERDICT = 3
    INCOMPLETE = 4
    INTERRUPTED = 130


class EdgeError(Exception):
    """Root of the tree. `facts` are the values behind the sentence; `str(error)` is the sentence."""

    code: ClassVar[str] = ""
    template: ClassVar[str] = ""
    hint_template: ClassVar[str] = ""
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, **facts: Any) -> None:
        missing = [name for name in self.fact_names() if name not in facts]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        self.facts = facts
        super().__init__(self.template.format(**facts))

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error crosses the border of a child process whole."""
        return _again, (type(self), self.facts)

    @classmethod
    def fact_names(cls) -> list[str]:
        """Names of the facts that the sentence and the hint are written from."""
        fields = [
            name for _, name, _, _ in string.Formatter().parse(cls.template + cls.hint_template) if name
        ]
        return list(dict.fromkeys(fields))

    @property
    def hint(self) -> str | None:
        """One action that helps, or None."""
        return self.hint_template.format(**self.facts) or None

    def to_plain(self) -> dict[str, Any]:
        """The error as JSON-ready values: code, message, hint, facts."""
        return {
            "code": self.code,
            "message": str(self),
            "hint": self.hint,
            "facts": {
                name: value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
                for name, value in self.facts.items()
            },
        }


def _again(kind: type[EdgeError], facts: dict[str, Any]) -> EdgeError:
    return kind(**facts)


def concrete_errors() -> list[type[EdgeError]]:
    """Every class of the tree that has a code, in the order of definition."""
    found: list[type[EdgeError]] = []
    todo: list[type[EdgeError]] = [EdgeError]
    while todo:
        kind = todo.pop(0)
        if kind.code:
            found.append(kind)
        todo.extend(kind.__subclasses__())
    return found


def error_from_plain(plain: Mapping[str, Any]) -> EdgeError | None:
    """What `EdgeError.to_plain` wrote, as an instance of its class; None where this version does not know it."""
    kinds = {kind.code: kind for kind in concrete_errors()}
    kind, facts = kinds.get(str(plain.get("code"))), plain.get("facts")
    if kind is None or not isinstance(facts, Mapping):
        return None
    try:
        return kind(**facts)
    except (TypeError, ValueError, KeyError):
        return None
