"""Makes `store_one_group`: a store from before a branch's outputs had groups by family.

There, what was asked for together was kept in one group, and its fingerprint was the hash of what
decides the numbers and of all names and types that were asked for. Such stores are gone on with for
ever. Do not run this again: the store was written by format 1.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import CLIPS
from features_store.schema import ArraySpec, BranchSpec, fingerprint
from features_store.store import Store

STORE = Path(__file__).parent / "store_one_group"
IDS = ("a.mp4", "b.mp4", "c.mp4")
OLD = 0.125
"""What is stored of the first two videos; the third is missing."""
DECIDES = {"method": "mean levels", "precision": "float32", "revision": 1}
SIZES = {"mean": 1, "levels": 8, "sizes": 2}


class Levels(Branch):
    """Mean levels of a clip's frames: a network small enough for a test, in three families."""

    name, preset, precision = "levels", "plain", "float32"
    device = torch.device("cpu")
    prepare = CLIPS
    decides = DECIDES
    provenance = {"source": "no weights"}  # noqa: RUF012

    def __init__(self, *outputs: str) -> None:
        self.outputs = {n: ArraySpec(shape=(SIZES[n],), dtype="float32") for n in outputs}
        self.families = [(name,) for name in outputs]
        self.request = BranchRequest(name="levels", preset="plain")

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        levels_bt = batch.float().mean((2, 3, 4))
        sizes = torch.tensor([batch.shape[2:4]] * len(batch))
        found = {"mean": levels_bt.mean(1, keepdim=True), "levels": levels_bt, "sizes": sizes}
        return {name: found[name] for name in self.outputs}

    def example(self, count: int) -> Tensor:
        return torch.zeros((count, *CLIPS.shape), dtype=torch.uint8)


def main() -> None:
    shutil.rmtree(STORE, ignore_errors=True)
    store = Store.create(STORE, scheme="unlabelled", classes=("unlabelled",))
    store.add_videos({"id": list(IDS)})
    types = {"mean": "float32", "levels": "float32"}
    spec = BranchSpec(
        name="levels",
        preset="plain",
        fingerprint=fingerprint({**DECIDES, "outputs": types}),
        arrays={name: ArraySpec(shape=(1, SIZES[name]), dtype=types[name]) for name in types},
        provenance={**DECIDES, "outputs": types, "source": "no weights"},
    )
    details = {
        "kind": "val", "segments": 1, "crops": 1, "samples": 1, "perturbation": None,
        "name": "val", "frames": 8, "size": 224, "augmentation": None,
    }  # fmt: skip
    arrays = store.branch("val", spec, shard_rows=4, protocol_details=details)
    numbers = {name: np.full((3, 1, SIZES[name]), OLD, np.float32) for name in types}
    arrays.write_shard(0, numbers, np.array([1, 1, 0], np.uint8))


if __name__ == "__main__":
    main()
