"""What tunnels cost the collector: memory, threads and CPU, idle and with a message a second from each board.

`python -m benchmarks.tunnels [--boards 50] [--seconds 30]`, from the repository's folder.
Boards are home folders behind one real sshd (`tests.beds`), or simulated boards where there is none; each has a tunnel
and an agent's MQTT connection with its own certificate through it. Messages of 1000 bytes go to a topic that the
collector does not store, so that what is counted is the way and not the storing. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent.contract.topics import TopicKind, topic
from edge.collector import client, records
from edge.collector.ways import UP
from edge.config import FleetFolder
from edge.inventory import Inventory
from edge.sim import boards as sims
from tests.beds.board import BedUnavailable, bed_key
from tests.beds.sshd import UID, SshdBoard, SshdOptions
from tests.collector.boards import SpeakingBoard, connected, wait_until

MESSAGE_BYTES = 1000
SETTLE_S = 5.0
ALL_UP_S = 300.0


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--boards", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--sim", action="store_true", help="simulated boards even where there is an sshd")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = FleetFolder.create(folder / "fleet", "bench")
        for suffix in ("", ".pub"):
            shutil.copy(f"{bed_key()}{suffix}", fleet.keys / f"ssh{suffix}")
        kind, boards = stack.enter_context(made(fleet, options.boards, sim=options.sim))
        collector = stack.enter_context(collecting(fleet))
        rows = [measured("no boards", collector, options.seconds)]
        began = time.monotonic()
        for board in boards:
            Inventory(fleet).add(board.device)
        wait_until(lambda: all_up(fleet, len(boards)), seconds=ALL_UP_S)
        took_s = time.monotonic() - began
        rows.append(measured(f"{len(boards)} tunnels", collector, options.seconds))
        with agents(fleet, boards) as speak:
            rows.append(measured("and an agent's connection in each", collector, options.seconds))
            speak(True)
            rows.append(measured("and 1 message/s from each", collector, options.seconds))
    print_table(rows, kind, len(boards), took_s)


@contextlib.contextmanager
def made(fleet: FleetFolder, count: int, *, sim: bool) -> Iterator[tuple[str, list[SpeakingBoard]]]:
    """So many boards, and what they are."""
    with contextlib.ExitStack() as stack:
        try:
            if sim:
                raise BedUnavailable("simulated boards were asked for")
            bed = stack.enter_context(SshdBoard("tunnels", SshdOptions(extra=("MaxStartups 1000",))))
        except BedUnavailable:
            shown = sims.up(fleet, count)
            stack.callback(sims.down, fleet)
            yield (
                "simulated boards (asyncssh, one process)",
                [
                    speaking(each.name, each.folder / "home", each.host, each.port, each.user, None)
                    for each in shown
                ],
            )
            return
        yield "home folders behind one OpenSSH server", [behind(bed, number) for number in range(count)]


def behind(bed: SshdBoard, number: int) -> SpeakingBoard:
    """A home folder that is a board."""
    name = f"board-{number}"
    owner = UID if bed.isolated else None
    board = speaking(name, bed.home / name, bed.board.host, bed.board.port, bed.board.user, owner)
    if owner is not None:
        os.chown(bed.home / name, owner, owner)
    board.device = replace(board.device, root=f"~/{name}/.edge")
    return board


def speaking(name: str, home: Path, host: str, port: int, user: str, owner: int | None) -> SpeakingBoard:
    """An enrolled board with that home."""
    return SpeakingBoard(name, home, host=host, port=port, user=user, owner=owner)


@contextlib.contextmanager
def collecting(fleet: FleetFolder) -> Iterator[int]:
    """A collector's process; its id."""
    records.make_folder(fleet)
    process = subprocess.Popen([sys.executable, "-m", "edge.collector.process", str(fleet.path)])
    try:
        wait_until(lambda: client.running(fleet) is not None)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def all_up(fleet: FleetFolder, count: int) -> bool:
    """Whether every tunnel stands; asked twice a second, to cost little."""
    time.sleep(0.5)
    return sum(board.tunnel == UP for board in client.status(fleet).boards) == count


@contextlib.contextmanager
def agents(fleet: FleetFolder, boards: list[SpeakingBoard]) -> Iterator[Callable[[bool], None]]:
    """Each board's MQTT connection, in a process of its own; what is given back lets them speak."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.Process(target=be_agents, args=(fleet.config.fleet, boards, far), daemon=True)
    process.start()
    assert near.recv() == "connected"
    try:
        yield near.send
    finally:
        process.kill()
        process.join()


def be_agents(fleet: str, boards: list[SpeakingBoard], orders: Connection) -> None:
    """Connect them all; when told to, publish a message a second for each, spread over the second."""
    clients = [(board, connected(board)) for board in boards]
    for _, mqtt in clients:
        mqtt.loop_start()
    orders.send("connected")
    orders.recv()
    payload = os.urandom(MESSAGE_BYTES)
    due = time.monotonic()
    while True:
        for board, mqtt in clients:
            mqtt.publish(topic(fleet, board.device_id, TopicKind.REPLY, "bench"), payload, 1)
            due += 1.0 / len(clients)
            time.sleep(max(0.0, due - time.monotonic()))


def measured(what: str, pid: int, seconds: float) -> dict[str, Any]:
    """The process's memory, threads and CPU over so long."""
    time.sleep(SETTLE_S)
    before, memory = cpu_s(pid), []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        memory.append(int(status(pid)["VmRSS"].split()[0]) / 1000)
        time.sleep(1.0)
    share = (cpu_s(pid) - before) / (time.monotonic() - began)
    return {
        "what": what,
        "memory_mb": statistics.median(memory),
        "threads": int(status(pid)["Threads"]),
        "cpu_percent": 100 * share,
    }


def status(pid: int) -> dict[str, str]:
    """`/proc/<pid>/status`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_s(pid: int) -> float:
    """CPU time of the process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def print_table(rows: list[dict[str, Any]], kind: str, count: int, took_s: float) -> None:
    """In Markdown."""
    print(f"{count} boards: {kind}; all tunnels stood after {took_s:.1f} s\n")
    print("| the collector's process | memory, MB | threads | CPU, % of a core |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row['what']} | {row['memory_mb']:.0f} | {row['threads']} | {row['cpu_percent']:.2f} |")
    first, last = rows[0], rows[1]
    print(
        f"\nA tunnel, with its share of the SSH library: {(last['memory_mb'] - first['memory_mb']) / count:.2f} MB, "
        f"{(last['threads'] - first['threads']) / count:.1f} threads"
    )


if __name__ == "__main__":
    main()
