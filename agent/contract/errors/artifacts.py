"""Artifacts: bundles, runtimes, releases whose bytes or purpose are wrong."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class ArtifactError(EdgeError):
    """Digest, signature, size or purpose of an artifact is wrong."""

    exit_code = ExitCode.NEGATIVE_VERDICT


class DigestMismatch(ArtifactError):
    code = "artifact.digest-mismatch"
    template = "`{file}` does not match its manifest: expected sha256 {expected}, found {found}"
    hint_template = "fetch or build it again; the file changed after it was described"


class SizeMismatch(ArtifactError):
    code = "artifact.size-mismatch"
    template = "`{file}` does not match its manifest: expected {expected} bytes, found {found}"
    hint_template = "fetch or build it again; the file changed after it was described"


class FileMissing(ArtifactError):
    code = "artifact.file-missing"
    template = "`{file}` is named by the manifest of {what} but is not there"
    hint_template = "build it again, or copy the whole folder"


class ArchiveUnsafe(ArtifactError):
    code = "artifact.archive-unsafe"
    template = "`{file}` holds the entry `{entry}`, which is {reason}"
    hint_template = "do not use it; build the package again from a source that you trust"


class WrongBoard(ArtifactError):
    code = "artifact.wrong-board"
    template = "{artifact} is made for {made_for}, this board is {board}: {reason}"
    hint_template = "convert the model for this board's profile with `edge convert --for {board}`"


class ReleaseMixed(ArtifactError):
    code = "artifact.release-mixed"
    template = "the desired state does not ask for `{release}` as it was published: {reason}"
    hint_template = "flash again; if it stays so, somebody else signs with the fleet's key of desired states: replace that key"


class SignatureInvalid(ArtifactError):
    code = "artifact.signature-invalid"
    template = "the signed metadata `{role}` was refused: {reason}"
    hint_template = "the repository or the way to the board was changed; publish again from the fleet folder"


class ReplayRefused(ArtifactError):
    code = "artifact.replay-refused"
    template = "{document} is older than what this board has seen: counter {found}, seen {seen}"
    hint_template = "somebody asked for something newer meanwhile, or this is an old copy of the fleet folder: `edge key restore` goes past what the boards have seen"


class MetadataExpired(ArtifactError):
    code = "artifact.metadata-expired"
    template = "the signed metadata `{role}` expired at {expired_at}; this board's clock says {now}"
    hint_template = "run `edge repo refresh` on the laptop that holds the fleet's keys; if the board's clock is wrong, set it; if the laptop's was, `edge key renew root` after setting it"


class ReportForged(ArtifactError):
    code = "report.forged"
    template = "the report of `{device}` is not believed: {reason}"
    hint_template = "someone else wrote it, or the board was enrolled anew elsewhere; flash it again"


class ReportReplayed(ArtifactError):
    code = "report.replayed"
    template = "the report of `{device}` is an old one: counter {found}, seen {seen}"
    hint_template = "ask the board again; if it stays so, someone holds newer reports back, or its card was restored from a backup: `edge flash --re-enrol`"
