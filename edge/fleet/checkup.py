"""What `edge doctor` asks of a board, each question with its answer in words."""

from __future__ import annotations

import time
from dataclasses import dataclass

import paramiko

from agent.contract.board import SERVICE_SUPERVISOR, SERVICE_SYSTEMD_USER
from agent.contract.codec import decode
from agent.contract.errors import ForwardingRefused
from agent.contract.messages import Reported
from agent.contract.profile import BoardFacts, DeviceProfile, accepts
from edge.fleet.connection import Board
from edge.fleet.reverse import HERE, ask_for_port
from edge.fleet.status import BoardStatus

CLOCK_SKEW_S = 60.0
LEAST_DISK_BYTES = 500 * 10**6
_PROHIBITED = 1


@dataclass(frozen=True, kw_only=True)
class Check:
    """One answer.

    Attributes:
        name: what was looked at.
        verdict: `good`, `doubt`, `bad` or `note`.
        text: what was found.
        hint: what would help, or an empty string.
    """

    name: str
    verdict: str
    text: str
    hint: str = ""


def checkup(
    board: Board, facts: BoardFacts, status: BoardStatus, *, profile: DeviceProfile | None = None
) -> tuple[Check, ...]:
    """Look at everything that a board needs, whether it was flashed or not.

    Args:
        board: the connection.
        facts: of a probe just now.
        status: read just now.
        profile: the device's, if it has one.
    """
    checks = [
        _system(facts, profile),
        _clock(facts),
        _disk(facts),
        _memory(facts),
        _forwarding(board, status),
        _way_back(board),
    ]
    checks += _service(facts, status)
    return tuple(checks)


def forwarding_refused(board: Board, port: int) -> str | None:
    """Why the board's sshd forwards no ports, or None where it does (whether or not anybody listens there)."""
    try:
        channel = board.transport.open_channel(
            "direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=board.timeouts.connect_s
        )
    except paramiko.ChannelException as error:
        return "the board's sshd forbids it" if error.code == _PROHIBITED else None
    except (paramiko.SSHException, EOFError, OSError) as error:
        return str(error) or type(error).__name__
    channel.close()
    return None


def way_back_refused(board: Board) -> str | None:
    """Why the board's sshd lets no port of the board lead here, or None where it does. Tried and taken back."""
    try:
        port = ask_for_port(board, lambda channel, *_: channel.close())
    except ForwardingRefused as error:
        return str(error.facts["reason"])
    board.transport.cancel_port_forward(HERE, port)
    return None


def _system(facts: BoardFacts, profile: DeviceProfile | None) -> Check:
    text = f"{facts.os}, {facts.architecture}, Python {facts.python or 'none'}, glibc {facts.glibc or 'none'}"
    reasons = accepts(profile, facts) if profile is not None else ()
    if reasons:
        return Check(name="system", verdict="bad", text=reasons[0].fact, hint=reasons[0].way_out)
    if facts.userland_bits != 64:
        return Check(
            name="system", verdict="bad", text=f"{text}: 32-bit", hint="install the 64-bit system image"
        )
    return Check(name="system", verdict="good", text=text)


def _clock(facts: BoardFacts) -> Check:
    skew = facts.clock - time.time()
    if abs(skew) <= CLOCK_SKEW_S:
        return Check(name="clock", verdict="good", text="agrees with this machine's")
    word = "ahead of" if skew > 0 else "behind"
    return Check(
        name="clock",
        verdict="doubt",
        text=f"{abs(skew):.0f} s {word} this machine's",
        hint="updates go by the later of both; let the board synchronise: `timedatectl set-ntp true`",
    )


def _disk(facts: BoardFacts) -> Check:
    free = f"{facts.disk_free_bytes / 10**6:.0f} MB free"
    if facts.disk_free_bytes >= LEAST_DISK_BYTES:
        return Check(name="disk", verdict="good", text=free)
    return Check(
        name="disk", verdict="bad", text=free, hint="a runtime takes up to 300 MB twice; free some space"
    )


def _memory(facts: BoardFacts) -> Check:
    text = f"{facts.memory_bytes // (1 << 20)} MiB, pages of {facts.page_size_bytes} bytes"
    if facts.memory_cgroup:
        return Check(name="memory", verdict="good", text=f"{text}, limits are enforced by the kernel")
    return Check(
        name="memory",
        verdict="note",
        text=f"{text}; the kernel enforces no memory limits, the agent watches its own",
        hint="on a Raspberry Pi: add `cgroup_enable=memory` to the line in /boot/firmware/cmdline.txt",
    )


def _forwarding(board: Board, status: BoardStatus) -> Check:
    port = status.agent.port if status.agent is not None else 9
    refused = forwarding_refused(board, port)
    if refused is None:
        return Check(name="forwarding", verdict="good", text="ports can be forwarded over SSH")
    return Check(
        name="forwarding",
        verdict="bad",
        text=f"no port can be forwarded: {refused}",
        hint="`edge infer` and telemetry go through the tunnel: set `AllowTcpForwarding yes` in sshd_config",
    )


def _way_back(board: Board) -> Check:
    refused = way_back_refused(board)
    if refused is None:
        return Check(name="way back", verdict="good", text="the board can reach this machine over SSH")
    return Check(
        name="way back",
        verdict="bad",
        text=f"no port of the board can lead here: {refused}",
        hint="set `AllowTcpForwarding yes` in sshd_config, or name a broker: `[mqtt] url` in edge.toml",
    )


def _service(facts: BoardFacts, status: BoardStatus) -> list[Check]:
    if status.config is None:
        return [Check(name="agent", verdict="note", text="not installed", hint="flash it with `edge flash`")]
    checks = []
    if status.agent is not None and status.agent_alive and status.agent.ready:
        text = f"serves generation {status.agent.generation} on port {status.agent.port}"
        checks.append(Check(name="agent", verdict="good", text=text))
    elif status.agent is not None and status.agent.error:
        text = str(status.agent.error.get("message", "failed"))
        checks.append(Check(name="agent", verdict="bad", text=text, hint="look at `edge logs`"))
    elif status.signed is not None and decode(Reported, status.signed.payload.encode()).current is None:
        checks.append(Check(name="agent", verdict="note", text="installed; it has no model to serve yet"))
    else:
        text = "runs, is not ready yet" if status.agent_alive else "does not run"
        verdict = "doubt" if status.agent_alive else "bad"
        checks.append(Check(name="agent", verdict=verdict, text=text, hint="look at `edge logs`"))
    checks += _persistence(facts, status.config.service)
    if status.request_waits:
        checks.append(
            Check(
                name="update",
                verdict="doubt",
                text="a push waits and was not looked at",
                hint="look at `edge logs`; does the updater's path unit run?",
            )
        )
    return checks


def _persistence(facts: BoardFacts, service: str) -> list[Check]:
    if service == SERVICE_SYSTEMD_USER and not facts.lingering:
        return [
            Check(
                name="service",
                verdict="doubt",
                text="the agent ends when you log out",
                hint=f"let it stay: `sudo loginctl enable-linger {facts.user}`",
            )
        ]
    if service == SERVICE_SUPERVISOR and not facts.simulated:
        text = "edge's own supervisor runs the agent; it is not started when the board boots"
        return [Check(name="service", verdict="note", text=text)]
    return [Check(name="service", verdict="good", text=service)]
