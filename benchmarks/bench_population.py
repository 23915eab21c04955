"""Seconds per trained head, K heads as one program against one after another.

    python -m benchmarks.bench_population [--sizes 1,4,16] [--epochs 10] [--device cpu|cuda]

1,000 videos x 2 views x 3,840 features. On a CPU the stack is expected to lose: that is why
`tune` trains one after another there. On a GPU try --sizes 1,4,16,64,256 --epochs 100.
"""

import argparse
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

    alone(0)
    for size in map(int, arguments.sizes.split(",")):
        members = [Member(number=n, config=config, seed=n) for n in range(size)]
        before = alone(1)
        start = time.perf_counter()
        found = list(Population(train, validation, CLASSES, size, arguments.device).run(members))
        if torch.device(arguments.device).type == "cuda":
            torch.cuda.synchronize()
        each = (time.perf_counter() - start) / len(found)
        lone = (before + alone(2)) / 2
        rows.append(
            {"what": f"K = {size}, {arguments.epochs} epochs", "s a head, stacked": each,
             "s a head, alone": lone, "stacked against alone": lone / each}
        )  # fmt: skip
    measure.report("population", rows, ("torch",))


if __name__ == "__main__":
    main()
