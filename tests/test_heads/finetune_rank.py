"""One of several processes: `python -m tests.test_heads.finetune_rank FOLDER OUT`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from heads.finetuning import step_memory
from heads.finetuning.processes import processes
from tests.test_heads.finetunes import config, finetuning


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    how = config(drop_path=0.2)
    with processes("cpu") as found:
        with finetuning(folder, "blocks=2", found, config=how) as ready:
            assert ready.finetuner.memory is not None
            needed = ready.finetuner.memory.needed
        free = 2**40 if found.first else int(needed / 0.8) - 2  # the second has too little
        with (
            patch.object(step_memory, "free_bytes", lambda _: free),
            finetuning(folder, "blocks=2", found, config=how) as ready,
        ):
            ready.finetuner.fit()
            told = {
                "losses": ready.finetuner.losses,
                "history": ready.finetuner.history,
                "twice": ready.finetuner.net.twice,
            }
        with finetuning(folder, "blocks=2", found, config=replace(how, accumulate=2)) as ready:
            ready.finetuner.fit()
            told["losses in parts"] = ready.finetuner.losses
            told["history in parts"] = ready.finetuner.history
            (out / f"{found.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
