"""Power cuts in updates: ``python -m tests.journeys.power_cuts emulated --cuts 20 --seed 4``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.journeys.power_cuts.bed import CONTAINER, EMULATED
from tests.journeys.power_cuts.rounds import power_cuts

BEDS = {"emulated": EMULATED, "container": CONTAINER}

parser = argparse.ArgumentParser(prog="python -m tests.journeys.power_cuts", description=__doc__)
parser.add_argument("bed", choices=list(BEDS), nargs="?", default="emulated")
parser.add_argument("--cuts", type=int, default=20)
parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
asked = parser.parse_args()
with tempfile.TemporaryDirectory() as work:
    rounds = power_cuts(BEDS[asked.bed], Path(work), cuts=asked.cuts, seed=asked.seed)
sys.exit(any(one.broken for one in rounds))
