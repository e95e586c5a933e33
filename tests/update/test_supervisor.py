"""The supervisor: whom it hears, and whom it tells."""

from __future__ import annotations

import os
import socket
import threading

from agent.contract.states import UpdateState
from agent.supervisor.notices import Notices
from tests.update.world import Board


def test_the_socket_that_children_speak_to_is_kept_open_over_an_execution() -> None:
    before = Notices()
    assert not os.get_inheritable(before._socket.fileno())
    descriptor = before.kept()
    assert os.get_inheritable(descriptor), "nobody else can take its name meanwhile"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as child:
        child.sendto(b"WATCHDOG=1", "\0" + before.address[1:])
    after = Notices(os.dup(descriptor))
    before.close()
    assert after.address.startswith("@edge-")
    assert list(after.heard()) == [(os.getpid(), "WATCHDOG=1")], "what was said meanwhile is heard"
    assert not os.get_inheritable(after._socket.fileno())
    after.close()


def test_an_agent_is_told_of_its_new_links_whatever_the_clock_says(flashed: Board) -> None:
    before = flashed.served()["pid"]
    ended = threading.Event()

    def put_back() -> None:
        """The clock stood ahead when the agent was started."""
        while not ended.wait(0.002):
            os.utime(flashed.root, (1, 1))

    clock = threading.Thread(target=put_back)
    clock.start()
    try:
        report = flashed.flash(2, flashed.fleet.publish("good second"))
    finally:
        ended.set()
        clock.join()
    assert report.state is UpdateState.CONFIRMED
    assert flashed.served()["pid"] == before, "it executed itself anew, and was not killed for not listening"
