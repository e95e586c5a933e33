from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.codec import encode
from agent.contract.errors import BoardNotFlashed, DeadlinePassed, ReportForged, ReportReplayed
from agent.contract.messages import Reported, Signed, signed_bytes
from agent.contract.states import UpdateState
from edge.fleet.status import BoardStatus, read_status, wait_for_end
from edge.inventory import Device
from tests.beds.sshd import SshdBoard
from tests.fleet.conftest import Open

KEY = Ed25519PrivateKey.generate()
ROOT = "~/.edge"


def device(*, counter_seen: int = 0, key: Ed25519PrivateKey = KEY) -> Device:
    return Device(
        name="kitchen",
        device_id="b-1",
        host="127.0.0.1",
        user="pi",
        host_key="",
        fingerprint="",
        public_key=key.public_key().public_bytes_raw().hex(),
        counter_seen=counter_seen,
    )


class Folder:
    """A board's folder as its own processes would write it."""

    def __init__(self, bed: SshdBoard) -> None:
        self.root = bed.home / ".edge"
        self._counter = 0
        for name in ("bin", "state", "run", "inbox"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "bin" / "launch.py").touch()
        for path in self.root.rglob("*"):
            if path.is_file() and path.name != "launch.py":
                path.unlink()

    def report(self, state: UpdateState, *, request: str, in_progress: bool = False) -> None:
        self._counter += 1
        reported = Reported(
            device="b-1", counter=7, state=state, nonce="ab", wall=1, request=request, in_progress=in_progress
        )
        payload = encode(reported).decode()
        signature = KEY.sign(signed_bytes("b-1", self._counter, payload)).hex()
        signed = Signed(device="b-1", counter=self._counter, payload=payload, signature=signature)
        self._put("state/reported.json", encode(signed))

    def _put(self, name: str, data: bytes) -> None:
        part = Path(f"{self.root / name}.new")
        part.write_bytes(data)
        part.rename(self.root / name)


@pytest.fixture
def folder(bed: SshdBoard) -> Folder:
    return Folder(bed)


def test_a_bare_board_has_no_report(open_board: Open, bed: SshdBoard) -> None:
    status = read_status(open_board(), "~/nothing")
    assert (status.installed, status.config, status.signed, status.agent_alive) == (False, None, None, False)
    with pytest.raises(BoardNotFlashed):
        status.report(device())


def test_a_report_counts_with_the_devices_signature_and_not_backwards(
    open_board: Open, folder: Folder
) -> None:
    folder.report(UpdateState.CONFIRMED, request="one")
    status = read_status(open_board(), ROOT)
    assert status.report(device()).state is UpdateState.CONFIRMED
    with pytest.raises(ReportForged):
        status.report(device(key=Ed25519PrivateKey.generate()))
    with pytest.raises(ReportReplayed):
        status.report(device(counter_seen=9))


def test_waiting_sees_each_state_and_ends_with_the_request_it_was_for(
    open_board: Open, folder: Folder
) -> None:
    folder.report(UpdateState.CONFIRMED, request="the one before")

    ahead = iter((UpdateState.STAGED, UpdateState.CHECKING, UpdateState.PROBATION, UpdateState.ROLLED_BACK))
    seen: list[UpdateState] = []

    def on_change(reported: Reported, status: BoardStatus) -> None:
        seen.append(reported.state)
        if (state := next(ahead, None)) is not None:
            folder.report(state, request="mine", in_progress=state is not UpdateState.ROLLED_BACK)

    reported = wait_for_end(
        open_board(),
        ROOT,
        device(),
        request="mine",
        deadline_s=20,
        on_change=on_change,
    )
    assert reported.state is UpdateState.ROLLED_BACK
    assert [state.value for state in seen] == ["confirmed", "staged", "checking", "probation", "rolled-back"]


def test_waiting_ends_at_its_deadline(open_board: Open, folder: Folder) -> None:
    folder.report(UpdateState.STAGED, request="mine", in_progress=True)
    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match="the update"):
        wait_for_end(open_board(), ROOT, device(), request="mine", deadline_s=1)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["request", "request.taken"])
def test_a_request_that_still_lies_there_has_not_been_answered(
    open_board: Open, folder: Folder, name: str
) -> None:
    folder.report(UpdateState.CONFIRMED, request="mine")
    (folder.root / "inbox" / name).write_text("mine")
    with pytest.raises(DeadlinePassed):
        wait_for_end(open_board(), ROOT, device(), request="mine", deadline_s=1)


def test_an_agent_that_is_gone_is_seen(open_board: Open, folder: Folder) -> None:
    agent = {"pid": 4_000_000, "boot": "0" * 16, "generation": 1, "port": 8470, "started": 1.0, "ready": True}
    (folder.root / "run" / "agent.json").write_text(json.dumps(agent))
    status = read_status(open_board(), ROOT)
    assert status.agent is not None
    assert not status.agent_alive
