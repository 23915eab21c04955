"""One of two processes that share networks out: all the cases, and runs that stop and go on.

`python -m tests.test_heads.sharded_rank DATA OUT`.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from heads.finetuning.loop import CHECKPOINT, Finetuner
from heads.finetuning.processes import Processes, processes
from tests.test_heads.sharded_runs import (
    CASES,
    INTERRUPTED_CASE,
    JUDGED,
    STOP,
    odd_probabilities,
    running,
)


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with processes("cpu") as found:
        told: dict[str, Mapping[str, object]] = {}
        for name, case in CASES.items():
            with running(folder, case, found) as ready:
                ready.finetuner.fit(stop_after=99)  # the last weights stay, best or not
                ready.save(out / name)
                told[name] = {**curve(ready.finetuner), **held(ready.finetuner)}
                if name == JUDGED:
                    told[name] = {**told[name], "probabilities": odd_probabilities(ready)}
        for name in ("shared", "alone"):  # alone: its first part was made by one process
            told[name] = gone_on(folder, out / name, found)
        (out / f"{found.rank}.json").write_text(json.dumps(told))


def gone_on(folder: Path, out: Path, found: Processes) -> Mapping[str, object]:
    if not (out / CHECKPOINT).exists():
        with running(folder, INTERRUPTED_CASE, found, out) as ready:
            ready.finetuner.fit(stop_after=STOP)
        if found.first:
            shutil.copytree(out, out.with_name("handed over"))
    found.wait()
    with running(folder, INTERRUPTED_CASE, found, out) as ready:
        start = ready.finetuner.step
        ready.finetuner.fit()
        return {**curve(ready.finetuner), "start": start}


def curve(finetuner: Finetuner) -> Mapping[str, object]:
    return {"losses": finetuner.losses, "history": finetuner.history}


def held(finetuner: Finetuner) -> Mapping[str, object]:
    """Numbers in this process: of all parameters, of the blocks', of the optimiser's moments."""
    net, moments = finetuner.net, finetuner.optimisers.moments()
    return {
        "parameters": numbers(net.parameters()),
        "blocks": numbers(net.backbone.get_submodule("blocks").parameters()),
        "moments": numbers(moments),
        "best": numbers(t for name, t in finetuner.versions.best.items() if "running" not in name),
    }


def numbers(tensors: Iterable[Tensor]) -> int:
    return sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
