"""One picture or sample to a board's model: as it is, to the agent's image door.

The rule: pre- and postprocessing are those that travel in the bundle, carried out by `agent.transforms`, once: on the
board, or here for an agent from before it had that door.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.contract.errors import AgentSilent, BoardNotFlashed, DataUnreadable, RequestInvalid
from agent.contract.manifest import BundleManifest
from agent.contract.release import GenerationModel
from agent.transforms.answers import answer
from agent.transforms.images import MAX_BYTES
from agent.transforms.inputs import read_sample
from edge.rollouts.boards import agent_port, board_state
from edge.rollouts.workspace import Workspace
from edge.telemetry import query
from edge.telemetry.store import Store

TIMEOUT_S = 60.0
NO_DOOR = "Not Found"
"""What an agent without the image door says of its path."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What a board answered.

    Attributes:
        document: what the image door answers: `release`, `task`, `answers`, … See `agent.transforms.answers`.
        seconds: from request to answer, with the way there and back.
    """

    document: dict[str, Any]
    seconds: float


def infer(workspace: Workspace, device: str, path: Path, *, model: str | None = None) -> Inference:
    """Send one input (a JPEG, a PNG, or an array `.npy` of one sample) to a model on a board.

    Args:
        workspace: where the board and the release are known.
        device: its name.
        path: the input.
        model: its name; needed only where the board serves several.

    Raises:
        DataUnreadable: the input can't be read.
        BoardNotFlashed, AgentSilent, RequestInvalid: the board, or what it says of the input.
        TransferError: the way there.
    """
    data = _read(path)
    state = board_state(workspace, device)
    if state.reported is None or state.reported.current is None:
        raise BoardNotFlashed(device=device)
    chosen = _choose(state.reported.current.models, model)
    with agent_port(workspace, device) as (forward, _):
        began = time.monotonic()
        status, plain = _post(forward.local_port, f"/edge/v1/models/{chosen.name}/infer", data, device=device)
        if status == 404 and plain.get("error") == NO_DOOR:
            manifest = workspace.repository.bundle(chosen.bundle)
            plain = _from_here(workspace, manifest, chosen, data, forward.local_port, device=device)
        elif status != 200:
            raise _refused(device, status, plain)
        seconds = time.monotonic() - began
    return Inference(document=plain, seconds=seconds)


def infer_over_mqtt(workspace: Workspace, device: str, path: Path, *, model: str | None = None) -> Inference:
    """As `infer`, through the fleet's broker: the board is not reached by SSH, and what it serves is what it said last.

    Raises:
        DataUnreadable: the input can't be read.
        BoardNotFlashed, AgentSilent, RequestInvalid: the board, or what it says of the input.
        StoreMissing, CollectorFailed, CollectorHung, BrokerFailed: nothing is collected here.
    """
    from edge.collector.asking import ask

    data = _read(path)
    device_id = workspace.inventory.get(device).device_id
    with Store.open(workspace.folder.store) as store:
        (known,) = query.fleet_now(store, devices=[device_id])
    if known.reported is None or known.reported.current is None:
        raise BoardNotFlashed(device=device)
    chosen = _choose(known.reported.current.models, model)
    began = time.monotonic()
    plain = json.loads(ask(workspace.folder, device_id, chosen.name, data, name=device))
    if "error" in plain:
        raise _refused(device, plain.get("status", 500), plain)
    return Inference(document=plain, seconds=time.monotonic() - began)


def _choose(models: tuple[GenerationModel, ...], name: str | None) -> GenerationModel:
    named = [model for model in models if name in (None, model.name)]
    if len(named) != 1:
        raise RequestInvalid(
            reason=f"say which model with --model: {', '.join(m.name for m in models) or 'none'}"
        )
    return named[0]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataUnreadable(path=path, reason=f"it has more than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataUnreadable(path=path, reason=error.strerror or str(error)) from error


def _from_here(
    workspace: Workspace,
    manifest: BundleManifest,
    chosen: GenerationModel,
    data: bytes,
    port: int,
    *,
    device: str,
) -> dict[str, Any]:
    """The same document from an agent that takes tensors alone."""
    sample = read_sample(data, manifest)
    spec, values = manifest.inputs[0], sample.array.astype(np.float32)
    tensor = {
        "name": spec.name,
        "shape": list(values.shape),
        "datatype": "FP32",
        "data": values.ravel().tolist(),
    }
    body = json.dumps({"inputs": [tensor]}).encode()
    status, plain = _post(port, f"/v2/models/{chosen.name}/infer", body, device=device)
    if status != 200:
        raise _refused(device, status, plain)
    found = {
        output["name"]: np.asarray(output["data"], np.float32).reshape(output["shape"])
        for output in plain["outputs"]
    }
    outputs = {spec.name: found[spec.name] for spec in manifest.outputs}
    labels = _labels(workspace, manifest)
    said = answer(manifest.task, manifest.postprocessing, outputs, labels=labels, frame=sample.frame)
    which = {"model": chosen.name, "version": plain["model_version"], "release": chosen.release}
    return {**which, "task": manifest.task.value, **said}


def _post(port: int, path: str, body: bytes, *, device: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, body)
        reply = connection.getresponse()
        plain = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AgentSilent(device=device, reason=str(error) or type(error).__name__) from error
    finally:
        connection.close()
    return reply.status, plain if isinstance(plain, dict) else {}


def _refused(device: str, status: int, plain: dict[str, Any]) -> RequestInvalid:
    return RequestInvalid(reason=f"the agent on `{device}` says: {plain.get('error', status)}")


def _labels(workspace: Workspace, manifest: BundleManifest) -> list[str]:
    if manifest.labels_file is None:
        return []
    return workspace.repository.bundle_file(manifest, manifest.labels_file).decode().splitlines()
