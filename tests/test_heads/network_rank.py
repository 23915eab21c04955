"""One of several processes: `python -m tests.test_heads.network_rank FOLDER OUT`."""

import json
import sys
from pathlib import Path

import torch

from heads.finetuning.processes import processes
from tests.test_heads.networks import CUBE, TURNS, config, finetuning


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with (
        processes("cpu") as found,
        finetuning(folder, CUBE, found, config=config(**TURNS, mixup=0.4, dropout=0.2)) as ready,
    ):
        ready.finetuner.fit(stop_after=99)
        learnt = {name: t.tolist() for name, t in ready.finetuner.net.learnt().items()}
        told = {"losses": ready.finetuner.losses, "learnt": learnt}
        (out / f"{found.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
