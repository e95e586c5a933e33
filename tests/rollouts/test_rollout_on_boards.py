"""Rollouts over real SSH, with real agents under requests, the collector and the store: the canary, and whatever ends
a laptop's day."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import FleetFolder
from tests.journeys.boards import SimBoard
from tests.journeys.bundles import MODELS, make_bundle
from tests.journeys.laptop import Laptop
from tests.rollouts.slow_model import make_slow

pytestmark = [pytest.mark.bed, pytest.mark.timeout(400)]
COUNT = 4
QUICK = ("--waves", "1,100%", "--dwell", "3", "--min-requests", "20", "--reach", "20", "--max-slowdown", "3")
ROOMY = ("--budget", "p95_ms=500", "--budget", "memory_mb=200")


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    work = tmp_path_factory.mktemp("rollouts")
    laptop = Laptop(work / "f", interval_s="0.5")
    publish(laptop, work, "1")
    laptop.does("sim", "up", str(COUNT), "--kind", "onnx", "--traffic", "--rate", "20")
    for number in range(1, COUNT + 1):
        SimBoard.take(laptop, number)
    flashes = [laptop.start("flash", f"sim-{number}", "digits@1") for number in range(1, COUNT + 1)]
    for flash in flashes:
        _, err = flash.communicate(timeout=200)
        assert flash.returncode == 0, err
    yield laptop
    laptop.edge("collect", "stop")
    laptop.does("sim", "down", "--wipe")


@pytest.fixture(scope="module")
def boards(laptop: Laptop) -> dict[str, SimBoard]:
    from edge.sim.plan import plans

    return {plan.name: SimBoard(laptop, plan) for plan in plans(FleetFolder.open(laptop.folder))}


def publish(laptop: Laptop, work: Path, mark: str, *, slow: bool = False) -> str:
    """A new release of `digits`; its title."""
    model = make_slow(MODELS / "digits.onnx", work / f"{mark}.onnx") if slow else MODELS / "digits.onnx"
    bundle = make_bundle(work / f"bundle-{mark}", profile="sim-onnx", model=str(model), mark=mark)
    published = laptop.does("publish", "digits", str(bundle), *ROOMY)
    return next(word for word in published.err.split() if word.startswith("digits@"))


def activations(board: SimBoard, release: str) -> int:
    """How often the board carried out a desired state that names the release, by its own signed history."""
    signed = json.loads((board.root / "state" / "reported.json").read_text())
    return sum(entry["title"] == release for entry in json.loads(signed["payload"])["history"])


def collector(laptop: Laptop) -> int:
    pid = json.loads((laptop.folder / "telemetry" / "running.json").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


def journal(laptop: Laptop, rollout: str) -> list[dict[str, object]]:
    path = laptop.folder / "rollouts" / rollout / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_release_that_is_slower_than_its_peers_stops_at_the_canary(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    release = publish(laptop, tmp_path, "slow", slow=True)
    ended = laptop.does("rollout", "start", release, *QUICK, code=3)
    assert "halted" in ended.err
    assert "slowdown" in ended.out, "the numbers that decided are shown"
    assert "its peers on digits@1" in ended.err
    assert {board.release() for board in boards.values()} == {"digits@1"}
    assert sorted(activations(board, release) for board in boards.values()) == [0, 0, 0, 1]
    status = laptop.does("rollout", "status", "--json").json
    assert status["state"] == "halted"
    assert [board["state"] for board in status["boards"]] == ["back", *["waiting"] * (COUNT - 1)]


def test_a_good_release_goes_through_and_can_be_taken_back_everywhere(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    release = publish(laptop, tmp_path, "good")
    assert laptop.does("rollout", "start", release, *QUICK, "--json").json["state"] == "done"
    assert {board.release() for board in boards.values()} == {release}
    assert "[rollout.ended]" in laptop.does("rollout", "resume", code=2).err
    laptop.does("rollout", "rollback")
    assert {board.release() for board in boards.values()} == {"digits@1"}
    assert all(activations(board, release) == 1 for board in boards.values())


@pytest.mark.parametrize("point", ["is asked to run", "confirmed", "are watched now", "wave 2 of 2"])
def test_kill_9_and_resume(laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path, point: str) -> None:
    release = publish(laptop, tmp_path, point.replace(" ", "-"))
    running = laptop.started("rollout", "start", release, *QUICK, until=point)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    assert laptop.does("rollout", "resume", "--json").json["state"] == "done"
    assert {board.release() for board in boards.values()} == {release}
    assert [activations(board, release) for board in boards.values()] == [1] * COUNT


def test_a_board_that_is_unplugged_in_the_middle_is_unreachable_and_comes_later(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    release = publish(laptop, tmp_path, "unplugged")
    settings = ("--waves", "100%", *QUICK[2:], "--reach", "4", "--max-unreachable", "1", "--min-boards", "3")
    running = laptop.started("rollout", "start", release, *settings, until="sim-2 is asked to run")
    boards["sim-2"].breaks("unplug")
    ended = running.end()
    assert ended.code == 4, ended
    assert "sim-2 was not reached" in ended.err
    assert "edge rollout resume" in ended.err
    boards["sim-2"].breaks("mend")
    laptop.does("rollout", "resume")
    assert {board.release() for board in boards.values()} == {release}
    assert [activations(board, release) for board in boards.values()] == [1] * COUNT


def test_a_night_in_the_middle_harms_nobody(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    """The laptop sleeps: the engine and the collector stand still, longer than a board may be silent."""
    release = publish(laptop, tmp_path, "night")
    running = laptop.started(
        "rollout", "start", release, *QUICK, "--silence", "5", "--dwell", "8", until="are watched now"
    )
    sleepers = (running.process.pid, collector(laptop))
    for pid in sleepers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(20)
    for pid in sleepers:
        os.kill(pid, signal.SIGCONT)
    ended = running.end(seconds=120)
    assert ended.code == 0, ended
    assert {board.release() for board in boards.values()} == {release}


def test_ctrl_c_pauses_and_says_how_to_go_on(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    release = publish(laptop, tmp_path, "ctrl-c")
    ended = laptop.started("rollout", "start", release, *QUICK, until="is asked to run").interrupt()
    assert ended.code == 130, ended
    assert "edge rollout resume" in ended.err
    assert "Traceback" not in ended.err
    assert "[rollout.open]" in laptop.does("rollout", "start", release, code=2).err
    laptop.does("rollout", "resume")
    assert [activations(board, release) for board in boards.values()] == [1] * COUNT


def test_other_terminals_pause_promote_and_abort(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    release = publish(laptop, tmp_path, "terminals")
    long = (*QUICK, "--dwell", "1000")
    running = laptop.started("rollout", "start", release, *long, until="are watched now")
    assert "[rollout.busy]" in laptop.does("rollout", "resume", code=1).err
    laptop.does("rollout", "pause")
    assert running.end().code == 4
    running = laptop.started("rollout", "resume", until="goes on")
    laptop.does("rollout", "promote")
    running.wait_for("wave 2 of 2: its boards have ended")
    assert {board.release() for board in boards.values()} == {release}
    laptop.does("rollout", "abort")
    assert running.end().code == 4
    assert laptop.does("rollout", "status", "--json").json["state"] == "aborted"
    laptop.does("rollout", "rollback", "--json")
    assert release not in {board.release() for board in boards.values()}


def test_a_release_that_fails_its_trial_is_a_verdict_and_a_second_rollout_may_follow(
    laptop: Laptop, boards: dict[str, SimBoard], tmp_path: Path
) -> None:
    before = {board.release() for board in boards.values()}
    bundle = make_bundle(
        tmp_path / "bad", profile="sim-onnx", model="digits.onnx", mark="bad", disagrees=True
    )
    said = laptop.does("publish", "digits", str(bundle), "--force").err
    release = next(word for word in said.split() if word.startswith("digits@"))
    ended = laptop.does("rollout", "start", release, *QUICK, code=3)
    assert "trial.golden-disagrees" in ended.err
    assert {board.release() for board in boards.values()} == before
    again = laptop.does("rollout", "start", release, *QUICK, "--json", code=3).json
    assert again["rollout"].endswith("-2")
    history = laptop.does("rollout", "history", "--json").json
    assert [one["state"] for one in history[-2:]] == ["halted", "halted"]


def test_what_can_not_be_read_is_an_error_at_the_door(laptop: Laptop) -> None:
    for options in (
        ("--waves", "1,x y,100%"),
        ("--waves", "50%,10%"),
        ("--max-failed", "some"),
        ("--max-slowdown", "nan"),
        ("--dwell", "-1"),
        ("--group", "office-*"),
    ):
        assert "[rollout.plan-invalid]" in laptop.does("rollout", "plan", "digits@1", *options, code=2).err
    assert "[device.unknown]" in laptop.does("rollout", "plan", "digits@1", "--device", "sim-9", code=2).err
    plan = laptop.does("rollout", "plan", "digits@1", "--json").json
    assert len(plan["plan"]["waves"]) == 3
