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
ARRAYS = {
    "mean": f"{NAME}/cls,{NAME}/present",
    "mean and change": f"{NAME}/cls,{NAME}/present,{NAME}/velocity",
}
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
        rows = [row for name in ARRAYS for row in judged(store, name)]
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


def judged(store: Store, name: str) -> list[Row]:
    """Every kind, left out and known."""
    keys = ARRAYS[name].split(",")
    table = by_view(store.table(keys, protocol=PROTOCOL, allow_missing=True))
    pages = np.array([str(p) for p in store.videos.column("group")[table.rows].tolist()], object)
    rows: list[Row] = []
    for kind, anomaly in ANOMALIES.items():
        for way in ("left out", "known"):
            scores = [_scores(table, pages, name, seed, kind, way) for seed in range(SEEDS)]
            found = Scores(
                whole_sn=np.stack([one[0] for one in scores]),
                forged_sn=np.stack([one[1] for one in scores]),
                pages_n=scores[0][2],
            )
            low, high = found.interval()
            row: Row = {"features": name, "kind": kind, "anomaly": anomaly, "way": way,
                        "auc": found.auc, "low": low, "high": high,
                        "videos": len(found.pages_n), "pages": len(np.unique(found.pages_n)),
                        "seeds": SEEDS}  # fmt: skip
            print(row, flush=True)
            rows.append(row)
    return rows


def _scores(
    table: Table, pages: NDArray[np.object_], name: str, seed: int, kind: str, way: str
) -> tuple[Floats, Floats, NDArray[np.object_]]:
    """Of every video by a head that does not know its page: whole, and forged in that kind."""
    folds = fold_numbers(table.ids, table.labels, FOLDS, pages, seed=seed)
    own = table.sources == f"{SOURCE}{kind}"
    whole = table.labels == table.classes.index(REAL)
    forged = np.full(len(table), np.nan)
    for fold in range(FOLDS):
        learnt = (folds != fold) & ~(own & (way == "left out"))
        settings = {"arrays": ARRAYS[name], "rank_loss": "false", "root": "true", "c": "0.01"}
        head = make_head("linear", settings, table.classes)
        head.fit(table.take(learnt), table.take(np.zeros(len(table), bool)), seed=seed)
        asked = (folds == fold) & (whole | own)
        said = averaged(head.predict(table.take(asked)))
        forged[asked] = 1 - said[:, table.classes.index(REAL)]
    by_video = [
        (np.nanmean(forged[whole & mine]), np.nanmean(forged[own & mine]), pages[mine][0])
        for mine in (table.rows == row for row in np.unique(table.rows))
        if np.isfinite(forged[whole & mine]).any() and np.isfinite(forged[own & mine]).any()
    ]
    first, second, page = zip(*by_video, strict=True)
    return np.array(first), np.array(second), np.array(page, object)


def _auc(whole: Floats, forged: Floats) -> float:
    labels = [0] * len(whole) + [1] * len(forged)
    return float(roc_auc_score(labels, np.concatenate([whole, forged])))


if __name__ == "__main__":
    main()
