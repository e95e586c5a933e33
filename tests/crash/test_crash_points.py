"""Crash points of an update: a small part here, all of them in `make crash`.

The part: what a cut right after a change of a link or of the record may leave; and every tree looked at, none run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.explore import Recorded, cut, record
from tests.crash.full import Full, without_room
from tests.crash.invariants import of_a_cut
from tests.crash.points import Point, told
from tests.crash.recording import LOG, lines
from tests.crash.scenarios import UPDATE
from tests.crash.world import small_fleet

TELLING = re.compile(r"rename \S+ board/(current|trial|state/update\.json)|unlink board/trial")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("crash")
    return record(UPDATE, fleet=small_fleet(path), work=path / "update")


def test_the_log_is_all_that_an_update_does_to_the_disk(recorded: Recorded) -> None:
    assert len(recorded.log) > 80
    assert len([path for path in recorded.start if path.startswith("board/objects/")]) <= 20
    assert recorded.whole.outside == (), "an audit hook heard of nothing else"


def test_no_cut_leaves_a_file_in_parts_or_a_generation_that_is_not_whole(recorded: Recorded) -> None:
    promise = recorded.scenario.promise
    for point in recorded.distinct():
        broken = of_a_cut(
            point.tree, recorded.start, promise, fleet=recorded.fleet, contents=recorded.contents
        )
        assert not broken, f"{point.name}, after {point.last}: {broken}"


def test_cut_at_any_change_of_a_link_or_of_the_record_the_board_comes_to_its_end(
    recorded: Recorded,
) -> None:
    def telling(point: Point) -> bool:
        return bool(point.last) and bool(TELLING.match(point.last[-1]))

    points = [point for point in recorded.distinct() if telling(point)]
    assert len(points) >= 6
    with ThreadPoolExecutor(3) as pool:
        found = [
            violation for violation, _ in pool.map(lambda point: cut(recorded, point), points) if violation
        ]
    assert not found, "\n".join(str(violation) for violation in found)


def test_without_room_for_a_link_nothing_is_left_of_it_and_the_next_run_makes_it(recorded: Recorded) -> None:
    links = ("rename board/.new-trial", "symlink board/.new-current")
    numbers = [number for number, line in enumerate(recorded.log) if told(line).startswith(links)]
    with ThreadPoolExecutor(2) as pool:
        found = [
            one for one in pool.map(lambda number: without_room(recorded, number, Full.ONCE), numbers) if one
        ]
    assert len(numbers) == 2
    assert not found, "\n".join(str(violation) for violation in found)


def test_a_change_past_the_interface_is_heard(tmp_path: Path) -> None:
    program = """
import sys; sys.path[:0] = sys.argv[1:]
import os
from pathlib import Path
from agent.update.files import Files
from tests.crash import recording
disk, base = recording.disk(Files), Path(os.environ["EDGE_RECORD_BASE"])
disk.write(base / "seen", [b"x"], mode=0o600)
(base / "past").write_bytes(b"y")
os.rename(base / "past", base / "further")
(base / "board" / "run").mkdir(parents=True)
(base / "board" / "run" / "agent.json").write_bytes(b"z")
os.open(base / "seen", os.O_RDONLY)
"""
    base = tmp_path / "base"
    base.mkdir()
    environment = {**os.environ, "EDGE_RECORD": str(tmp_path / "log"), "EDGE_RECORD_BASE": str(base)}
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", program, root], env=environment, check=True)
    told = [(line["op"], line.get("event"), line["path"]) for line in lines(tmp_path / "log" / LOG)]
    assert told == [
        ("write", None, "seen"),
        ("outside", "open", "past"),
        ("outside", "os.rename", "past"),
        ("outside", "os.rename", "further"),
        ("outside", "os.mkdir", "board"),
    ]


@pytest.mark.bed
@pytest.mark.timeout(3600)
def test_every_operation_times_every_variant_of_every_scenario() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.crash"], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
