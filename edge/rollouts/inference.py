"""One input to a board's model: prepared here by the release's own steps, answered there.

The rule: pre- and postprocessing are those that travel in the bundle, carried out by `agent.transforms`, so that the
answer is the one that the agent's own image door will give.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.contract.errors import AgentSilent, BoardNotFlashed, DataMismatch, DataUnreadable, RequestInvalid
from agent.contract.manifest import BundleManifest, Task
from agent.contract.release import GenerationModel
from agent.transforms.pipeline import Answer, answers, apply
from edge.rollouts.boards import agent_port, board_state
from edge.rollouts.workspace import Workspace

TIMEOUT_S = 60.0
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What a board answered.

    Attributes:
        release: `digits@1`.
        answers: of a classifier, best first; empty for other tasks.
        outputs: name to values, as the agent sent them.
        seconds: from request to answer, through SSH.
    """

    release: str
    answers: tuple[Answer, ...]
    outputs: dict[str, Any]
    seconds: float


def infer(workspace: Workspace, device: str, path: Path, *, model: str | None = None) -> Inference:
    """Send one input (an image, or an array `.npy` of one sample) to a model on a board.

    Args:
        workspace: where the board and the release are known.
        device: its name.
        path: the input.
        model: its name; needed only where the board serves several.

    Raises:
        DataUnreadable, DataMismatch: the input.
        BoardNotFlashed, AgentSilent, RequestInvalid: the board.
        TransferError: the way there.
    """
    array = _read(path)
    state = board_state(workspace, device)
    if state.reported is None or state.reported.current is None:
        raise BoardNotFlashed(device=device)
    chosen = _choose(state.reported.current.models, model)
    manifest = workspace.repository.bundle(chosen.bundle)
    body = json.dumps({"inputs": [_input(manifest, path, array)]}).encode()
    with agent_port(workspace, device) as (forward, _):
        began = time.monotonic()
        plain = _ask(forward.local_port, chosen.name, body, device=device)
        seconds = time.monotonic() - began
    outputs = {tensor["name"]: tensor["data"] for tensor in plain["outputs"]}
    found: list[Answer] = []
    if manifest.task is Task.CLASSIFICATION:
        scores = np.asarray(plain["outputs"][0]["data"], dtype=np.float32)
        found = answers(manifest.postprocessing, scores, _labels(workspace, manifest))
    return Inference(release=chosen.release, answers=tuple(found), outputs=outputs, seconds=seconds)


def _choose(models: tuple[GenerationModel, ...], name: str | None) -> GenerationModel:
    named = [model for model in models if name in (None, model.name)]
    if len(named) != 1:
        raise RequestInvalid(
            reason=f"say which model with --model: {', '.join(m.name for m in models) or 'none'}"
        )
    return named[0]


def _input(manifest: BundleManifest, path: Path, array: NDArray[Any]) -> dict[str, Any]:
    spec = manifest.inputs[0]
    expected = ", ".join(f"`{spec.name}` {list(spec.shape)}" for spec in manifest.inputs)
    if len(manifest.inputs) > 1:
        reason = f"it is one input, the model takes {len(manifest.inputs)}; ask it through `edge forward`"
        raise DataMismatch(purpose="input", path=path, reason=reason, expected=expected)
    if path.suffix.lower() in IMAGES:
        if not manifest.preprocessing:
            raise DataMismatch(
                purpose="input",
                path=path,
                reason="the bundle has no steps from an image to its input",
                expected=expected,
            )
        array = apply(manifest.preprocessing, array)
    if array.ndim == len(spec.shape) - 1:
        array = array[np.newaxis]
    if array.ndim != len(spec.shape) or any(
        want not in (-1, found) for want, found in zip(spec.shape[1:], array.shape[1:], strict=True)
    ):
        raise DataMismatch(
            purpose="input", path=path, reason=f"its shape is {list(array.shape)}", expected=expected
        )
    values = array.astype(np.float32)
    return {
        "name": spec.name,
        "shape": list(values.shape),
        "datatype": "FP32",
        "data": values.ravel().tolist(),
    }


def _read(path: Path) -> NDArray[Any]:
    from PIL import Image

    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise DataUnreadable(path=path, reason="it does not hold one array of real numbers")
            return array
        with Image.open(path) as image:
            array = np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
            return array[..., np.newaxis] if array.ndim == 2 else array
    except (OSError, ValueError, EOFError, SyntaxError, Image.DecompressionBombError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataUnreadable(path=path, reason=words or type(error).__name__) from error


def _ask(port: int, model: str, body: bytes, *, device: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        plain = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgentSilent(device=device, reason=str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if reply.status != 200:
        raise RequestInvalid(reason=f"the agent on `{device}` says: {plain.get('error', reply.status)}")
    return plain


def _labels(workspace: Workspace, manifest: BundleManifest) -> list[str]:
    if manifest.labels_file is None:
        return []
    return workspace.repository.bundle_file(manifest, manifest.labels_file).decode().splitlines()
