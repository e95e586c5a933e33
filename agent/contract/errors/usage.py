"""Usage."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class UsageError(EdgeError):
    """The command line asks for something that can't be."""

    exit_code = ExitCode.USAGE


class OptionInvalid(UsageError):
    code = "usage.option-invalid"
    template = "{option}: {reason}"


class Interrupted(EdgeError):
    code = "machine.interrupted"
    template = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class SystemRefused(EdgeError):
    code = "machine.refused"
    template = "this machine's system refuses: {reason}"
    hint_template = "check space, permissions and the path, then run the same command again"


class PythonUnsupported(UsageError):
    code = "usage.python-unsupported"
    template = "edge needs Python 3.11 to 3.13, this is {found}"
