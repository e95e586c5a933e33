"""The agent's own update, on a board with nobody to ask: what can't start, hangs or loses the network is taken back."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract.codec import encode
from agent.contract.link import LinkConfig
from agent.contract.messages import Reported
from agent.contract.states import UpdateState
from tests.crash.world import enrolled, small_fleet
from tests.update.agents import changed, runtime
from tests.update.world import QUICK, Board, wait_until

BED = pytest.mark.bed
APP, SUPERVISING, RUNNING = "agent/app.py", "agent/supervisor/supervising.py", "agent/update/running.py"
TERMS = replace(QUICK, probation_s=0.5)
BEGIN = "    board = BoardFolder(root)\n"
ROUND = "        while not self._ends:\n"
RAISES = "        raise OSError('no such luck')\n"
REFUSED = {
    "a module is missing": {APP: "import nothing_of_the_kind\n"},
    "its updater dies": {RUNNING: changed(RUNNING, {"        ensure_key(": RAISES + "        ensure_key("})},
    "its supervisor dies": {SUPERVISING: changed(SUPERVISING, {ROUND: RAISES + ROUND})},
    "its supervisor does not end": {
        SUPERVISING: changed(SUPERVISING, {"            self._ends = True\n": "            pass\n"})
    },
}
QUICKLY = "its supervisor dies"
TAKEN_BACK = {
    "it dies at each start": {APP: changed(APP, {BEGIN: RAISES.lstrip().join(["    ", BEGIN])})},
    "it never says a word, and does not go": {
        APP: changed(
            APP, {BEGIN: "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)\n" + BEGIN}
        )
    },
    "it listens elsewhere": {
        APP: changed(
            APP,
            {
                "    listening = _listen(config.address, config.port)\n": (
                    "    os.environ.pop(LISTEN_FD, None)\n    listening = _listen(config.address, 0)\n"
                )
            },
        )
    },
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board with a port of its own that runs a runtime with short deadlines."""
    base = tmp_path_factory.mktemp("agents")
    made = enrolled(small_fleet(base), base)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = json.loads((made.root / "board.json").read_bytes())
    (made.root / "board.json").write_text(json.dumps({**config, "port": port}))
    made.supervise()
    made.short = runtime(made.fleet)  # type: ignore[attr-defined]
    made.good = made.fleet.publish("good connected")  # type: ignore[attr-defined]
    flash(made, made.short)  # type: ignore[attr-defined]
    begun_by_the_short_supervisor(made)
    yield made
    made.stop()


def begun_by_the_short_supervisor(board: Board) -> None:
    """An agent goes on by the deadlines of the supervisor that began it."""
    assert board.supervisor is not None
    command = Path(f"/proc/{board.supervisor.pid}/cmdline")
    wait_until(lambda: "--root" in command.read_text(), "the supervisor has executed itself anew")
    os.kill(board.served()["pid"], signal.SIGKILL)
    wait_until(lambda: board.served() != {}, "the agent is started again")


def flash(board: Board, digest: str, behaviour: str | None = None, **options: object) -> Reported:
    release = board.good if behaviour is None else board.fleet.publish(behaviour)  # type: ignore[attr-defined]
    counter = board.fleet.repository.next_counter("d-0123456789", seen=0)
    return board.flash(counter, release, runtime=digest, **{"terms": TERMS, **options})


def is_as_before(board: Board, before: dict[str, object]) -> None:
    assert board.link("current") == before["generation"]
    assert board.link("trial") is None
    served = board.served()
    assert (served["generation"], served["releases"]) == (before["generation"], before["releases"])


@pytest.mark.parametrize(
    "case", [QUICKLY, *(pytest.param(case, marks=BED) for case in REFUSED if case != QUICKLY)]
)
def test_a_new_agent_that_could_not_carry_on_is_refused_before_it_serves(board: Board, case: str) -> None:
    before = board.served()
    late = case == "its supervisor does not end"
    terms = replace(TERMS, check_timeout_s=8.0 if late else 60.0)
    report = flash(board, runtime(board.fleet, REFUSED[case]), terms=terms)
    assert (report.state, report.code) == (
        UpdateState.REFUSED, "trial.timed-out" if late else "trial.crashed",
    )  # fmt: skip
    assert "of the new runtime" in (report.message or "")
    is_as_before(board, before)
    assert board.served()["pid"] == before["pid"], "what serves was not touched"


@BED
@pytest.mark.parametrize("case", TAKEN_BACK)
def test_a_new_agent_that_is_not_there_is_taken_back(board: Board, case: str) -> None:
    before = board.served()
    terms = replace(TERMS, start_timeout_s=3.0)
    report = flash(board, runtime(board.fleet, TAKEN_BACK[case]), terms=terms)
    assert (report.state, report.code) == (UpdateState.ROLLED_BACK, "trial.timed-out"), report.message
    is_as_before(board, before)


@BED
def test_an_agent_that_hangs_in_its_probation_is_ended_and_taken_back(board: Board) -> None:
    before = board.served()
    report = flash(board, board.short, "good hangs-later", terms=replace(TERMS, probation_s=5.0))  # type: ignore[attr-defined]
    assert (report.state, report.code) == (UpdateState.ROLLED_BACK, "trial.probation-failed")
    assert "does not answer" in (report.message or "")
    is_as_before(board, before)


def test_an_agent_that_hangs_after_it_was_confirmed_is_started_again_and_the_next_update_proceeds(
    board: Board,
) -> None:
    before = flash(board, board.short, "good hangs-later", terms=replace(TERMS, probation_s=0.0))  # type: ignore[attr-defined]
    assert before.state is UpdateState.CONFIRMED
    pids = set()

    def started_again() -> bool:
        pids.add(json.loads((board.root / "run/agent.json").read_bytes())["pid"])
        return len(pids) > 1

    wait_until(started_again, "it is started again")
    said = (board.root / "run/out.log").read_text()
    assert "`run` gave no sign of life in time; it is ended" in said
    assert flash(board, board.short).state is UpdateState.CONFIRMED  # type: ignore[attr-defined]


UNCONNECTED = {APP: changed(APP, {"CONNECTS = True": "CONNECTS = False"})}


def test_a_new_agent_that_loses_its_collector_is_taken_back(board: Board) -> None:
    before = board.served()
    with listener(board, answers=True):
        report = flash(board, runtime(board.fleet, UNCONNECTED))
    assert (report.state, report.code) == (UpdateState.ROLLED_BACK, "trial.link-lost"), report.message
    assert " s while 127.0.0.1 port" in (report.message or "")
    is_as_before(board, before)


@BED
@pytest.mark.parametrize("away", ["nothing listens", "a tunnel's port, and the laptop sleeps"])
def test_a_collector_that_is_away_fails_no_new_agent(board: Board, away: str) -> None:
    short: str = board.short  # type: ignore[attr-defined]
    with listener(board, answers=False):
        if away.startswith("a tunnel"):
            assert flash(board, runtime(board.fleet, UNCONNECTED)).state is UpdateState.CONFIRMED
    assert flash(board, runtime(board.fleet, UNCONNECTED)).state is UpdateState.CONFIRMED
    with listener(board, answers=True):
        assert flash(board, short).state is UpdateState.CONFIRMED, (
            "what served before was not connected either"
        )


@contextmanager
def listener(board: Board, *, answers: bool) -> Iterator[None]:
    """What the board's link leads to: a broker that does TLS, or a port where nobody speaks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        link = LinkConfig(collector="c", url=f"mqtts://127.0.0.1:{port}", certificate="")
        (board.root / "link").mkdir(exist_ok=True)
        (board.root / "link/link.json").write_bytes(encode(link))
        held: list[socket.socket] = []
        threading.Thread(target=_accept, args=(server, held, answers), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for one in held:
                one.close()


def _accept(server: socket.socket, held: list[socket.socket], answers: bool) -> None:
    """A broker refuses who shows no certificate that it knows; it need not have one itself for that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        held.append(client)
        if answers:
            try:
                context.wrap_socket(client, server_side=True)
            except OSError:
                continue


@BED
def test_a_staging_that_hangs_is_ended_and_after_some_attempts_let_go_of(board: Board) -> None:
    build = "        def build(destination: Path) -> None:\n            archive"
    hanging = build.replace(
        "            archive", "            __import__('time').sleep(600)\n            archive"
    )
    objects = {"agent/update/objects.py": changed("agent/update/objects.py", {build: hanging})}
    assert flash(board, runtime(board.fleet, objects)).state is UpdateState.CONFIRMED
    before = board.served()
    report = flash(board, runtime(board.fleet, {"agent/another.py": "# it was not there before\n"}), "good")
    assert (report.code, report.state) == ("update.stuck", UpdateState.CONFIRMED)
    assert "begun 3 times" in (report.message or "")
    assert "`edge logs TARGET`" in (report.hint or "")
    is_as_before(board, before)
    assert not (board.root / "state/resume").exists()


@BED
def test_an_update_process_that_is_frozen_is_ended_from_outside(board: Board) -> None:
    before = board.served()
    board.assign(
        board.fleet.repository.next_counter("d-0123456789", seen=0), board.fleet.publish("good check-waits"),
        runtime=runtime(board.fleet), terms=replace(TERMS, check_timeout_s=2.0),
    )  # fmt: skip
    board.push("frozen")
    wait_until(lambda: board.report.state is UpdateState.CHECKING, "the check begins")
    os.kill(int((board.root / "state/lock").read_text()), signal.SIGSTOP)
    report = board.wait_for("frozen")
    assert (report.state, report.code, report.attempts) == (UpdateState.REFUSED, "trial.timed-out", 2)
    assert "`apply` gave no sign of life in time; it is ended" in (board.root / "run/out.log").read_text()
    is_as_before(board, before)


@BED
def test_what_neither_finishes_nor_goes_back_says_what_to_do_and_the_next_flash_leads_out(
    board: Board,
) -> None:
    short: str = board.short  # type: ignore[attr-defined]
    report = flash(board, short, "good again")
    assert report.current is not None
    model = board.root / "objects" / report.current.models[0].bundle / "model.tflite"
    model.chmod(0o644)
    before = board.served()

    board.assign(
        board.fleet.repository.next_counter("d-0123456789", seen=0), board.fleet.publish("answers-wrongly"),
        runtime=short, terms=replace(TERMS, probation_s=60.0),
    )  # fmt: skip
    model.write_text("dies")
    report = board.push_and_wait()
    assert (report.state, report.code) == (UpdateState.INCONSISTENT, "update.inconsistent"), report.message
    assert "`edge flash TARGET RELEASE`" in (report.hint or "")
    assert (board.link("current"), board.link("trial")) == (before["generation"], None)

    model.write_text("good again")
    wait_until(
        lambda: board.served().get("generation") == before["generation"],
        "it is tried again and again",
        timeout=60,
    )
    assert flash(board, short).state is UpdateState.CONFIRMED


@BED
def test_where_there_is_no_room_the_generation_before_goes_when_its_rollout_is_finished(board: Board) -> None:
    free = "def disk_free_bytes(path: Path) -> int:\n"
    full = "    if len([*(path.parent / 'generations').glob('*')]) > 1:\n        return 0\n"
    hardware = changed("agent/update/hardware.py", {free: free.replace("(path", "_of(path")})
    hardware += f"\n\n{free}{full}    return disk_free_bytes_of(path)\n"
    tight = runtime(board.fleet, {"agent/update/hardware.py": hardware})
    report = flash(board, tight)
    assert (report.state, report.previous is not None) == (UpdateState.CONFIRMED, True)
    assert report.previous is not None
    before, earlier = board.served(), report.previous

    refused = flash(board, tight, "good third")
    assert refused.code == "update.disk-full", refused.message
    assert (board.root / "generations" / str(earlier.number)).is_dir(), "nobody said that it may go"
    is_as_before(board, before)
    # Its runtime belongs to no other generation, and the push did not send what was there
    report = flash(board, earlier.runtime, "good third", finalise=before["generation"])
    assert report.state is UpdateState.CONFIRMED, report.message
    assert not (board.root / "generations" / str(earlier.number)).exists()
