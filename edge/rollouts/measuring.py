"""`--measure-on BOARD`: the measure function of a conversion, on a board of the fleet.

The rule: the board is one that edge is on, and runs what it has; nothing is installed for a measurement. Each
measurement opens the connection, measures and closes it, and no other command changes the board meanwhile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from agent.contract.errors import BoardNotFlashed, InferenceFailed, OptionInvalid
from agent.contract.profile import DeviceProfile
from agent.transforms.golden import pack, unpack
from edge.bundle import open_bundle
from edge.conversion import MeasureResult
from edge.fleet.connection import Board, connect
from edge.fleet.measure import BoardRun, BoardRuntime, look, run_bundle
from edge.progress import Progress
from edge.rollouts.workspace import Workspace

PART_BYTES = 16 * 1024 * 1024
"""Inputs that lie on a board at once; a board of 512 MiB must bear it four times over."""
ALONE_BYTES = 128 * 1024 * 1024
"""Python, numpy and an engine's library, without a model."""


class BoardMeasure:
    """Runs artifacts on one board; a `Measure`.

    Attributes:
        name: the board's.
        runtime: that it had when it was looked at first.
    """

    def __init__(self, workspace: Workspace, name: str, progress: Progress) -> None:
        """Look at the board, before anything is converted for it.

        Raises:
            DeviceUnknown: there is none of that name. BoardNotFlashed: edge is not on it.
            MeasurementRefused: an update is at work there.
            TransferError: it can't be asked.
        """
        self.name = name
        self._workspace, self._progress = workspace, progress
        self._device = workspace.inventory.get(name)
        with self._connected() as (board, root):
            self.runtime: BoardRuntime = look(board, root)

    @property
    def profile(self) -> str | None:
        """Name of the board's profile; None where it has none yet."""
        return self._device.profile

    def __call__(self, bundle: Path, inputs: Path, outputs: Path, repeat: int) -> MeasureResult:
        """As `Measure`; the timed run is a window of seconds on the bundle's golden set, whatever `repeat` says.

        Raises:
            DeviceBusy, MeasurementRefused: the board has other things to do, or too little memory.
            EdgeError: it does not run there, or the board could not be asked.
        """
        manifest = open_bundle(bundle).manifest
        arrays = unpack(inputs)
        batch = max(1, *(spec.shape[0] for spec in manifest.inputs if spec.shape))
        with tempfile.TemporaryDirectory(prefix="edge-parts-") as folder:
            parts = _split(arrays, batch, Path(folder))
            model_bytes = manifest.requires.memory_bytes or 2 * (bundle / manifest.model_file).stat().st_size
            needed = ALONE_BYTES + model_bytes + 4 * max(part.stat().st_size for part in parts)
            with self._workspace.inventory.hold(self.name), self._connected() as (board, root):
                ran = run_bundle(
                    board, root, bundle, parts, memory_bytes=needed, progress=self._progress
                )  # fmt: skip
            _join(ran.outputs, bundle, outputs, Path(folder))
        return self._result(ran)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Board, str]]:
        if self._device.root is None:
            raise BoardNotFlashed(device=self.name)
        with connect(self._device, fleet=self._workspace.folder) as board:
            yield board, self._device.root

    def _result(self, ran: BoardRun) -> MeasureResult:
        timed = ran.timed
        peak = timed.server_peak_bytes
        return MeasureResult(
            engine=ran.runtime.engine,
            engine_version=ran.runtime.version,
            platform=f"{ran.runtime.platform}, on {self.name}",
            p50_ms=ran.quantile_ms(0.50),
            p95_ms=ran.quantile_ms(0.95),
            memory_mb=ran.memory_mb,
            peak_memory_mb=peak / 1e6 if peak is not None else None,
            temperature_c_before=timed.temperature_c_before,
            temperature_c=timed.temperature_c,
            throttled_before=timed.throttled_before,
            throttled=timed.throttled,
            core_part=timed.server_cpu_s / timed.seconds if timed.server_cpu_s and timed.seconds else None,
        )


def boards_for(
    workspace: Workspace, names: Sequence[str], profiles: Sequence[DeviceProfile], progress: Progress
) -> dict[str, BoardMeasure]:
    """The boards that are named, by the profile that each of them stands for.

    Raises:
        OptionInvalid: a board has no profile or one that is not converted for, two are of one, or its runtime has
            another engine than the profile.
        as `BoardMeasure`.
    """
    wanted = {profile.name: profile for profile in profiles}
    found: dict[str, BoardMeasure] = {}
    for name in dict.fromkeys(names):
        measure = BoardMeasure(workspace, name, progress)
        option, profile = f"--measure-on {name}", wanted.get(measure.profile or "")
        if profile is None:
            is_a = f"is a `{measure.profile}`" if measure.profile else "has no profile yet"
            raise OptionInvalid(
                option=option,
                reason=f"it {is_a}, and --for names {', '.join(wanted)}",
            )
        if profile.name in found:
            raise OptionInvalid(
                option=option,
                reason=f"`{found[profile.name].name}` is a `{profile.name}`, too: say one of them",
            )
        if measure.runtime.engine != profile.engine.value:
            raise OptionInvalid(
                option=option,
                reason=f"its runtime has {measure.runtime.engine}, and `{profile.name}` takes {profile.engine.value}",
            )
        found[profile.name] = measure
    return found


def _split(arrays: dict[str, np.ndarray], batch: int, folder: Path) -> list[Path]:
    """The inputs in files of `PART_BYTES` at most, in whole batches."""
    count = len(next(iter(arrays.values())))
    sample_bytes = sum(array.nbytes for array in arrays.values()) // count
    step = max(1, PART_BYTES // max(sample_bytes * batch, 1)) * batch
    paths = []
    for begin in range(0, count, step):
        path = folder / f"inputs-{begin}.npz"
        path.write_bytes(pack({name: array[begin : begin + step] for name, array in arrays.items()}))
        paths.append(path)
    return paths


def _join(answers: Sequence[bytes], bundle: Path, outputs: Path, folder: Path) -> None:
    """One `.npz` of what the parts answered."""
    path, parts = folder / "answer.npz", []
    for answer in answers:
        path.write_bytes(answer)
        parts.append(unpack(path))
    if len({frozenset(part) for part in parts}) != 1:
        raise InferenceFailed(model=bundle.name, reason="its answers have different outputs")
    outputs.write_bytes(pack({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}))
