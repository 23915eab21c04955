"""How often the audit raises an alarm where there is nothing, and finds what there is:
`python -m benchmarks.audit_alarms [--sets 100] [--videos 120]`.

Permuted labels over made-up facts, and the same with real videos that last longer. Prints one JSON
line with shares and their 95% Wilson intervals.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from heads.judging.fact_cells import LEVEL, holm, judged
from tests.test_heads.facts_stores import ordinary


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--videos", type=int, default=120)
    parser.add_argument("--longer", type=float, nargs="+", default=[0, 1, 2, 4], help="seconds")
    given = parser.parse_args()
    found: dict[str, list[bool]] = {f"longer by {more:g} s": [] for more in given.longer}
    for seed in range(given.sets):
        # Another stream than the facts': the same bits would tie labels to them.
        labels = np.random.default_rng((seed, 1)).permutation(np.arange(given.videos) % 4)
        for name, alarms in found.items():
            known = dict(ordinary(given.videos, seed))
            longer = float(name.split()[2]) * (labels == 3)
            known["duration"] = (np.array(known["duration"], float) + longer).tolist()
            alarms.append(alarm(known, labels, seed))
    print(json.dumps({"videos": given.videos, **{n: share(a) for n, a in found.items()}}))
    return 0


def alarm(known: Mapping[str, Sequence[object]], labels: NDArray[np.int64], seed: int) -> bool:
    """Any p of the audit's that stays below the level after Holm."""
    columns = {name: np.array(column) for name, column in known.items()}
    inside = np.ones(len(labels), bool)
    sets = [columns, *({name: column} for name, column in columns.items())]
    values = [judged(read, labels, inside, seed=seed).p for read in sets]
    return min(holm(values)) <= LEVEL


def share(alarms: Sequence[bool]) -> dict[str, float]:
    low, high = stats.binomtest(sum(alarms), len(alarms)).proportion_ci(method="wilson")
    return {"sets": len(alarms), "alarms": float(np.mean(alarms)), "low": low, "high": high}


if __name__ == "__main__":
    sys.exit(main())
