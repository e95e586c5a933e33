"""What kind of model a file is, by its content.

The rule: the first bytes decide, the name only tells what the user believes it to be. A file that begins as a
model and ends too early is unreadable, a file that is none is unknown; both before anything heavy is started.
"""

from __future__ import annotations

import enum
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from agent.contract.errors import ModelFormatUnknown, ModelNeedsTrust, ModelUnreadable, TorchPickleRefused
from converters import tflite_file

HEAD_BYTES = 16
SAVED_MODEL_FILE = "saved_model.pb"
MOST_UNPACKED_BYTES = 16 * 1024**3
"""Of an archive: several times the largest artifact."""
MOST_CONFIG_BYTES = 64 * 1024**2
SUFFIXES = {
    ".keras": "Keras",
    ".h5": "Keras HDF5",
    ".hdf5": "Keras HDF5",
    ".onnx": "ONNX",
    ".tflite": "TFLite",
    ".pt2": "PyTorch export",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".skops": "skops",
    ".joblib": "joblib",
}
TORCH_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
PICKLES = (".joblib", ".pkl", ".pickle", "")
COMPRESSED = (
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x5d\x00",
)
"""How the compressed files of joblib begin: zlib, gzip, bzip2, xz, lzma."""


class SourceFormat(enum.StrEnum):
    """What the user's model is."""

    KERAS = "keras"
    KERAS_H5 = "keras-h5"
    SAVED_MODEL = "saved-model"
    ONNX = "onnx"
    TFLITE = "tflite"
    TORCH_EXPORT = "torch-export"
    TORCHSCRIPT = "torchscript"
    SKOPS = "skops"
    PICKLE = "pickle"

    @property
    def label(self) -> str:
        """For people."""
        return LABELS[self]

    @property
    def is_keras(self) -> bool:
        """Whether Keras reads it."""
        return self in (SourceFormat.KERAS, SourceFormat.KERAS_H5)


LABELS = {
    SourceFormat.KERAS: "Keras",
    SourceFormat.KERAS_H5: "Keras HDF5",
    SourceFormat.SAVED_MODEL: "SavedModel",
    SourceFormat.ONNX: "ONNX",
    SourceFormat.TFLITE: "TFLite",
    SourceFormat.TORCH_EXPORT: "PyTorch export",
    SourceFormat.TORCHSCRIPT: "TorchScript",
    SourceFormat.SKOPS: "skops",
    SourceFormat.PICKLE: "pickle",
}


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Which kinds of files the user trusts, because they run code when they are read.

    Attributes:
        code: TorchScript.
        pickle: pickles, those of joblib too.
    """

    code: bool = False
    pickle: bool = False


def check_trust(path: Path, kind: SourceFormat, trust: Trust) -> None:
    """Refuse a file that runs code when it is read, unless the user said that it may.

    Raises:
        ModelNeedsTrust: nobody said so.
    """
    if kind is SourceFormat.TORCHSCRIPT and not trust.code:
        raise ModelNeedsTrust(
            path=path,
            what="TorchScript, a program",
            option="--trust-code",
            way_out="save the model by torch.export.save as .pt2",
        )
    if kind is SourceFormat.PICKLE and not trust.pickle:
        raise ModelNeedsTrust(
            path=path,
            what="a Python pickle, which runs code when it is read",
            option="--trust-pickle",
            way_out="save the model by skops.io.dump as .skops",
        )


def recognise(path: Path) -> SourceFormat:
    """What kind of model `path` is.

    Raises:
        ModelUnreadable: there is no such file, or it is a model that was cut or damaged.
        ModelFormatUnknown: it is no model that edge knows.
    """
    believed = SUFFIXES.get(path.suffix.lower())
    if path.is_dir():
        return _folder(path)
    if path.exists() and not path.is_file():
        raise ModelFormatUnknown(path=path, reason="it is no plain file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise ModelUnreadable(path=path, format=believed or "trained", reason=reason) from error
    if size == 0:
        raise ModelUnreadable(path=path, format=believed or "trained", reason="the file is empty")
    if head.startswith(b"PK"):
        return _zipped(path, believed)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        _check_hdf5(path, size)
        return SourceFormat.KERAS_H5
    if head[4:8] == tflite_file.IDENTIFIER:
        tflite_file.read(path)
        return SourceFormat.TFLITE
    if head.startswith(b"\x80") and head[1:2] <= b"\x05":
        return _pickled(path)
    if path.suffix.lower() == ".joblib" and head.startswith(COMPRESSED):
        return SourceFormat.PICKLE
    fields, whole = _protobuf_fields(path, size)
    if whole and {1, 7} <= fields:
        return SourceFormat.ONNX
    if believed == "ONNX" and 1 in fields and not whole:
        raise ModelUnreadable(path=path, format="ONNX", reason=f"it breaks off after {size:,} bytes")
    if believed:
        raise ModelUnreadable(path=path, format=believed, reason="it does not begin like one")
    raise ModelFormatUnknown(path=path, reason="its content is that of no model")


def _folder(path: Path) -> SourceFormat:
    if not (path / SAVED_MODEL_FILE).is_file():
        raise ModelFormatUnknown(path=path, reason=f"it is a folder without `{SAVED_MODEL_FILE}`")
    for item in path.rglob("*"):
        if item.is_symlink() or not (item.is_dir() or item.is_file()):
            reason = f"`{item.relative_to(path)}` in it is a link, or no plain file: copy what it leads to"
            raise ModelUnreadable(path=path, format="SavedModel", reason=reason)
    return SourceFormat.SAVED_MODEL


def _pickled(path: Path) -> SourceFormat:
    """A pickle; by its name, what its maker meant by it."""
    suffix = path.suffix.lower()
    if suffix in TORCH_PICKLES:
        raise TorchPickleRefused(path=path)
    if suffix not in PICKLES:
        raise ModelFormatUnknown(path=path, reason="it is a Python pickle, which runs code when it is read")
    return SourceFormat.PICKLE


def _check_hdf5(path: Path, size: int) -> None:
    """Raise ModelUnreadable where the superblock promises a longer file."""
    with path.open("rb") as file:
        block = file.read(48)
    version = block[8] if len(block) == 48 else 0
    at = {0: 40, 1: 44}.get(version, 28)
    promised = int.from_bytes(block[at : at + 8], "little") if len(block) == 48 else size + 1
    if promised > size:
        raise ModelUnreadable(path=path, format="Keras HDF5", reason=f"it breaks off after {size:,} bytes")


def _zipped(path: Path, believed: str | None) -> SourceFormat:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            kind = _kind_of_archive(names)
            if kind is not None:
                _check_sizes(path, archive, kind)
            damaged = archive.testzip() if kind is not None else None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelUnreadable(
            path=path, format=believed or "zipped", reason=f"the archive is damaged: {error}"
        ) from error
    if damaged is not None:
        raise ModelUnreadable(
            path=path, format=kind.label if kind else "", reason=f"`{damaged}` in it is damaged"
        )
    if kind is not None:
        return kind
    if any(name.endswith("/data.pkl") for name in names):
        raise TorchPickleRefused(path=path)
    if "serialized_exported_program.json" in names:
        raise ModelFormatUnknown(
            path=path, reason="a PyTorch older than 2.7 wrote it: save it with a newer one"
        )
    raise ModelFormatUnknown(path=path, reason="it is an archive without a model in it")


def _kind_of_archive(names: set[str]) -> SourceFormat | None:
    """What a zip file is by the names in it; those of PyTorch lie in one folder of any name."""
    if "config.json" in names and any(name.startswith("model.weights") for name in names):
        return SourceFormat.KERAS
    if "schema.json" in names:
        return SourceFormat.SKOPS
    inner = {name.partition("/")[2] for name in names}
    if {"archive_format", "models/model.json"} <= inner:
        return SourceFormat.TORCH_EXPORT
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return SourceFormat.TORCHSCRIPT
    return None


def _check_sizes(path: Path, archive: zipfile.ZipFile, kind: SourceFormat) -> None:
    """Raise ModelUnreadable where an archive is not what its library writes: before anything of it is unpacked."""
    entries = archive.infolist()
    reason = None
    if len({entry.filename for entry in entries}) != len(entries):
        reason = "it holds a file twice"
    elif sum(entry.file_size for entry in entries) > MOST_UNPACKED_BYTES:
        reason = f"it unpacks to more than {MOST_UNPACKED_BYTES:,} bytes"
    elif any(entry.file_size > MOST_CONFIG_BYTES for entry in entries if entry.filename.endswith(".json")):
        reason = f"its configuration is longer than {MOST_CONFIG_BYTES:,} bytes"
    if reason is not None:
        raise ModelUnreadable(path=path, format=kind.label, reason=reason)


def _protobuf_fields(path: Path, size: int) -> tuple[set[int], bool]:
    """Numbers of the top-level fields of a protocol buffer, and whether it ends where the file does.

    ONNX has no mark of its own; its ModelProto begins with `ir_version` (1) and holds a `graph` (7).
    """
    fields: set[int] = set()
    with path.open("rb") as file:
        while file.tell() < size:
            key = _varint(file.read(10), file)
            if key is None or not 1 <= key >> 3 <= 64:
                return fields, False
            kind = key & 7
            fields.add(key >> 3)
            if kind == 0:
                skip = 0 if _varint(file.read(10), file) is not None else -1
            elif kind == 2:
                length = _varint(file.read(10), file)
                skip = -1 if length is None else length
            else:
                skip = {1: 8, 5: 4}.get(kind, -1)
            if skip < 0 or file.tell() + skip > size:
                return fields, False
            file.seek(skip, 1)
    return fields, True


def _varint(data: bytes, file: object) -> int | None:
    """The varint that `data` begins with; `file` is set back to right behind it. None when it is none."""
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            file.seek(index + 1 - len(data), 1)  # type: ignore[attr-defined]
            return value
    return None
