"""What a head sees in the `tiny` networks' features of made-up people that nobody learnt from:
`python -m benchmarks.tiny_worth [--videos 1200] [--seed 9001] [--folder FOLDER]`.

The clips are made, looked at and learnt from as `telltale synth`, `extract` and `train` do it; the
test clips are judged once. What the depth branch adds is a difference on the same clips.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import measure
from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.clip import Clip
from extract.synthesis.data_set import SyntheticOptions, plan_data_set, write_data_set
from features_store.store import Store
from heads.data.splits import TEST, in_split
from heads.functions import train
from heads.judging.evaluation import Predictions, compare, predictions, result_of
from heads.measuring.intervals import Interval, auc
from heads.measuring.metrics import REAL

HELD_OUT = "dahlia"
"""The generator whose clips are all for testing."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=9001)
    parser.add_argument("--seeds", type=int, default=3, help="of the head; the best is judged")
    parser.add_argument("--folder", type=Path, help="keep clips and features here")
    given = parser.parse_args()
    options = SyntheticOptions(videos=given.videos, seed=given.seed)
    with tempfile.TemporaryDirectory() as temporary:
        store = looked_at(given.folder or Path(temporary), options)
        without, found = (judged(store, given.seeds, depth=depth) for depth in (False, True))
    rows = [
        *general(found),
        row("four classes without depth, macro", result_of(without).auc),
        row("what depth adds", compare(without, found)["auc"].interval),
        *kind_by_kind(found, options),
    ]
    measure.report("tiny_worth", rows, ("torch",))
    return 0


def looked_at(folder: Path, options: SyntheticOptions) -> Store:
    """Clips and their features; what is there is not made again."""
    if not (folder / "clips").exists():
        for _ in write_data_set(folder / "clips", options):
            pass
    branches = [
        load_branch(BranchRequest.parse(f"{name}=tiny")) for name in ("internvideo2", "depthpro")
    ]
    manifest = read_manifest(str(folder / "clips"))
    place = folder / "store.zarr"
    Extraction.begin(manifest, place, branches, Settings(protocol="val")).run(bar=False)
    return Store.open(place)


def judged(store: Store, seeds: int, *, depth: bool) -> Predictions:
    bundle = train(store, settings={"depth": depth}, seeds=seeds)
    where = in_split(store, TEST) & (store.videos.column("label") >= 0)
    return predictions(bundle, bundle.table(store, protocol="val", where=where))


def general(found: Predictions) -> Iterator[measure.Row]:
    sources = np.array(found.sources)
    yield row("four classes, macro", result_of(found).auc)
    yield row(f"the same, {HELD_OUT} alone", result_of(found.take(sources == HELD_OUT)).auc)
    real = found.labels == found.classes.index(REAL)
    yield row("generated against real", auc(forged(found), ~real))


def kind_by_kind(found: Predictions, options: SyntheticOptions) -> Iterator[measure.Row]:
    """Each kind of fault against all real clips."""
    kind_of = {
        f"{video.folder}/{video.file}": Clip(video.clip).fault.kind
        for video in plan_data_set(options)
        if video.split == TEST
    }
    kinds = np.array([kind_of[name] for name in found.ids])
    real = found.labels == found.classes.index(REAL)
    for kind in sorted(set(kinds[~real])):
        chosen = real | (kinds == kind)
        yield row(f"{kind} against real", auc(forged(found)[chosen], ~real[chosen]))


def forged(found: Predictions) -> np.ndarray:
    return np.asarray(1 - found.means[:, found.classes.index(REAL)])


def row(what: str, found: Interval) -> measure.Row:
    ends = {"low": round(found.low, 4), "high": round(found.high, 4)} if not found.why else {}
    return {"what": what, "AUC": round(found.value, 4), **ends, "n": found.n}


if __name__ == "__main__":
    raise SystemExit(main())
