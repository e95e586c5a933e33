"""Updates on the board."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class UpdateError(EdgeError):
    """A step of an update came to a bad end. The code travels in the board's report."""

    exit_code = ExitCode.NEGATIVE_VERDICT


class GoldenMismatch(UpdateError):
    code = "trial.golden-mismatch"
    template = "`{model}` answers otherwise than in its proof run: {within:.1%} of the output values are close enough, {needed:.0%} are needed"
    hint_template = "a wrong runtime or a damaged file"


class GoldenDisagrees(UpdateError):
    code = "trial.golden-disagrees"
    template = "`{model}` agrees with its float model on {agreement:.1%} of the golden set, at least {floor:.1%} are needed"
    hint_template = "the conversion is bad; convert again and look at the table"


class TooSlow(UpdateError):
    code = "trial.too-slow"
    template = "`{model}` takes {found_ms:.2f} ms at p95, the budget is {budget_ms:.2f} ms ({budget_from})"
    hint_template = "publish with a larger --budget p95_ms=… if that is meant"


class TooLarge(UpdateError):
    code = "trial.too-large"
    template = "`{model}` needs {found_mb:.1f} MB, the budget is {budget_mb:.1f} MB ({budget_from})"
    hint_template = "publish with a larger --budget memory_mb=… if that is meant"


class TrialCrashed(UpdateError):
    code = "trial.crashed"
    template = "the trial of generation {generation} died: {reason}"
    hint_template = (
        "`edge logs TARGET` shows its last words; publish a mended bundle or runtime, then flash that"
    )


class TrialTimedOut(UpdateError):
    code = "trial.timed-out"
    template = "the trial of generation {generation} did not finish {doing} within {timeout_s} s"
    hint_template = "`edge logs TARGET` shows how far it came; where the board is only slow, raise check_timeout_s or start_timeout_s under [flash] in edge.toml, then flash again"


class ProbationFailed(UpdateError):
    code = "trial.probation-failed"
    template = "generation {generation} did not stay healthy for its probation of {probation_s} s: {reason}"
    hint_template = "`edge logs TARGET` shows what its agent said; publish what is mended, then flash that; the board serves what it served before"


class LinkLost(UpdateError):
    code = "trial.link-lost"
    template = "generation {generation} was not connected to the collector for {waited_s:.0f} s while {broker} answered; the generation before was connected"
    hint_template = (
        "`edge logs TARGET` shows what its agent says of the link; publish a runtime that can connect"
    )


class AttemptsExhausted(UpdateError):
    code = "trial.attempts-exhausted"
    template = "generation {generation} was tried {attempts} times without an end"
    hint_template = "`edge logs TARGET` and `edge device show TARGET` show what broke it off; look after the board's power, then flash again"


class KnownBad(UpdateError):
    code = "update.known-bad"
    template = "{bundle} was refused before under desired state {counter}: {reason}"
    hint_template = "flash again: that makes a new desired state, and the trial decides anew"


class Superseded(UpdateError):
    code = "update.superseded"
    template = "desired state {counter} was replaced by {newer}: something else was asked for since"
    exit_code = ExitCode.INCOMPLETE


class UpdateRunning(UpdateError):
    code = "update.running"
    template = "another update runs on this board (process {pid})"
    hint_template = "wait until it is done"
    exit_code = ExitCode.INCOMPLETE


class UpdateStuck(UpdateError):
    code = "update.stuck"
    template = "the update process was begun {starts} times and came to no end of what was asked for"
    hint_template = (
        "`edge logs TARGET` shows where it ended; look after the board's storage and power, then flash again"
    )


class StateDamaged(UpdateError):
    code = "update.state-damaged"
    template = "`{path}` can't be read: {reason}"
    hint_template = "flash again; the board keeps serving what is current"


class Inconsistent(UpdateError):
    code = "update.inconsistent"
    template = "generation {generation} could neither be finished nor taken back: {reason}"
    hint_template = "flash it with `edge flash TARGET RELEASE`, and with another release where that does not help; the last way out is `edge device remove TARGET --wipe`, `edge device add` and a flash"


class InboxIncomplete(UpdateError):
    code = "update.inbox-incomplete"
    template = "{count} of the files that {what} needs are not on the board, `{first}` among them"
    hint_template = "flash again; what is there already is not sent twice"
    exit_code = ExitCode.INCOMPLETE


class InboxUnsafe(UpdateError):
    code = "update.inbox-unsafe"
    template = "`{file}` in the inbox was not read: {reason}"
    hint_template = "somebody else may be writing to the inbox; look at it, then flash again"


class BoardDiskFull(UpdateError):
    code = "update.disk-full"
    template = "no room for {what}: {needed_bytes} bytes are needed, {free_bytes} are free"
    hint_template = "free some space on the board, then flash again"
    exit_code = ExitCode.FAILED
