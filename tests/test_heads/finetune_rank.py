"""One of several processes: `python -m tests.test_heads.finetune_rank FOLDER OUT`."""

import json
import sys
from pathlib import Path

import torch

from heads.finetuning.processes import processes
from tests.test_heads.finetunes import config, finetuning


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with (
        processes("cpu") as found,
        finetuning(folder, "blocks=2", found, config=config(drop_path=0.2)) as ready,
    ):
        ready.finetuner.fit()
        told = {"losses": ready.finetuner.losses, "history": ready.finetuner.history}
        (out / f"{found.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
