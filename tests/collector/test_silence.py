from __future__ import annotations

import signal
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from edge.collector.silence import LONGEST_TICK_S, Silence

TICKS = st.lists(
    st.tuples(st.floats(0, 100), st.booleans(), st.booleans()), max_size=30
)  # seconds passed, it was heard, it was listened to


@given(TICKS)
def test_silence_is_never_more_than_the_time_that_was_listened_in_since_the_last_word(
    ticks: list[tuple[float, bool, bool]],
) -> None:
    silence, now, most = Silence(0.0), 0.0, 0.0
    for passed, heard, listening in ticks:
        now += passed
        if heard:
            silence.heard(["a"])
        silence.tick(now, listening=["a"] if listening else [])
        most = 0.0 if heard else most + (passed if listening and passed <= LONGEST_TICK_S + 1e-9 else 0.0)
        assert 0.0 <= silence.of("a") <= most + 1e-6


def test_a_board_that_says_nothing_while_it_is_listened_to_is_silent() -> None:
    silence = Silence(0.0)
    for now in range(1, 11):
        silence.tick(float(now), listening=["a", "b"])
        silence.heard(["b"])
    assert silence.of("a") == 10.0
    assert silence.of("b") <= 1.0
    assert silence.of("never seen") == 0.0


def test_sleep_and_closed_ways_do_not_count() -> None:
    silence = Silence(0.0)
    silence.tick(1.0, listening=["a"])
    silence.tick(30_000.0, listening=["a"])
    silence.tick(30_001.0, listening=[])
    silence.tick(30_002.0, listening=["a"])
    assert silence.of("a") == 2.0


def test_a_process_that_is_stopped_for_a_while_adds_nothing() -> None:
    script = (
        "import sys, time\n"
        "from edge.collector.silence import Silence\n"
        "silence = Silence(time.monotonic())\n"
        "for line in sys.stdin:\n"
        "    silence.tick(time.monotonic(), listening=['a'])\n"
        "    print(silence.of('a'), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def tick() -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            return float(process.stdout.readline())

        before = tick()
        process.send_signal(signal.SIGSTOP)
        time.sleep(LONGEST_TICK_S + 0.5)
        process.send_signal(signal.SIGCONT)
        assert tick() == before
        process.stdin.close()


def test_who_left_the_fleet_is_forgotten() -> None:
    silence = Silence(0.0)
    silence.tick(1.0, listening=["a", "b"])
    silence.forget(["b"])
    assert silence.of("a") == 0.0
    assert silence.of("b") == 1.0
