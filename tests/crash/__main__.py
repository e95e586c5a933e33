"""`make crash`: every operation × every variant of every scenario, on real processes.

    python -m tests.crash [SCENARIO ...] [--point NUMBER:VARIANT] [--jobs N]

Ends with `N points, M violations`, and exit code 1 where there are violations.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.crash.explore import Explored, explore
from tests.crash.full import NAME as FULL
from tests.crash.full import explore_full
from tests.crash.scenarios import SCENARIOS
from tests.crash.world import small_fleet

NAMES = (*SCENARIOS, FULL)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Crash points of the update process."
    )
    parser.add_argument("scenario", nargs="*", choices=[*NAMES, []], help="which (default: all)")
    parser.add_argument("--point", help="one point only, like 17:torn, or 17:torn/5:clean for a second cut")
    parser.add_argument("--once", action="store_true", help="no second cuts")
    parser.add_argument("--jobs", type=int, default=4, help="boards at once (default 4: they wait much)")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    in_memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(
            prefix="edge-crash-", dir=in_memory if in_memory.is_dir() else None
        ) as work,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            fleet = small_fleet(Path(work))
            explored = [
                (explore_full if name == FULL else partial(explore, SCENARIOS[name], twice=not options.once))(
                    fleet=fleet, work=Path(work) / name, pool=pool, only=options.point
                )
                for name in options.scenario or NAMES
            ]
        finally:
            pool.shutdown(cancel_futures=True)  # boards that run come to their end, and are removed
    return _tell(explored, time.monotonic() - begun)


def _tell(explored: Sequence[Explored], seconds: float) -> int:
    for one in explored:
        print(one.line)
    violations = sum(len(one.violations) for one in explored)
    print(f"{seconds:.0f} s")
    print(f"{sum(one.run + one.run_again for one in explored)} points, {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
