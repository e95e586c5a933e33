"""The one tree of errors, host and board alike.

The rule: callers pass facts, the class writes the sentence. Each concrete class has a stable `code`, which
travels in reports, telemetry rows and the documentation; a `template` over its facts (what failed, the fact
that decides); one `hint`; and the exit code of a command that ends with it. A boundary never lets a library's
exception through: it raises one of these `from` it.
"""

from __future__ import annotations

import enum
import string
from typing import Any, ClassVar


class ExitCode(enum.IntEnum):
    """What a command's exit code means."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NEGATIVE_VERDICT = 3
    INCOMPLETE = 4
    INTERRUPTED = 130


class EdgeError(Exception):
    """Root of the tree. `facts` are the values behind the sentence; `str(error)` is the sentence."""

    code: ClassVar[str] = ""
    template: ClassVar[str] = ""
    hint_template: ClassVar[str] = ""
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, **facts: Any) -> None:
        missing = [name for name in self.fact_names() if name not in facts]
        if missing:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        self.facts = facts
        super().__init__(self.template.format(**facts))

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error crosses the border of a child process whole."""
        return _again, (type(self), self.facts)

    @classmethod
    def fact_names(cls) -> list[str]:
        """Names of the facts that the sentence and the hint are written from."""
        fields = [
            name for _, name, _, _ in string.Formatter().parse(cls.template + cls.hint_template) if name
        ]
        return list(dict.fromkeys(fields))

    @property
    def hint(self) -> str | None:
        """One action that helps, or None."""
        return self.hint_template.format(**self.facts) or None

    def to_plain(self) -> dict[str, Any]:
        """The error as JSON-ready values: code, message, hint, facts."""
        return {
            "code": self.code,
            "message": str(self),
            "hint": self.hint,
            "facts": {
                name: value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
                for name, value in self.facts.items()
            },
        }


def _again(kind: type[EdgeError], facts: dict[str, Any]) -> EdgeError:
    return kind(**facts)


def concrete_errors() -> list[type[EdgeError]]:
    """Every class of the tree that has a code, in the order of definition."""
    found: list[type[EdgeError]] = []
    todo: list[type[EdgeError]] = [EdgeError]
    while todo:
        kind = todo.pop(0)
        if kind.code:
            found.append(kind)
        todo.extend(kind.__subclasses__())
    return found


# --- documents: bytes from the other side that are not what the contract says -------------------------------


class ContractError(EdgeError):
    """What came from the other side does not fit the contract."""


class DocumentInvalid(ContractError):
    code = "document.invalid"
    template = "{document} is not valid: {reason}"


class DocumentTooLarge(ContractError):
    code = "document.too-large"
    template = "{document} is {size_bytes} bytes long, at most {limit_bytes} are read"


class NameInvalid(ContractError):
    code = "name.invalid"
    template = "`{name}` can't name a {what}: it must be {rule}"
    exit_code = ExitCode.USAGE


# --- artifacts: bundles, runtimes, releases whose bytes or purpose are wrong --------------------------------


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


class WrongBoard(ArtifactError):
    code = "artifact.wrong-board"
    template = "{artifact} is made for {made_for}, this board is {board}: {reason}"
    hint_template = "convert the model for this board's profile with `edge convert --for {board}`"


class SignatureInvalid(ArtifactError):
    code = "artifact.signature-invalid"
    template = "the signed metadata `{role}` was refused: {reason}"
    hint_template = "the repository or the way to the board was changed; publish again from the fleet folder"


class ReplayRefused(ArtifactError):
    code = "artifact.replay-refused"
    template = "{document} is older than what this board has seen: counter {found}, seen {seen}"
    hint_template = "a newer desired state was applied already, or this folder was restored from an older backup; flash again to make the next one"


class MetadataExpired(ArtifactError):
    code = "artifact.metadata-expired"
    template = "the signed metadata `{role}` expired at {expired_at}; this board's clock says {now}"
    hint_template = "run `edge repo refresh` on the laptop that holds the fleet's keys"


class ReportForged(ArtifactError):
    code = "report.forged"
    template = "the report of `{device}` is not believed: {reason}"
    hint_template = "someone else wrote it, or the board was enrolled anew elsewhere; flash it again"


class ReportReplayed(ArtifactError):
    code = "report.replayed"
    template = "the report of `{device}` is an old one: counter {found}, seen {seen}"
    hint_template = "ask the board again; if it stays so, someone holds newer reports back, or its card was restored from a backup: `edge flash --re-enrol`"


# --- repository, keys, fleet folder --------------------------------------------------------------------------


class RepositoryError(EdgeError):
    """The signed repository or the keys of the fleet folder."""


class FleetFolderMissing(RepositoryError):
    code = "fleet.folder-missing"
    template = "no fleet folder here: neither `{start}` nor a folder above it holds `edge.toml`"
    hint_template = "make one with `edge init`, or go into one"
    exit_code = ExitCode.USAGE


class FleetFolderExists(RepositoryError):
    code = "fleet.folder-exists"
    template = "`{path}` is a fleet folder already"
    hint_template = "use it as it is, or choose another folder"


class FleetFolderBusy(RepositoryError):
    code = "fleet.folder-busy"
    template = "another edge command is writing to `{path}`"
    hint_template = "wait until it is done, then run this again"


class ConfigInvalid(RepositoryError):
    code = "config.invalid"
    template = "`{path}` is not valid: {reason}"
    exit_code = ExitCode.USAGE


class KeyMissing(RepositoryError):
    code = "key.missing"
    template = "the fleet folder holds no key for `{role}`"
    hint_template = "restore it from your backup of the keys folder"


class KeyUnreadable(RepositoryError):
    code = "key.unreadable"
    template = "the key file `{path}` can't be read: {reason}"
    hint_template = "restore it from your backup of the keys folder"


class KeysExist(RepositoryError):
    code = "key.exists"
    template = "`{path}` holds this fleet's keys already"
    hint_template = "they are the only way to sign for its boards, so they are never overwritten"


class PassphraseWrong(RepositoryError):
    code = "key.passphrase-wrong"
    template = "the passphrase does not open the key for `{role}`"
    hint_template = "give it in EDGE_KEY_PASSPHRASE or at the prompt"


class PassphraseMissing(RepositoryError):
    code = "key.passphrase-missing"
    template = "the key for `{role}` is encrypted and no passphrase was given"
    hint_template = "set EDGE_KEY_PASSPHRASE, or run this in a terminal"


class ReleaseUnknown(RepositoryError):
    code = "release.unknown"
    template = "there is no release `{release}`; this repository has: {known}"
    hint_template = "publish it with `edge publish`"
    exit_code = ExitCode.USAGE


class ReleaseLacksProfile(RepositoryError):
    code = "release.lacks-profile"
    template = "release `{release}` has no bundle for `{profile}`; it has: {known}"
    hint_template = "convert the model with `--for {profile}` and publish a new release"


class ModelsApart(RepositoryError):
    code = "release.models-apart"
    template = (
        "`{release}` can't be served together with `{beside}`, which `{device}` serves already: {reason}"
    )
    hint_template = "take the other one off the board with --only, or convert both for one engine and profile"


class BundleMissing(RepositoryError):
    code = "bundle.missing"
    template = "there is no bundle in `{path}`: {reason}"
    hint_template = "name a folder that `edge convert -o` wrote"
    exit_code = ExitCode.USAGE


class PublishRefused(RepositoryError):
    code = "publish.refused"
    template = "the bundle for `{profile}` is not publishable: {reason}"
    hint_template = "mend the conversion, or publish it all the same with --force"
    exit_code = ExitCode.NEGATIVE_VERDICT


class MixedModels(RepositoryError):
    code = "publish.mixed-models"
    template = "one release holds one model, these bundles hold: {models}"
    hint_template = "publish each model by itself"
    exit_code = ExitCode.USAGE


class ProfileTwice(RepositoryError):
    code = "publish.profile-twice"
    template = (
        "one release holds one bundle for a profile, these are two for `{profile}`: {first} and {second}"
    )
    hint_template = "leave one of them out"
    exit_code = ExitCode.USAGE


class NothingToPublish(RepositoryError):
    code = "publish.nothing"
    template = "no bundle was given for a release of `{name}`"
    hint_template = "make one with `edge convert`"
    exit_code = ExitCode.USAGE


class AssignRefused(RepositoryError):
    code = "assign.refused"
    template = "desired state {counter} for `{device}` can't be signed: {reason}"


class NothingAssigned(RepositoryError):
    code = "assign.nothing"
    template = "nothing was ever assigned to the device `{device}`"
    hint_template = "flash it with `edge flash`"


class RepositoryMissing(RepositoryError):
    code = "repository.missing"
    template = "`{path}` holds no signed repository"
    hint_template = "make a fleet folder with `edge init`, or restore the folder from your backup"


class RepositoryExists(RepositoryError):
    code = "repository.exists"
    template = "`{path}` holds a signed repository already"
    hint_template = "use it as it is, or choose another folder"


class RepositoryDamaged(RepositoryError):
    code = "repository.damaged"
    template = "`{path}` is not as it was signed: {reason}"
    hint_template = "restore the repository folder from your backup; nothing was signed anew"
    exit_code = ExitCode.NEGATIVE_VERDICT


# --- profiles ------------------------------------------------------------------------------------------------


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


# --- conversion ----------------------------------------------------------------------------------------------


class ConvertError(EdgeError):
    """A model could not be turned into an artifact."""


class ModelUnreadable(ConvertError):
    code = "model.unreadable"
    template = "`{path}` is no readable {format} model: {reason}"
    hint_template = "check that the file is whole and of the kind its name says"


class ModelFormatUnknown(ConvertError):
    code = "model.format-unknown"
    template = "`{path}` is no model that edge knows: {reason}"
    hint_template = "edge reads .keras, .h5, .onnx and .tflite"
    exit_code = ExitCode.USAGE


class ModelUnsupported(ConvertError):
    code = "model.unsupported"
    template = "`{path}` can't become {target}: {reason}"
    hint_template = "{way_out}"


class ModelHoldsCode(ConvertError):
    code = "model.holds-code"
    template = "`{path}` carries code that would run on this machine: {reason}"
    hint_template = "save the model without Lambda layers, or convert it from its source"


class RecipeUnknown(ConvertError):
    code = "recipe.unknown"
    template = "there is no recipe `{recipe}`{suggestion}"
    hint_template = "recipes are: {known}"
    exit_code = ExitCode.USAGE


class CalibrationMissing(ConvertError):
    code = "calibration.missing"
    template = "recipe `{recipe}` needs calibration data and none was given"
    hint_template = "give representative inputs with `--calibration DATA`; edge never makes them up"
    exit_code = ExitCode.USAGE


class DataUnreadable(ConvertError):
    code = "data.unreadable"
    template = "`{path}` can't be read as data: {reason}"
    hint_template = "edge reads .npz (arrays `x` and, with labels, `y`) and .npy"


class DataMismatch(ConvertError):
    code = "data.mismatch"
    template = "{purpose} data `{path}` does not fit the model: {reason}"
    hint_template = "the model takes {expected}"


class ConversionCrashed(ConvertError):
    code = "conversion.crashed"
    template = "the conversion of `{path}` to {target} crashed: {reason}"
    hint_template = "the whole output is in `{log}`"


class ExtraMissing(ConvertError):
    code = "extra.missing"
    template = "this needs `{package}`, which is not installed"
    hint_template = "in the folder of edge's source: pip install '.[{extra}]'"


class AccuracyOutside(ConvertError):
    code = "accuracy.outside"
    template = "`{profile}`: accuracy falls by {drop_points:.2f} points (95 % interval {low:.2f} to {high:.2f}), the budget is {max_drop:.2f}"
    hint_template = "over by {over:.2f} points; try other calibration data or another recipe, or keep it with --keep-failed"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AgreementBelowFloor(ConvertError):
    code = "accuracy.disagrees"
    template = "`{profile}`: agrees with its float model on {agreement:.1%} of the golden set, at least {floor:.1%} are needed"
    hint_template = "the conversion changed what the model says; check the calibration data, or keep it with --keep-failed"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AccuracyUndecided(ConvertError):
    code = "accuracy.undecided"
    template = "`{profile}`: {samples} samples can't tell whether the drop is within {max_drop:.2f} points (95 % interval {low:.2f} to {high:.2f})"
    hint_template = "about {needed} samples would tell"
    exit_code = ExitCode.INCOMPLETE


class ProofFailed(ConvertError):
    code = "proof.failed"
    template = "`{profile}`: the artifact does not run in {engine}: {reason}"
    hint_template = "this artifact would not run on the board; try another recipe"
    exit_code = ExitCode.NEGATIVE_VERDICT


# --- runtimes ------------------------------------------------------------------------------------------------


class RuntimeCompositionError(EdgeError):
    """A runtime for a platform could not be composed."""


class PlatformUnsupported(RuntimeCompositionError):
    code = "runtime.platform-unsupported"
    template = "no runtime for {platform}: {reason}"
    hint_template = "{way_out}"


class WheelUnavailable(RuntimeCompositionError):
    code = "runtime.wheel-unavailable"
    template = "`{requirement}` could not be fetched for {platform}: {reason}"
    hint_template = "check the network, or give the wheel with --engine-wheel"


class WheelUnfit(RuntimeCompositionError):
    code = "runtime.wheel-unfit"
    template = "`{wheel}` does not run on {platform}: {reason}"


# --- transfer and SSH ----------------------------------------------------------------------------------------


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
    hint_template = "take it into this fleet with `edge flash --adopt`"
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


# --- devices of the fleet folder -----------------------------------------------------------------------------


class InventoryError(EdgeError):
    """The fleet folder's list of devices."""

    exit_code = ExitCode.USAGE


class DeviceUnknown(InventoryError):
    code = "device.unknown"
    template = "there is no device `{device}` in this fleet{suggestion}"
    hint_template = "list them with `edge device list`, or add it with `edge device add`"


class DeviceExists(InventoryError):
    code = "device.exists"
    template = "there is a device `{device}` already, at {address}"
    hint_template = "choose another name with --name"


class DeviceSame(InventoryError):
    code = "device.same"
    template = "the board at {address} is in this fleet already, as `{device}`"
    hint_template = "use it by that name"


class DeviceBusy(InventoryError):
    code = "device.busy"
    template = "another edge command is at work on `{device}`"
    hint_template = "wait until it is done, then run this again"
    exit_code = ExitCode.INCOMPLETE


class NoPrevious(InventoryError):
    code = "device.no-previous"
    template = "`{device}` has no earlier generation to go back to"
    exit_code = ExitCode.FAILED


# --- engines and the agent -----------------------------------------------------------------------------------


class EngineError(EdgeError):
    """The inference engine refuses or fails."""


class EngineMissing(EngineError):
    code = "engine.missing"
    template = "the runtime holds no engine `{engine}`"


class EngineRefusesModel(EngineError):
    code = "engine.refuses-model"
    template = "{engine} {version} refuses `{file}`: {reason}"


class InferenceFailed(EngineError):
    code = "engine.inference-failed"
    template = "`{model}` failed: {reason}"


class RequestInvalid(EngineError):
    code = "request.invalid"
    template = "{reason}"
    exit_code = ExitCode.USAGE


class ModelNotServed(EngineError):
    code = "request.unknown-model"
    template = "Request for unknown model: '{model}' is not found"


class ModelVersionNotServed(EngineError):
    code = "request.unknown-version"
    template = "Request for unknown model: '{model}' version {version} is not found"


class ModelUnavailable(EngineError):
    code = "request.model-unavailable"
    template = "Request for unknown model: '{model}' has no available versions"


class Overloaded(EngineError):
    code = "request.overloaded"
    template = "the queue of `{model}` is full"


class PortTaken(EngineError):
    code = "agent.port-taken"
    template = "port {port} on {address} is taken"
    hint_template = "choose another with `edge flash --port`, or 0 for any free one"


class AgentConfigInvalid(EngineError):
    code = "agent.config-invalid"
    template = "`{path}` is not valid: {reason}"


class AgentSilent(EngineError):
    code = "agent.silent"
    template = "the agent on `{device}` does not answer: {reason}"
    hint_template = "look at `edge logs {device}`"


# --- updates on the board ------------------------------------------------------------------------------------


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


class TrialTimedOut(UpdateError):
    code = "trial.timed-out"
    template = "the trial of generation {generation} did not finish {doing} within {timeout_s} s"


class ProbationFailed(UpdateError):
    code = "trial.probation-failed"
    template = "generation {generation} did not stay healthy for its probation of {probation_s} s: {reason}"


class AttemptsExhausted(UpdateError):
    code = "trial.attempts-exhausted"
    template = "generation {generation} was tried {attempts} times without an end"


class KnownBad(UpdateError):
    code = "update.known-bad"
    template = "{bundle} was refused before under desired state {counter}: {reason}"
    hint_template = "flash again: that makes a new desired state, and the trial decides anew"


class Superseded(UpdateError):
    code = "update.superseded"
    template = "desired state {counter} was replaced by {newer} before it was confirmed"
    exit_code = ExitCode.INCOMPLETE


class UpdateRunning(UpdateError):
    code = "update.running"
    template = "another update runs on this board (process {pid})"
    hint_template = "wait until it is done"
    exit_code = ExitCode.INCOMPLETE


class StateDamaged(UpdateError):
    code = "update.state-damaged"
    template = "`{path}` can't be read: {reason}"
    hint_template = "flash again; the board keeps serving what is current"


class Inconsistent(UpdateError):
    code = "update.inconsistent"
    template = "generation {generation} could neither be finished nor taken back: {reason}"
    hint_template = "flash again; if that does not help, `edge device remove --wipe` and flash anew"


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


# --- usage ---------------------------------------------------------------------------------------------------


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
