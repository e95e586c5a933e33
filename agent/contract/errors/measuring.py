"""Measuring on a board."""

from __future__ import annotations

from agent.contract.errors.conversion import ConvertError
from agent.contract.errors.transfer import TransferError
from agent.contract.errors.tree import ExitCode


class MeasurementRefused(TransferError):
    code = "board.measurement-refused"
    template = "`{device}` does not measure now: {reason}"
    hint_template = "{way_out}"


class MeasurementTooLarge(ConvertError):
    code = "board.measurement-too-large"
    template = "`{device}` has no room to run it: about {needed_mb:.0f} MB of {what} are needed, {free_mb:.0f} MB are free"
    hint_template = "what serves there goes first: take a board that serves less, or a smaller recipe"


class BoardAnswersOtherwise(ConvertError):
    code = "proof.board-differs"
    template = "`{profile}`: {board} answers otherwise than {proof}: {within:.1%} of the output values are close, at least {needed:.0%} must be"
    hint_template = "the engine there runs this artifact and is wrong: try another recipe, or flash the board again, which brings its newest engine"
    exit_code = ExitCode.NEGATIVE_VERDICT
