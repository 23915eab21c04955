"""How often an ablation of nothing claims a gain, and how often it finds one with as many videos as
it says it needs: `python -m benchmarks.ablations [--repeats 100] [--videos 120]`.

Two rows of a fusion head with three seeds each, on made-up videos. Of nothing: the second row has
the same settings and other seeds. Of a gain: its depth vectors know a little. How many videos are
needed is what pilots of the usual size say, as `telltale ablate` prints it; the ablations that are
to find the gain are made anew with so many.
"""

import argparse

import numpy as np
import torch

from benchmarks import measure
from heads.judging import two_way
from heads.judging.ablation import SHOWN_GAIN
from heads.measuring.intervals import wilson
from heads.measuring.metrics import averaged
from heads.zoo.fusion import Fusion, FusionConfig
from tests.test_heads.tables import CLASSES, table

SEEDS = 3
LEVEL = 0.05
_VIDEO, _DEPTH = 0.6, 0.33
"""How much the vectors know; of depth so much that it is worth about five points."""
_PILOTS, _LARGE = 10_000, 20_000
"""Where their random numbers begin."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--videos", type=int, default=120, help="that are judged")
    given = parser.parse_args()
    torch.set_num_threads(1)
    nothing = [ablated(repeat, given.videos, 0.0) for repeat in range(given.repeats)]
    pilots = [
        ablated(_PILOTS + repeat, given.videos, _DEPTH) for repeat in range(given.repeats // 4)
    ]
    needed = sorted(one for each in pilots if (one := each.needed(SHOWN_GAIN)) is not None)
    seeds, videos = needed[len(needed) // 2]
    large = [ablated(_LARGE + repeat, videos, _DEPTH, seeds) for repeat in range(given.repeats)]
    gains = [one.value for one in large]
    rows: list[measure.Row] = [
        {"what": "nothing: claims a gain or a loss", "judged videos": given.videos, "runs": SEEDS,
         **_share([one.p < LEVEL for one in nothing])},
        {"what": f"a gain: with what is needed for {100 * SHOWN_GAIN:g} points of AUC, as pilots "
         f"say, it is found", "points of AUC it has": 100 * float(np.mean(gains)),
         "error": 100 * float(np.std(gains, ddof=1) / np.sqrt(len(gains))),
         "judged videos": videos, "runs": seeds, "pilots": len(pilots),
         **_share([one.p < LEVEL and one.value > 0 for one in large])},
    ]  # fmt: skip
    measure.report("ablations", rows, ("numpy", "scipy", "torch"))
    return 0


def ablated(repeat: int, videos: int, depth: float, seeds: int = SEEDS) -> two_way.Spread:
    """Second row minus first, on new videos."""
    runs, labels = [], np.zeros(0, np.int64)
    for row, signal in enumerate((0.0, depth)):
        train, decide, judged = (
            table(n, 1, seed=1000 * repeat + part, video_signal=_VIDEO, depth_signal=signal)
            for part, n in enumerate((200, 80, videos))
        )
        labels, heads = judged.labels.astype(np.int64), []
        for seed in range(seeds):
            head = Fusion(FusionConfig(epochs=15, lr=3e-3, hidden=12), CLASSES)
            head.fit(train, decide, seed=1000 * repeat + 100 * row + seed)
            heads.append(averaged(head.predict(judged)))
        runs.append(heads)
    return two_way.difference("auc", runs[1], runs[0], labels, CLASSES)


def _share(hits: list[bool]) -> measure.Row:
    found = wilson(int(np.sum(hits)), len(hits))
    return {"ablations": found.n, "share": found.value, "low": found.low, "high": found.high}


if __name__ == "__main__":
    raise SystemExit(main())
