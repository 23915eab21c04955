"""One of several processes: `python -m tests.test_heads.network_rank FOLDER OUT`."""

import json
import sys
from pathlib import Path

import torch

from heads.finetuning.processes import processes
from tests.test_heads.networks import IN_TURNS, in_turns


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    told = {}
    with processes("cpu") as found:
        for network in IN_TURNS:
            with in_turns(folder, network, found) as ready:
                ready.finetuner.fit(stop_after=99)
                learnt = {name: t.tolist() for name, t in ready.finetuner.net.learnt().items()}
                told[network] = {"losses": ready.finetuner.losses, "learnt": learnt}
        (out / f"{found.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
