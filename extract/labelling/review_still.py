"""Stills for the review page: of each video the one frame in which somebody looks worst.

Decoded in guarded workers, the very frame and no other; the page draws the box over it.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from extract.decoding.job import SCANNED, Job, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.stills import Stills, jpeg
from extract.people.spots import Spot

SIDE = 336
Still = Mapping[str, object]


def stills(
    jobs: Sequence[Job], spots: Mapping[str, Spot], root: str, workers: int
) -> Iterator[tuple[str, Still]]:
    """Of the jobs' videos that have a spot; a frame that cannot be had is left out."""
    plan = Plan(stills=Stills(count=0, side=SIDE, besides=1), looks=(), root=root)
    wanted = [
        Job(index=job.index, id=job.id, path=job.path, besides=(spots[job.id].frame,))
        for job in jobs
        if job.id in spots
    ]
    if not wanted:
        return
    with DecodePool(plan, workers=max(1, min(workers, len(wanted)))) as pool:
        for outcome in pool.run(wanted):
            if outcome.info is not None and len(outcome.arrays[SCANNED]):
                small_hwc = np.asarray(outcome.arrays[SCANNED][0], np.uint8)
                size = (outcome.info.width, outcome.info.height)
                yield outcome.job.id, still(small_hwc, size, spots[outcome.job.id])


def still(small_hwc: NDArray[np.uint8], size: tuple[int, int], spot: Spot) -> Still:
    """What the page knows of it; the box in percent of a frame of this size, cut to it."""
    left, top, right, bottom = (
        round(100 * min(max(corner / side, 0), 1), 2)
        for corner, side in zip(spot.box, (*size, *size), strict=True)
    )
    return {
        "size": [small_hwc.shape[1], small_hwc.shape[0]],
        "picture": jpeg(small_hwc),
        "box": [left, top, max(right - left, 0), max(bottom - top, 0)],
        "part": spot.part,
        "frame": spot.frame,
        "score": round(spot.score, 3),
    }
