"""`python -m tests.mutations [PART OF A NAME…]`: each safeguard taken away, and the test that must notice.

Prints one line a mutation, or with `--table` the table of the docs. Exit code 1 where one survives or is unfit.
"""

from __future__ import annotations

import argparse
import sys

from tests.mutations.mutations import MUTATIONS, table
from tests.mutations.running import Outcome, tried


def main() -> int:
    """Run what was chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations")
    parser.add_argument("names", nargs="*", help="only mutations whose names hold one of these")
    parser.add_argument("--table", action="store_true", help="print the table of the docs, run nothing")
    chosen = parser.parse_args()
    picked = [one for one in MUTATIONS if not chosen.names or any(name in one.name for name in chosen.names)]
    if chosen.table:
        print(table(picked))
        return 0
    bad = 0
    for result in tried(picked):
        print(f"{result.outcome.value:9}{result.took_s:6.1f} s  {result.mutation.name}", flush=True)
        if result.outcome is not Outcome.KILLED:
            bad += 1
            print(result.talk, file=sys.stderr)
    print(f"{len(picked)} mutations, {len(picked) - bad} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
