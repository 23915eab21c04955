"""Seconds per trained head, K heads as one program against one after another.

    python -m benchmarks.bench_population [--sizes 1,4,16] [--epochs 10] [--device cpu|cuda]

1,000 videos x 2 views x 3,840 features. On a CPU the stack is expected to lose: that is why `tune`
trains one after another there. On a GPU, with the step compiled and not, try --sizes
1,4,16,64,256 --epochs 100.
"""

import argparse
import os
import time

import torch

from benchmarks import measure
from benchmarks.bench_heads import CLASSES, VIDEOS, table
from heads.tuning.population import Member, Population
from heads.zoo.fusion import Fusion, FusionConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="1,4,16")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    rows: list[measure.Row] = []
    train, validation = table(VIDEOS, 0), table(200, 1)
    config = FusionConfig(epochs=arguments.epochs)

    def alone(seed: int) -> float:
        start = time.perf_counter()
        Fusion(config, CLASSES).fit(train, validation, seed=seed, device=arguments.device)
        return time.perf_counter() - start

    def stacked(size: int, epochs: int) -> float:
        of = FusionConfig(epochs=epochs)
        members = [Member(number=n, config=of, seed=n) for n in range(size)]
        start = time.perf_counter()
        found = list(Population(train, validation, CLASSES, size, arguments.device).run(members))
        if on_gpu:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / len(found)

    on_gpu = torch.device(arguments.device).type == "cuda"
    alone(0)
    for size in map(int, arguments.sizes.split(",")):
        for way in ("never", "always") if on_gpu else ("never",):
            os.environ["TELLTALE_COMPILE"] = way
            stacked(size, 1)  # the program, before the clock
            before = alone(1)
            each = stacked(size, arguments.epochs)
            lone = (before + alone(2)) / 2
            rows.append(
                {"what": f"K = {size}, {arguments.epochs} epochs, compiled: {way}",
                 "s a head, stacked": each, "s a head, alone": lone,
                 "stacked against alone": lone / each}
            )  # fmt: skip
            print(measure.line(rows[-1]), flush=True)
    measure.report("population", rows, ("torch",))


if __name__ == "__main__":
    main()
