"""The systemd units of a board, as text.

The rule: the agent runs hardened and limited, with its devices usable; the update process is the only one that may
write releases. What ends or hangs is started again after a pause, for ever, since a board is to serve; what was on
trial is not served before it was settled; nothing fills the journal.
"""

from __future__ import annotations

from agent.contract.board import SYSTEM_USER, BoardConfig
from agent.supervisor.deadlines import (
    RECOVER_TIMEOUT_S,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    UPDATE_TIMEOUT_S,
    WATCHDOG_S,
)
from agent.update.folder import UpdateFolder
from agent.update.service import AGENT_UNIT, RECOVER_UNIT, UPDATE_PATH_UNIT, UPDATE_UNIT

RESTART_S = 5
"""From the end of an agent to its next start; a swap needs none."""
AGAIN_S = 5
"""Until the update process is begun again where it ended and could not answer, as on a full disk."""
_WRITES = """\
ReadWritePaths={folder.run}
ReadWritePaths=-{folder.outbox}
"""
"""What the agent may write; it serves without an outbox, too."""
_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0022
"""
"""Without ProtectClock, which would forbid even to ask the kernel whether the clock is right; setting it needs a
capability that is not there."""
_LOG_LIMITS = """\
LogRateLimitIntervalSec=30s
LogRateLimitBurst=500
"""


def units(folder: UpdateFolder, config: BoardConfig, *, python: str, user: bool) -> dict[str, str]:
    """File name to text of every unit.

    Args:
        folder: the board's.
        config: names the memory limit.
        python: absolute path of the interpreter.
        user: units of a user's own systemd; these can't change the user, and harden less.
    """
    start = f"{python} -I {folder.launcher} --root {folder.root}"
    return {
        AGENT_UNIT: _agent(folder, config, start, user=user),
        RECOVER_UNIT: _recover(folder, start),
        UPDATE_UNIT: _update(folder, start),
        UPDATE_PATH_UNIT: _update_path(folder),
    }


def _agent(folder: UpdateFolder, config: BoardConfig, start: str, *, user: bool) -> str:
    who = (
        "" if user else f"User={SYSTEM_USER}\nGroup={SYSTEM_USER}\n{_WRITES.format(folder=folder)}{_HARDENED}"
    )
    return f"""\
[Unit]
Description=edge agent: serves verified models
Wants={RECOVER_UNIT}
After={RECOVER_UNIT} network.target
ConditionPathExists=|{folder.current}
ConditionPathExists=|{folder.trial}
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={start} run
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec={RESTART_S}
TimeoutStartSec={START_TIMEOUT_S}
TimeoutStopSec={STOP_TIMEOUT_S}
WatchdogSec={WATCHDOG_S}
MemoryMax={config.memory_limit_mib}M
MemorySwapMax=0
OOMPolicy=stop
{_LOG_LIMITS}{who}
[Install]
WantedBy={"default.target" if user else "multi-user.target"}
"""


def _recover(folder: UpdateFolder, start: str) -> str:
    return f"""\
[Unit]
Description=edge: settles an interrupted update before the agent starts

[Service]
Type=oneshot
ExecStart={start} recover
ExecStopPost=/bin/sh -c '[ "$SERVICE_RESULT" = success ] || rm -f {folder.trial}'
TimeoutStartSec={RECOVER_TIMEOUT_S}
{_LOG_LIMITS}"""


def _update(folder: UpdateFolder, start: str) -> str:
    """Without a limit of starts: where one is reached, systemd gives the path unit up, too, and no update comes any
    more before the board is started anew."""
    return f"""\
[Unit]
Description=edge update process: verifies, tries, confirms or takes back
After={RECOVER_UNIT}
OnFailure={RECOVER_UNIT}
StartLimitIntervalSec=0

[Service]
Type=oneshot
NotifyAccess=main
ExecStart={start} apply
ExecStopPost=/bin/sh -c '[ ! -e {folder.request} -a ! -e {folder.resume} ] || sleep {AGAIN_S}'
SuccessExitStatus=1 2 3 4
Restart=on-abnormal
RestartSec=2
TimeoutStartSec={UPDATE_TIMEOUT_S}
Nice=5
IOSchedulingClass=best-effort
IOSchedulingPriority=6
PrivateTmp=yes
{_LOG_LIMITS}"""


def _update_path(folder: UpdateFolder) -> str:
    return f"""\
[Unit]
Description=edge: looks for a request in the inbox, or an update to be carried on

[Path]
PathExists={folder.request}
PathExists={folder.resume}
Unit={UPDATE_UNIT}

[Install]
WantedBy=paths.target
"""
