"""Forgeries learnt from reals alone: `python -m benchmarks.forged_kinds CLIPS [--work FOLDER]`.

CLIPS has a `clips.csv` (see `--layout clips`). Its real clips of split `train` alone are looked at,
as they are and forged in every way of `extract.views.forgeries`, by EfficientNet-Lite0. A linear
layer learns to tell forged views from whole ones, without one kind of forgery; then it is asked of
clips that it never saw (in folds that keep a page's clips together) whether they are whole or
forged in that kind. Beside it stands the same with that kind among those learnt from. Intervals
draw pages anew, since clips of one page are not independent.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import measure
from benchmarks.measure import Row
from extract.branch import BranchRequest, for_protocol, load_branch
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.forgeries import ANOMALIES
from extract.views.protocol import Protocol
from features_store import Store
from features_store.table import Table
from heads.data.folds import fold_numbers
from heads.data.forged import SOURCE, by_view
from heads.head import make_head
from heads.measuring.metrics import REAL, averaged

PROTOCOL = "forged-8"
BRANCH = "image=efficientnet-lite0?look=visible&outputs=cls,velocity"
NAME = "image-efficientnet-lite0"
ARRAYS = f"{NAME}/cls,{NAME}/velocity"
"""Means over frames, and how much each channel changes from frame to frame."""
SETTINGS = {"arrays": ARRAYS, "rank_loss": "false", "root": "true", "c": "0.01"}
FOLDS, SEEDS, RESAMPLED = 5, 3, 1000
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder with clips.csv")
    parser.add_argument("--work", type=Path, help="keep features here, and go on from them")
    parser.add_argument("--most", type=int, help="only the first so many clips")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        where = (given.work or Path(temporary)) / "s.zarr"
        store = extracted(given.clips, where, given.most, given.workers)
        rows = judged(store)
    measure.report("forged-kinds", rows, ("numpy", "torch", "scikit-learn", "av"))


def extracted(clips: Path, where: Path, most: int | None, workers: int) -> Store:
    """Forged views of the real clips of split train; what is there is not computed again."""
    manifest = read_manifest(clips, ManifestOptions(layout="clips"))
    assert manifest.scheme is not None
    real = manifest.scheme.index(REAL)
    videos = tuple(v for v in manifest.only_split("train").videos if v.label == real)[:most]
    branch = load_branch(for_protocol(BranchRequest.parse(BRANCH), Protocol.parse(PROTOCOL)))
    extraction = Extraction.begin(
        replace(manifest, videos=videos),
        where,
        [branch],
        Settings(protocol=PROTOCOL, shard_rows=16),
    )
    extraction.run(workers=workers)
    return Store.open(where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How forged each video looks, whole and in one kind, by seed."""

    whole_sn: Floats
    forged_sn: Floats
    pages_n: NDArray[np.object_]

    @property
    def auc(self) -> float:
        """Mean over seeds."""
        return float(np.mean([_auc(*pair) for pair in self._seeds()]))

    def interval(self) -> tuple[float, float]:
        """95%, by drawing pages anew."""
        random = np.random.default_rng(0)
        pages = [np.flatnonzero(self.pages_n == page) for page in np.unique(self.pages_n)]
        found = []
        for _ in range(RESAMPLED):
            rows = np.concatenate([pages[i] for i in random.integers(0, len(pages), len(pages))])
            found.append(np.mean([_auc(a[rows], b[rows]) for a, b in self._seeds()]))
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)

    def _seeds(self) -> list[tuple[Floats, Floats]]:
        return list(zip(self.whole_sn, self.forged_sn, strict=True))


def judged(store: Store) -> list[Row]:
    """Every kind, left out and known."""
    table = by_view(store.table(ARRAYS.split(","), protocol=PROTOCOL, allow_missing=True))
    pages = np.array([str(p) for p in store.videos.column("group")[table.rows].tolist()], object)
    known = [_forged(table, pages, seed, "") for seed in range(SEEDS)]
    rows: list[Row] = []
    for kind, anomaly in ANOMALIES.items():
        left_out = [_forged(table, pages, seed, kind) for seed in range(SEEDS)]
        for way, said in (("left out", left_out), ("known", known)):
            found = _by_video(table, pages, np.stack(said), kind)
            low, high = found.interval()
            rows.append(
                {"what": kind, "anomaly": anomaly, "way": way, "auc": found.auc, "low": low,
                 "high": high, "videos": len(found.pages_n),
                 "pages": len(np.unique(found.pages_n)), "seeds": SEEDS}
            )  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def _forged(table: Table, pages: NDArray[np.object_], seed: int, without: str) -> Floats:
    """How forged each view looks to a head that knows neither its page nor that kind."""
    folds = fold_numbers(table.ids, table.labels, FOLDS, pages, seed=seed)
    teaches = table.sources != f"{SOURCE}{without}"
    found = np.full(len(table), np.nan)
    for fold in range(FOLDS):
        head = make_head("linear", SETTINGS, table.classes)
        nobody = table.take(np.zeros(len(table), bool))
        head.fit(table.take((folds != fold) & teaches), nobody, seed=seed)
        said = averaged(head.predict(table.take(folds == fold)))
        found[folds == fold] = 1 - said[:, table.classes.index(REAL)]
    return found


def _by_video(table: Table, pages: NDArray[np.object_], forged_sr: Floats, kind: str) -> Scores:
    """Whole views and those of one kind side by side, of videos that have both."""
    own = table.sources == f"{SOURCE}{kind}"
    whole = table.labels == table.classes.index(REAL)
    there = np.isfinite(forged_sr).all(0)
    pairs = [
        (forged_sr[:, mine & whole].mean(1), forged_sr[:, mine & own].mean(1), pages[mine][0])
        for mine in ((table.rows == row) & there for row in np.unique(table.rows))
        if (mine & whole).any() and (mine & own).any()
    ]
    first, second, page = zip(*pairs, strict=True)
    return Scores(
        whole_sn=np.stack(first, 1), forged_sn=np.stack(second, 1),
        pages_n=np.array(page, object),
    )  # fmt: skip


def _auc(whole: Floats, forged: Floats) -> float:
    labels = [0] * len(whole) + [1] * len(forged)
    return float(roc_auc_score(labels, np.concatenate([whole, forged])))


if __name__ == "__main__":
    main()
