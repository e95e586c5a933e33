"""A bundle's artifact on a board over real sshd: what it tells, and that nothing is left, however it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from agent.contract.errors import ConnectionLost, InferenceFailed, MeasurementRefused, MeasurementTooLarge
from agent.contract.manifest import EngineName
from agent.contract.runtime import RuntimeManifest
from agent.transforms.golden import pack, read_golden, unpack
from edge.fleet.connection import Board
from edge.fleet.measure import BoardRun, look, run_bundle
from edge.progress import Silent
from tests.beds.link import Link
from tests.beds.sshd import UID, SshdBoard
from tests.fleet.board_folder import PLACES, make_board_folder, tree
from tests.fleet.conftest import Open
from tests.journeys.bundles import make_bundle
from tests.update.world import wait_until

pytestmark = pytest.mark.timeout(600)  # the engine runs at a low priority, and tests beside it do not
SHORT_S, LONG_S = 0.2, 600.0
MEMORY_BYTES = 100_000_000
ROOT = ".edge-measured"
"""Of edge in the home folder: no other bed's, so that its processes are told from theirs."""


@dataclass(frozen=True)
class There:
    """A board that edge is on, seen past edge."""

    bed: SshdBoard
    runtime: RuntimeManifest
    before: dict[str, tuple[int, bytes]]

    @property
    def root(self) -> str:
        return f"{self.home}/{ROOT}"

    @property
    def home(self) -> str:
        return "/home/pi" if self.bed.isolated else str(self.bed.home)

    def left(self, board: Board) -> list[str]:
        """Folders of measurements."""
        found = board.run(
            ["find", "/tmp", "-maxdepth", "1", "-name", "edge-measure-*", "-uid", str(self.uid)]
        )
        return found.stdout.decode().split()

    @property
    def uid(self) -> int:
        return UID if self.bed.isolated else os.geteuid()

    def processes(self, word: str) -> list[int]:
        """Processes of the board's agent or script whose arguments hold a word."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                said = (entry / "cmdline").read_bytes().split(b"\0")
                mine = entry.stat().st_uid == self.uid
            except OSError:
                continue
            if mine and word.encode() in said and self.root.encode() in b" ".join(said):
                found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def there(bed: SshdBoard) -> There:
    if bed.isolated and any(place.is_relative_to("/tmp") for place in PLACES.values()):
        pytest.skip("this tree lies in /tmp, which is the board's own there")
    root = bed.home / ROOT
    runtime = make_board_folder(root, EngineName.ONNXRUNTIME)
    bed.give(root)
    return There(bed, runtime, tree(bed.home))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b", profile="sim-onnx", model="digits.onnx")


def run(
    board: Board,
    there: There,
    bundle: Path,
    work: Path,
    memory_bytes: int = MEMORY_BYTES,
    window_s: float = SHORT_S,
) -> BoardRun:
    """Run the golden set's inputs in two parts."""
    (inputs,) = read_golden(bundle / "golden.npz").inputs
    parts = []
    for place, part in enumerate((inputs[:20], inputs[20:])):
        parts.append(work / f"{place}.npz")
        parts[-1].write_bytes(pack({"input_0": part}))
    return run_bundle(
        board, there.root, bundle, parts, memory_bytes=memory_bytes, progress=Silent(), window_s=window_s
    )


@pytest.fixture
def long_run(there: There, bundle: Path, tmp_path: Path) -> Iterator[Callable[[Board], list[BaseException]]]:
    """Starts a run that would take ten minutes, aside; gives the list that its error comes into."""
    threads: list[threading.Thread] = []

    def begin(board: Board) -> list[BaseException]:
        errors: list[BaseException] = []

        def work() -> None:
            try:
                run(board, there, bundle, tmp_path, window_s=LONG_S)
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        wait_until(lambda: errors or there.processes("bench"), "the engine runs", timeout=100)
        assert not errors, errors
        return errors

    yield begin
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()


def test_the_board_answers_as_the_engine_does_here_and_keeps_nothing(
    there: There, bundle: Path, open_board: Open, tmp_path: Path
) -> None:
    board = open_board()

    ran = run(board, there, bundle, tmp_path)

    assert ran.runtime == look(board, there.root)
    assert (ran.runtime.engine, ran.runtime.version) == ("onnxruntime", there.runtime.engine_version)
    answers = []
    for place, answer in enumerate(ran.outputs):
        path = tmp_path / f"answer-{place}.npz"
        path.write_bytes(answer)
        answers.append(unpack(path)["output_0"])
    (proof,) = read_golden(bundle / "golden.npz").proof
    np.testing.assert_allclose(np.concatenate(answers), proof, rtol=1e-5)
    assert 0 < ran.quantile_ms(0.50) <= ran.quantile_ms(0.95)
    assert ran.timed.server_peak_bytes is not None
    assert ran.timed.server_peak_bytes > 1e6 * ran.memory_mb >= 0
    assert there.left(board) == []
    assert tree(there.bed.home) == there.before


@pytest.mark.bed
def test_a_cut_cable_ends_the_engine_and_leaves_nothing(
    there: There, link: Link, open_board: Open, long_run: Callable[[Board], list[BaseException]]
) -> None:
    errors = long_run(open_board(port=link.port))

    link.cut_now()

    wait_until(lambda: errors, "the laptop knows", timeout=100)
    assert isinstance(errors[0], ConnectionLost)
    board = open_board()
    wait_until(lambda: not there.processes("bench"), "the engine has ended", timeout=100)
    wait_until(lambda: not there.left(board), "the folder is gone", timeout=100)
    assert tree(there.bed.home) == there.before


@pytest.mark.bed
def test_what_a_killed_run_left_the_next_one_removes(
    there: There,
    bundle: Path,
    open_board: Open,
    tmp_path: Path,
    long_run: Callable[[Board], list[BaseException]],
) -> None:
    errors = long_run(open_board())
    (engine,) = there.processes("bench")
    script = int(Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(script, 9)

    wait_until(lambda: errors, "the laptop knows", timeout=100)
    wait_until(lambda: not there.processes("bench"), "the engine ended with the script", timeout=100)
    board = open_board()
    (left,) = there.left(board)
    board.run(["touch", "-d", "2 minutes ago", left])
    run(board, there, bundle, tmp_path)
    assert there.left(board) == []
    assert tree(there.bed.home) == there.before


@pytest.mark.bed
def test_an_engine_that_crashes_there_is_named_with_its_version(
    there: There, open_board: Open, long_run: Callable[[Board], list[BaseException]]
) -> None:
    board = open_board()
    errors = long_run(board)

    os.kill(there.processes("bench")[0], 11)

    wait_until(lambda: errors, "the laptop knows", timeout=100)
    assert isinstance(errors[0], InferenceFailed)
    assert f"SIGSEGV ended onnxruntime {there.runtime.engine_version} on {board.name}" in str(errors[0])
    assert there.left(board) == []


@pytest.mark.bed
def test_no_second_run_beside_the_first_and_none_beside_an_update(
    there: There,
    bundle: Path,
    open_board: Open,
    tmp_path_factory: pytest.TempPathFactory,
    long_run: Callable[[Board], list[BaseException]],
) -> None:
    errors = long_run(open_board())
    board, trial = open_board(), there.bed.home / ROOT / "trial"

    with pytest.raises(MeasurementRefused, match="another measurement runs"):
        run(board, there, bundle, tmp_path_factory.mktemp("second"))

    trial.symlink_to("generations/2")
    try:
        wait_until(lambda: errors, "the run makes way for the update", timeout=100)
        assert isinstance(errors[0], MeasurementRefused)
        assert "an update is at work" in str(errors[0])
        assert there.left(board) == []
        with pytest.raises(MeasurementRefused, match="an update is at work"):
            look(board, there.root)
    finally:
        trial.unlink()


@pytest.mark.bed
def test_too_little_memory_is_said_before_anything_is_sent(
    there: There, bundle: Path, open_board: Open, tmp_path: Path
) -> None:
    with pytest.raises(MeasurementTooLarge, match=r"about 9000000 MB of memory are needed"):
        run(open_board(), there, bundle, tmp_path, memory_bytes=9_000_000_000_000)
    assert tree(there.bed.home) == there.before
