"""Telemetry: the board's outbox and link, the broker, the collector and its store."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class TelemetryError(EdgeError):
    """What boards report does not get where it should."""


class LinkConfigInvalid(TelemetryError):
    code = "link.config-invalid"
    template = "`{path}` is not valid: {reason}"
    hint_template = "the collector writes it anew at its next connection: `edge collect`"


class LinkNotReady(TelemetryError):
    code = "link.not-ready"
    template = "`{device}` has no key for its telemetry yet"
    hint_template = "flash it: its updater makes the key; a board of an older edge is enrolled anew by it"
    exit_code = ExitCode.INCOMPLETE


class OutboxFailed(TelemetryError):
    code = "telemetry.outbox-failed"
    template = "the outbox `{path}` can't be used: {reason}"
    hint_template = "look for room on the board's drive; the agent serves on, and tries again"


class StoreUnusable(TelemetryError):
    code = "telemetry.store-unusable"
    template = "the telemetry store `{path}` can't be used: {reason}"
    hint_template = (
        "boards keep what is not acknowledged; put the store in order, or move it away to begin a new one"
    )


class StoreNewer(TelemetryError):
    code = "telemetry.store-newer"
    template = "the telemetry store `{path}` was written by a newer edge: version {found}, this one reads up to {known}"
    hint_template = "use that edge, or move the store away to begin a new one"


class StoreMissing(TelemetryError):
    code = "telemetry.store-missing"
    template = "there is no telemetry yet: `{path}` is not there"
    hint_template = "the collector makes it: `edge collect`"
    exit_code = ExitCode.INCOMPLETE


class MessageForeign(TelemetryError):
    code = "telemetry.message-foreign"
    template = "a message on the topic of the device `{device}` speaks for `{found}`"
    hint_template = "someone uses that board's credentials for another; flash it again to give it new ones"


class CollectorBusy(TelemetryError):
    code = "collector.busy"
    template = "the collector of `{path}` runs already, as process {pid}"
    hint_template = "look at it with `edge collect status`, end it with `edge collect stop`"


class CollectorHung(TelemetryError):
    code = "collector.hung"
    template = "the collector of `{path}` is there, as process {pid}, and does not answer"
    hint_template = "let it go on, or end it with `kill -9 {pid}`: nothing is lost by that"


class CollectorFailed(TelemetryError):
    code = "collector.failed"
    template = "the collector of `{path}` did not start: {reason}"
    hint_template = "its words are in `{log}`"


class CollectorAbsent(TelemetryError):
    code = "collector.absent"
    template = "the collector of `{path}` does not run"
    hint_template = "start it with `edge collect`"
    exit_code = ExitCode.INCOMPLETE


class BrokerPlain(TelemetryError):
    code = "broker.plain"
    template = "`{url}` is MQTT without TLS, beyond this machine"
    hint_template = (
        "give an `mqtts://` address in edge.toml, or take it out: a tunnel through SSH is made then"
    )
    exit_code = ExitCode.USAGE


class BrokerFailed(TelemetryError):
    code = "broker.failed"
    template = "the broker at {address} can't be used: {reason}"
    hint_template = "`edge collect status` says what it waits for; boards keep what is not acknowledged"


class ForwardingRefused(TelemetryError):
    code = "tunnel.forwarding-refused"
    template = "`{device}` refuses to forward a port to this machine: {reason}"
    hint_template = "allow it in the board's sshd_config (AllowTcpForwarding yes, no DisableForwarding), or use a broker: [mqtt] url in edge.toml"


class AlertRuleInvalid(TelemetryError):
    code = "alert.rule-invalid"
    template = "the rule `{rule}` in `{path}` is not valid: {reason}"
    exit_code = ExitCode.USAGE


class ChaosFailed(TelemetryError):
    code = "chaos.failed"
    template = "nothing can be said of lost samples: `{part}`: {reason}"
    hint_template = "look at its words with `edge chaos --keep FOLDER` and the same seed"
