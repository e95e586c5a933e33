"""Repository, keys, fleet folder."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


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
    hint_template = (
        "restore it from your backup, or name the folder where it lies in edge.toml: [keys] folders = [...]"
    )


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


class SignaturesMissing(RepositoryError):
    code = "key.threshold-not-met"
    template = "`{role}` needs {need} signatures, and {have} of its keys could be opened: {missing}"
    hint_template = (
        "bring the folders of its other keys ([keys] folders in edge.toml), and give each passphrase"
    )


class ThresholdUnreachable(RepositoryError):
    code = "key.threshold-unreachable"
    template = "`{role}` would have {have} of the {need} keys that must sign"
    hint_template = "add a key with `edge key add {role}`, or choose with `edge key threshold {role} N`"
    exit_code = ExitCode.USAGE


class KeyUnknown(RepositoryError):
    code = "key.unknown"
    template = "`{role}` has no key `{keyid}`; it has: {known}"
    hint_template = "`edge key list` shows the keys of every role"
    exit_code = ExitCode.USAGE


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


class NoPrimary(RepositoryError):
    code = "release.no-primary"
    template = "`{release}` can't be a {role} on `{device}`, which serves no other version of `{model}`"
    hint_template = "flash the version first that is to answer: `edge flash {device} {model}@N`"
    exit_code = ExitCode.USAGE


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


class BlobMissing(RepositoryError):
    code = "repository.file-missing"
    template = "a file of {size_bytes} bytes that was signed for is not in this folder: {sha256}"
    hint_template = "a backup without --with-blobs does not hold it: `edge publish` the bundle again, then flash that release"
