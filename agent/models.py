"""Models on the board: from a bundle's folder to something that answers.

The rule: no file of a bundle is used before its length and SHA-256 were compared with the manifest, and no manifest
before its bytes were compared with the digest that names it. Clients speak real numbers (float32); a quantized
tensor's stored integers are an inner matter of this module, by `agent.transforms.quantization` alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import engines
from agent.contract.codec import MAX_DOCUMENT_BYTES, decode, digest
from agent.contract.errors import (
    DigestMismatch,
    EngineRefusesModel,
    FileMissing,
    SizeMismatch,
)
from agent.contract.manifest import BundleManifest, FileEntry, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder whose every file was verified.

    Attributes:
        folder: where it lies. digest: its name. manifest: what it says of itself.
    """

    folder: Path
    digest: str
    manifest: BundleManifest

    @property
    def model_file(self) -> Path:
        return self.folder / self.manifest.model_file

    @property
    def golden_file(self) -> Path:
        return self.folder / self.manifest.golden.file

    def labels(self) -> tuple[str, ...]:
        """One a class, or none."""
        file = self.manifest.labels_file
        return (
            tuple((self.folder / file).read_text("utf-8", "replace").splitlines()) if file is not None else ()
        )


def open_bundle(folder: Path, *, expected: str | None = None) -> Bundle:
    """Read a bundle's manifest and verify all files that it names.

    Args:
        folder: holds `manifest.json` and the files.
        expected: the digest that names it; None takes the folder's word (on a host, where nothing names it).

    Raises:
        FileMissing, SizeMismatch, DigestMismatch: a file is not what the manifest says, or the manifest is not
            what `expected` says.
        DocumentInvalid, DocumentTooLarge: the manifest is none.
    """
    data = _read_manifest(folder)
    found = digest(data)
    if expected is not None and found != expected:
        raise DigestMismatch(file="manifest.json", expected=expected, found=found)
    manifest = decode(BundleManifest, data)
    for entry in manifest.files:
        _verify(folder, entry, what=f"{manifest.model} for {manifest.profile}")
    return Bundle(folder, found, manifest)


def _read_manifest(folder: Path) -> bytes:
    try:
        with (folder / "manifest.json").open("rb") as file:
            return file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise FileMissing(file="manifest.json", what=f"the bundle `{folder.name}`") from error


def _verify(folder: Path, entry: FileEntry, *, what: str) -> None:
    try:
        handle = os.open(folder / entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise FileMissing(file=entry.path, what=what) from error
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise FileMissing(file=entry.path, what=what)
        if status.st_size != entry.size_bytes:
            raise SizeMismatch(file=entry.path, expected=entry.size_bytes, found=status.st_size)
        found = hashlib.sha256()
        while chunk := file.read(CHUNK_BYTES):
            found.update(chunk)
    if found.hexdigest() != entry.sha256:
        raise DigestMismatch(file=entry.path, expected=entry.sha256, found=found.hexdigest())


class Model:
    """A verified bundle in its engine. Used by one thread at a time, unless it is `concurrent`.

    Attributes:
        bundle: where it comes from.
        engine: name and version of what runs it.
        inputs, outputs: tensors in the engine's order, with the manifest's quantization; `dtype` is the stored one.
        input_names, output_names: their names.
        input_dtypes, output_dtypes: element types as clients see them: float32 where integers stand for real numbers.
        labels: one a class, or none.
        concurrent: several threads may run it at once.
        fixed_batch: the length of axis 0 that the artifact insists on, or None when it takes any.
        answer: real numbers (or stored values, as they are) in, real numbers out: a function of one array per input,
            in the order of `inputs`; float arrays for a quantized input are quantized. Raises: InferenceFailed.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        """Load a bundle's artifact.

        Args:
            bundle: opened, so verified.
            threads: for one inference.

        Raises:
            EngineMissing: no engine that may run it is in this runtime.
            EngineRefusesModel: the engine does not take it, or sees other tensors in it than the manifest says.
        """
        import numpy as np

        from agent.transforms.quantization import dequantize, is_quantized, quantize

        manifest = bundle.manifest
        self.bundle = bundle
        name = engines.choose(manifest.format, manifest.requires.engines)
        self._threads = threads
        self._engine = engines.open_engine(name, bundle.model_file, model=manifest.model, threads=threads)
        self.engine = f"{name.value} {self._engine.version}"
        self.engine_name = name.value
        self.engine_version = self._engine.version
        self.concurrent = self._engine.concurrent
        try:
            self.inputs = self._matched(self._engine.inputs, manifest.inputs, "input")
            self.outputs = self._matched(self._engine.outputs, manifest.outputs, "output")
        except EngineRefusesModel:
            self._engine.close()
            raise
        self.labels = bundle.labels()
        lengths = {spec.shape[0] for spec in self.inputs if spec.shape}
        self.fixed_batch = max(lengths) if lengths and min(lengths) > 0 else None
        self.input_is_quantized = [is_quantized(spec) for spec in self.inputs]
        self.output_is_quantized = [is_quantized(spec) for spec in self.outputs]
        self.input_names = [spec.name for spec in self.inputs]
        self.output_names = [spec.name for spec in self.outputs]
        self.input_dtypes = _client_dtypes(self.inputs, self.input_is_quantized)
        self.output_dtypes = _client_dtypes(self.outputs, self.output_is_quantized)
        self.quantized_inputs = any(self.input_is_quantized)
        self.quantized_outputs = any(self.output_is_quantized)
        self._quantize, self._dequantize, self._join = quantize, dequantize, np.concatenate
        plain = self.fixed_batch is None and not (self.quantized_inputs or self.quantized_outputs)
        self.answer: Callable[[Sequence[Array]], list[Array]] = self._engine.run if plain else self._converted

    def _matched(
        self, found: Sequence[TensorSpec], told: Sequence[TensorSpec], kind: str
    ) -> tuple[TensorSpec, ...]:
        """The engine's tensors in its order, each with what the manifest says of it."""
        by_name: Mapping[str, TensorSpec] = {spec.name: spec for spec in told}
        reason = None
        if len(found) != len(told):
            reason = f"it has {len(found)} {kind}s, the manifest says {len(told)}"
        elif missing := [spec.name for spec in found if spec.name not in by_name]:
            reason = f"its {kind} `{missing[0]}` is not in the manifest"
        else:
            for spec in found:
                other = by_name[spec.name]
                if spec.dtype != other.dtype or not _same_shape(spec.shape, other.shape):
                    reason = (
                        f"its {kind} `{spec.name}` is {spec.dtype} {list(spec.shape)}, the manifest says "
                        f"{other.dtype} {list(other.shape)}"
                    )
        if reason is not None:
            raise EngineRefusesModel(
                engine=self.engine_name,
                version=self.engine_version,
                file=self.bundle.manifest.model_file,
                reason=reason,
            )
        return tuple(
            replace(by_name[spec.name], shape=tuple(_narrower(spec.shape, by_name[spec.name].shape)))
            for spec in found
        )

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Stored values in, stored values out.

        Args:
            arrays: per input, in the order of `inputs`, of its dtype, C-contiguous, `[N, ...]`. Where the artifact's
                own batch is fixed, N is a multiple of it and the batches are run one after the other.

        Raises:
            InferenceFailed: the engine said no.
        """
        batch = self.fixed_batch
        if batch is None or len(arrays[0]) == batch:
            return self._engine.run(arrays)
        parts = [
            self._engine.run([array[start : start + batch] for array in arrays])
            for start in range(0, len(arrays[0]), batch)
        ]
        return [self._join(outputs) for outputs in zip(*parts)]  # noqa: B905 - each has all outputs

    def _converted(self, arrays: Sequence[Array]) -> list[Array]:
        """`answer` where there is something to convert, or to run in parts."""
        if self.quantized_inputs:
            arrays = [
                self._quantize(array, spec) if quantized and array.dtype.kind == "f" else array
                for array, spec, quantized in zip(arrays, self.inputs, self.input_is_quantized)  # noqa: B905
            ]
        outputs = self.run(arrays)
        if not self.quantized_outputs:
            return outputs
        return [
            self._dequantize(output, spec) if quantized else output
            for output, spec, quantized in zip(outputs, self.outputs, self.output_is_quantized)  # noqa: B905
        ]

    def first_golden(self, count: int = 1) -> list[Array]:
        """The golden set's first inputs, stored values; axis 0 is `count` times the artifact's own batch, or shorter
        where the set is.

        Raises:
            DocumentInvalid: the golden set is none.
        """
        from agent.transforms.golden import read_golden

        golden = read_golden(self.bundle.golden_file)
        samples = count * (self.fixed_batch or 1)
        return [array[:samples] for array in ordered(golden.inputs, self.bundle.manifest.inputs, self.inputs)]

    def another(self) -> Model:
        """The model for one more thread: itself where its engine is used by several at once, else one more instance."""
        return self if self.concurrent else Model(self.bundle, threads=self._threads)

    def close(self) -> None:
        """Give back what the model holds."""
        with contextlib.suppress(AttributeError):
            self._engine.close()


def _client_dtypes(specs: Sequence[TensorSpec], quantized: Sequence[bool]) -> list[str]:
    return ["float32" if real else spec.dtype for spec, real in zip(specs, quantized)]  # noqa: B905 - a flag each


def ordered(values: Sequence[Any], told: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> list[Any]:
    """Values that lie in the manifest's order, in the engine's (or the other way around)."""
    places = {spec.name: place for place, spec in enumerate(told)}
    return [values[places[spec.name]] for spec in wanted]


def _same_shape(found: Sequence[int], told: Sequence[int]) -> bool:
    return len(found) == len(told) and all(
        a == b or -1 in (a, b)
        for a, b in zip(found, told)  # noqa: B905 - of one length, just compared
    )


def _narrower(found: Sequence[int], told: Sequence[int]) -> list[int]:
    return [max(a, b) for a, b in zip(found, told)]  # noqa: B905 - of one length: `_same_shape`
