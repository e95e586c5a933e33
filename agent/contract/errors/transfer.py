"""Transfer and SSH."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class TransferError(EdgeError):
    """A board could not be reached or a file did not get through."""

    exit_code = ExitCode.INCOMPLETE


class HostUnknown(TransferError):
    code = "ssh.no-such-host"
    template = "there is no host `{host}`"
    hint_template = "check the name; on the same network `NAME.local` often works"


class HostUnreachable(TransferError):
    code = "ssh.unreachable"
    template = "`{host}:{port}` does not answer: {reason}"
    hint_template = "is the board on, and sshd running?"


class HostKeyUnknown(TransferError):
    code = "ssh.host-key-unknown"
    template = "the host key of `{host}` is not known: {fingerprint}"
    hint_template = "compare it with the board's own, then `edge device add`"
    exit_code = ExitCode.NEGATIVE_VERDICT


class HostKeyChanged(TransferError):
    code = "ssh.host-key-changed"
    template = "`{device}` shows another host key than the pinned one: pinned {pinned}, shown {shown}"
    hint_template = (
        "a new image, or someone in between; if you know why, `edge device add {device} --replace-key`"
    )
    exit_code = ExitCode.NEGATIVE_VERDICT


class HostKeyDiffers(TransferError):
    code = "ssh.host-key-differs"
    template = "`{host}` shows the host key {shown}, and the user's own known_hosts knows it by {known}"
    hint_template = "a new image, or someone in between; if you know why: ssh-keygen -R '{entry}'"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AuthenticationFailed(TransferError):
    code = "ssh.authentication-failed"
    template = "`{host}` refused the user `{user}` with {tried}"
    hint_template = "check the user's name, or give a password once with --ask-password"
    exit_code = ExitCode.FAILED


class ConnectionLost(TransferError):
    code = "ssh.connection-lost"
    template = "the connection to `{host}` was lost while {doing}"
    hint_template = "run the same command again; it goes on where it stopped"


class DeadlinePassed(TransferError):
    code = "ssh.deadline-passed"
    template = "`{host}` did not finish {doing} within {timeout_s} s"
    hint_template = "run the same command again; it goes on where it stopped"


class RemoteCommandFailed(TransferError):
    code = "ssh.command-failed"
    template = "`{host}`: {doing} failed with exit code {status}: {output}"
    exit_code = ExitCode.FAILED


class RemoteDiskFull(TransferError):
    code = "board.disk-full"
    template = "`{host}` has no room: {needed_bytes} bytes are needed in `{path}`, {free_bytes} are free"
    hint_template = "free some space on the board, then run the same command again"
    exit_code = ExitCode.FAILED


class SudoRefused(TransferError):
    code = "board.sudo-refused"
    template = "`{host}` refused sudo for `{user}`: {reason}"
    hint_template = "give the password with --ask-sudo-password, or flash without root by --user-install"
    exit_code = ExitCode.FAILED


class BoardForeign(TransferError):
    code = "board.foreign"
    template = "`{host}` belongs to the fleet `{fleet}`"
    hint_template = "take it into this fleet with `edge flash --adopt`, or with `--reset-trust` where it is yours and its own fleet folder is lost: then it serves on meanwhile"
    exit_code = ExitCode.FAILED


class BoardCloned(TransferError):
    code = "board.cloned"
    template = (
        "`{host}` carries the identity of another board: enrolled with serial {enrolled}, found {found}"
    )
    hint_template = "a copied card; enrol it anew with `edge flash --re-enrol`"
    exit_code = ExitCode.NEGATIVE_VERDICT


class InstallFailed(TransferError):
    code = "board.install-failed"
    template = "`{host}` could not be set up: {step} failed: {reason}"
    exit_code = ExitCode.FAILED


class BoardNotFlashed(TransferError):
    code = "board.not-flashed"
    template = "`{device}` has no agent yet"
    hint_template = "flash it with `edge flash {device} RELEASE`"
    exit_code = ExitCode.FAILED
