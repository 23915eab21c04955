"""How busy several devices are kept by what is dealt to them, on devices that only count.

    python -m benchmarks.bench_dealing [--devices 8] [--runs 20]

No time passes: a device takes as long for a video as a draw says (log-normal, the middle half of
videos within a factor of two; one device of eight at half speed), is told the next piece when it
begins one, and holds `messages.AHEAD` pieces, as the processes of devices and Ray's actors do. The
ways before: whole blocks of shards (256 videos), dealt once and for all; and pieces of one size, at
least four for each device. Busy: what all devices did,
of what they could have done until the last one ended; medians, and the range over draws.
"""

import argparse
import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import measure
from extract.running.messages import AHEAD
from extract.running.workload import Rows, Target, workload

Numbers = NDArray[np.float64]
BLOCK = 256
ONCE, EQUAL, NOW = "blocks dealt once", "pieces of one size", "smaller pieces towards the end"
VIDEOS = (300, 3_000, 30_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--runs", type=int, default=20)
    given = parser.parse_args()
    rows: list[measure.Row] = []
    for videos in VIDEOS:
        found: dict[str, list[float]] = {ONCE: [], EQUAL: [], NOW: []}
        for seed in range(given.runs):
            drawn = draw(videos, given.devices, seed)
            found[ONCE].append(dealt_once(*drawn))
            found[EQUAL].append(dealt(equal_pieces(videos, given.devices), *drawn))
            found[NOW].append(dealt(pieces(videos, given.devices), *drawn))
        base = float(np.median(found[EQUAL]))
        rows += [
            {
                "what": f"{videos} videos, {given.devices} devices, {way}",
                "busy": float(np.median(each)), "least": min(each), "most": max(each),
                f"speed against {EQUAL}": float(np.median(each)) / base, "n": given.runs,
            }
            for way, each in found.items()
        ]  # fmt: skip
    measure.report("dealing", rows)


def draw(videos: int, devices: int, seed: int) -> tuple[Numbers, Numbers]:
    """What each video takes, and each device's speed."""
    random = np.random.default_rng(seed)
    speeds = np.ones(devices)
    speeds[: devices // 8] = 0.5
    return random.lognormal(0, 0.5, videos), random.permutation(speeds)


def pieces(videos: int, devices: int) -> list[Rows]:
    """As a run deals them."""
    target = Target(name="t", status=np.zeros(videos, np.uint8), shard_rows=BLOCK)
    work = workload(np.arange(videos), [target])
    return [piece.rows for piece in work.pieces(devices)]


def equal_pieces(videos: int, devices: int) -> list[Rows]:
    """As it was done before."""
    share = videos // (devices * 4)
    most = min(BLOCK, max(16, 1 << share.bit_length() >> 1))
    return [np.arange(first, min(first + most, videos)) for first in range(0, videos, most)]


def dealt(work: Sequence[Rows], costs: Numbers, speeds: Numbers) -> float:
    """The share of the devices' time that is work."""
    queue = iter(work)
    held = [[piece for _ in range(AHEAD) if (piece := next(queue, None)) is not None]
            for _ in speeds]  # fmt: skip
    ready = [(0.0, device) for device in range(len(speeds))]
    ended = np.zeros(len(speeds))
    while ready:
        now, device = heapq.heappop(ready)
        if not held[device]:
            continue
        piece = held[device].pop(0)
        if (more := next(queue, None)) is not None:
            held[device].append(more)
        ended[device] = now + costs[piece].sum() / speeds[device]
        heapq.heappush(ready, (ended[device], device))
    return float(costs.sum() / (ended.max() * speeds.sum()))


def dealt_once(costs: Numbers, speeds: Numbers) -> float:
    """Blocks in turns to the devices, whatever they take."""
    blocks = np.arange(len(costs)) // BLOCK % len(speeds)
    ended = np.bincount(blocks, costs, len(speeds)) / speeds
    return float(costs.sum() / (ended.max() * speeds.sum()))


if __name__ == "__main__":
    main()
