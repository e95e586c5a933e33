"""Profiles."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class ProfileError(EdgeError):
    """Device profiles."""

    exit_code = ExitCode.USAGE


class ProfileUnknown(ProfileError):
    code = "profile.unknown"
    template = "there is no profile `{profile}`{suggestion}"
    hint_template = "list them with `edge profile list`"


class ProfileInvalid(ProfileError):
    code = "profile.invalid"
    template = "profile `{path}` is not valid: {reason}"


class BoardRefused(ProfileError):
    code = "board.refused"
    template = "`{device}` does not fit profile `{profile}`: {reason}"
    hint_template = "{way_out}"
    exit_code = ExitCode.FAILED


class ProfileUndecided(ProfileError):
    code = "profile.undecided"
    template = "no profile fits `{device}`: {reason}"
    hint_template = "name one with `edge device probe {device} --profile NAME`"
    exit_code = ExitCode.FAILED
