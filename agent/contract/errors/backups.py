"""Backups of a fleet folder, and the way back."""

from __future__ import annotations

from agent.contract.errors.repository import RepositoryError
from agent.contract.errors.tree import ExitCode


class BackupExists(RepositoryError):
    code = "backup.exists"
    template = "`{path}` is there already"
    hint_template = "a backup is never written over: choose another name"


class BackupDamaged(RepositoryError):
    code = "backup.damaged"
    template = "`{path}` is no whole backup: {reason}"
    hint_template = "take another copy of it; nothing was restored"
    exit_code = ExitCode.NEGATIVE_VERDICT


class BackupLocked(RepositoryError):
    code = "backup.locked"
    template = "the passphrase does not open the backup `{path}`"
    hint_template = (
        "give the one that the backup was made with, in EDGE_BACKUP_PASSPHRASE or at the prompt; if it is that one,"
        " the file's first lines were changed: take another copy of it"
    )


class BackupBeyondMachine(RepositoryError):
    code = "backup.beyond-machine"
    template = "the backup `{path}` is too much for this machine: {reason}"
    hint_template = (
        "take another machine; a backup without --with-blobs is small, and"
        " `age --decrypt FILE | tar --extract` opens one in little memory"
    )


class BackupMissing(RepositoryError):
    code = "backup.missing"
    template = "`{path}` can't be read: {reason}"
    exit_code = ExitCode.USAGE


class BackupPassphraseMissing(RepositoryError):
    code = "backup.passphrase-missing"
    template = "a backup is sealed with a passphrase of its own, and none was given"
    hint_template = "set EDGE_BACKUP_PASSPHRASE, or run this in a terminal"


class RepositoryBehind(RepositoryError):
    code = "repository.behind"
    template = "`{device}` has seen newer versions than this fleet folder has: {roles}"
    hint_template = (
        "this is an old copy of the folder: `edge key restore` goes past what the boards have seen"
    )


class VersionsAbsurd(RepositoryError):
    code = "repository.versions-absurd"
    template = "`{device}` says that it has seen {role} {seen}, this folder is at {own}: more than {most} ahead is not believed"
    hint_template = "where you know that it is right: `edge key restore --believe {device}`"
    exit_code = ExitCode.INCOMPLETE


class RootOther(RepositoryError):
    code = "board.root-other"
    template = "`{device}` trusts other keys than this fleet folder holds: {reason}"
    hint_template = "where these keys are lost: `edge flash {device} RELEASE --reset-trust`"
