"""Two artifacts layer by layer: where what one of them says becomes another thing.

The rule: engines run in a child process, since they crash on bad models, and that is an answer here, too. Without data
of the user's own a bundle's golden set is what is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals

from agent.contract.codec import decode, encode
from agent.contract.errors import InferenceFailed, ModelFormatUnknown, OptionInvalid, error_from_plain
from agent.contract.manifest import Step
from agent.transforms.golden import pack, read_golden
from agent.transforms.quantization import dequantize, is_quantized
from converters.calibration.source import DataSource, locate
from converters.layers import LayerAnswer, LayerRequest
from edge.bundle import MANIFEST, Bundle, open_bundle
from edge.last_words import last_words

SUFFIXES = (".tflite", ".onnx")
TIMEOUT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class _Artifact:
    """An artifact's file, and the bundle that it lies in, if it does."""

    file: Path
    bundle: Bundle | None = None

    @property
    def steps(self) -> tuple[Step, ...] | None:
        return self.bundle.manifest.preprocessing if self.bundle else None


def compare(first: Path, second: Path, *, data: Path | None = None, samples: int) -> LayerAnswer:
    """Compare two artifacts of one format, layer by layer; of two formats only their outputs have something in common.

    Args:
        first: `.tflite`, `.onnx` or a bundle's folder: what the second is measured by, like the float model.
        second: the same.
        data: as `edge convert` takes it; None takes the golden set of the second, else of the first.
        samples: how many at most.

    Raises:
        ModelFormatUnknown: a file is none of these.
        OptionInvalid: neither is a bundle, and there are no data.
        DataUnreadable, DataMismatch, ModelUnreadable: a file can't be read, or they do not fit.
        InferenceFailed: an engine died.
    """
    artifacts = [_artifact(first), _artifact(second)]
    with tempfile.TemporaryDirectory(prefix="edge-compare-") as made:
        folder = Path(made)
        request = LayerRequest(str(artifacts[0].file), str(artifacts[1].file), samples=samples)
        if data is not None:
            location, kind = locate(data)
            steps = artifacts[1].steps or artifacts[0].steps
            request = replace(request, data=DataSource(location=location, kind=kind, steps=steps))
        else:
            request = replace(request, inputs=str(_golden(artifacts, folder / "inputs.npz")))
        return _asked(request, folder)


def _artifact(path: Path) -> _Artifact:
    if (path / MANIFEST).is_file():
        bundle = open_bundle(path)
        return _Artifact(file=(path / bundle.manifest.model_file).resolve(), bundle=bundle)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise ModelFormatUnknown(
            path=path, reason="a bundle's folder, a .tflite or an .onnx file is compared"
        )
    return _Artifact(file=path.resolve())


def _golden(artifacts: list[_Artifact], path: Path) -> Path:
    """The inputs of a bundle's golden set as real numbers, written to `path`."""
    bundle = artifacts[1].bundle or artifacts[0].bundle
    if bundle is None:
        raise OptionInvalid(option="--data", reason="say on which samples the two are to be compared")
    stored = read_golden(bundle.folder / bundle.manifest.golden.file).inputs
    pairs = zip(stored, bundle.manifest.inputs, strict=True)
    real = [dequantize(array, spec) if is_quantized(spec) else array for array, spec in pairs]
    path.write_bytes(pack({f"input_{k}": array for k, array in enumerate(real)}))
    return path


def _asked(request: LayerRequest, folder: Path) -> LayerAnswer:
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_bytes(encode(request))
    command = [sys.executable, "-P", "-m", "converters.layers", str(asked), str(answer)]
    names = f"{Path(request.first).name} or {Path(request.second).name}"
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise InferenceFailed(model=names, reason=f"it took longer than {TIMEOUT_S:g} s") from error
    if answer.is_file():
        plain = json.loads(answer.read_bytes())
        if "error" not in plain:
            return decode(LayerAnswer, answer.read_bytes())
        told = plain["error"]
        raise error_from_plain(told) or InferenceFailed(model=names, reason=told["message"])
    if done.returncode < 0:
        raise InferenceFailed(model=names, reason=f"{Signals(-done.returncode).name} ended the engine")
    words = last_words(done.stderr.decode(errors="replace"), done.returncode)
    raise InferenceFailed(model=names, reason=words)
