"""`python -m tests.soak --rounds 1000 --seed 0`"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.soak.rounds import soak


def run() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), count=given.rounds, seed=given.seed, seconds=given.seconds)
    sys.stdout.write("\n".join([*found.differences, str(found)]) + "\n")
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(run())
