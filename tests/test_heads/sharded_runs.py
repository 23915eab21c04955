"""Runs of fine-tuning that one process makes whole, and two make with everything shared out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from extract.branch import BranchRequest
from extract.manifest.manifest import read_manifest
from heads.finetuning.processes import Processes
from heads.finetuning.setup import Prepared
from tests.test_heads.finetunes import config, finetuning

VIDEOS = 22
"""Eight to learn from."""
RANDOM = "random=true"
"""Of trained weights many have next to no gradient, see `test_sharding.same`."""
STOP, SAVED = 5, 4
"""The step where runs are stopped, and the one of the last checkpoint, in the second epoch."""
INTERRUPTED = {"epochs": 4, "save_every": 2, "drop_path": 0.2, "ema": 0.5, "lr": 3e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run."""

    reach: str
    settings: Mapping[str, object] = field(default_factory=dict)
    raw: bool = False
    """From raw video."""


CASES = {
    "pool": Case(reach="pool"),
    "blocks": Case(reach="blocks=2", settings={"drop_path": 0.2, "clip": 0.05}),
    "parts": Case(
        reach="blocks=2",
        settings={"batch": 4, "accumulate": 2, "ema": 0.9, "drop_path": 0.2, "checkpointing": True},
    ),
    "end-to-end": Case(reach="end-to-end", settings={"epochs": 1}, raw=True),
    # Shares of three and two videos, in two parts, whose frozen blocks are computed each time.
    "uneven": Case(reach="blocks=1", settings={"epochs": 1, "batch": 5, "accumulate": 3}, raw=True),
    "bfloat16": Case(reach="blocks=2", settings={"epochs": 1, "precision": "bfloat16"}),
    "float16": Case(reach="blocks=2", settings={"epochs": 1, "precision": "float16"}),
}
JUDGED = "blocks"
"""Whose probabilities are told."""
INTERRUPTED_CASE = Case(reach="blocks=2", settings=INTERRUPTED)


@contextmanager
def running(
    folder: Path, case: Case, processes: Processes | None = None, out: Path | None = None
) -> Iterator[Prepared]:
    videos = read_manifest(str(folder / "data")) if case.raw else None
    settings = config(shard=processes is not None, **case.settings)
    with finetuning(
        folder,
        case.reach,
        processes,
        config=settings,
        videos=videos,
        out=out,
        backbone=BranchRequest.parse(f"internvideo2=tiny?{RANDOM}"),
    ) as ready:
        yield ready


def odd_probabilities(ready: Prepared) -> list[list[list[list[float]]]]:
    """Of one video and of three: two processes cannot have as many each."""
    sources = [ready.source(np.arange(VIDEOS) < count) for count in (1, 3)]
    return [ready.finetuner.probabilities(source).tolist() for source in sources]
