"""Forgeries of faces, learnt end to end from reals alone, with and without alternate freezing:
`python -m benchmarks.forged_faces CLIPS --weights FOLDER --work FOLDER`.

CLIPS has a `clips.csv` (see `--layout clips`), FOLDER MTCNN's three files; where WORK holds the
faces already, neither is needed. A small copy of AltFreezing's network, from its first random
numbers on, learns from forged views of the faces (see `face_clips`), in which one kind of forgery
never comes. Then, for clips that it never saw (in folds that keep a page's clips together, a fold
for each seed), it says how forged whole views are and views of each kind. That is done without each
kind, so that for every kind there are networks that know it and one a seed that does not. Intervals
draw pages anew within each fold, since clips of one page are not independent; those of what the
turns are worth draw the same pages for both ways.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import measure
from benchmarks.face_clips import BOXES, CLIPS, FRAMES, Names, Views, find, windows
from benchmarks.measure import Row
from extract.branch import BranchRequest
from extract.networks.resnet3d import ResNet3d
from extract.views.forgeries import ANOMALIES
from features_store.table import Table
from heads.commands.device import DEVICE_HELP, one_device
from heads.data.folds import fold_numbers
from heads.data.forged import SOURCE
from heads.finetuning.backbone import Backbone
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.data import CachedSource, Feeding
from heads.finetuning.loop import Finetuner
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.request import Request
from heads.finetuning.run import Run
from heads.finetuning.starting import config_of, readout_of
from heads.measuring.metrics import REAL, averaged

WAYS = {"all at once": None, "in turns": "spatial:temporal=1:20"}
DECAYS = {"adamw": 0.05, "sgd": 1e-4}
"""Optimiser → its weight decay."""
SEEDS, RESAMPLED, DECIDING = 3, 1000, 4
"""Folds to judge, drawings of pages, and one part in so many of the others decides the epoch."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all trainings have in common."""

    work: Path
    views: int
    """Of each clip; of one in two nothing is forged."""
    steps: int
    batch: int
    rate: float
    optimiser: Literal["adamw", "sgd"]
    device: str

    @property
    def protocol(self) -> str:
        return f"forged-{self.views}x{FRAMES}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What one network says of views that it never saw."""

    way: str
    held_out: str
    """The kind that it did not learn from."""
    seed: int
    real_r: NDArray[np.bool_]
    kinds_r: Names
    """How each is forged, and how forged it looks."""
    forged_r: Floats
    pages_r: Names
    losses: Sequence[float]
    """Of every step."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="?", help="a folder with clips.csv")
    parser.add_argument("--weights", type=Path, help="a folder with MTCNN's three files")
    parser.add_argument("--work", type=Path, help="keep faces here, and go on from them")
    parser.add_argument("--kinds", nargs="+", default=list(ANOMALIES), choices=list(ANOMALIES),
                        metavar="KIND", help="held out one by one (default: each)")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=SEEDS, help="folds (default: %(default)s)")
    parser.add_argument("--views", type=int, default=64, help="of each clip")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="the largest learning rate")
    parser.add_argument("--optimiser", choices=list(DECAYS), default="adamw",
                        help="sgd is AltFreezing's")  # fmt: skip
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--processes", type=int, default=2, help="trainings at the same time")
    given = parser.parse_args(arguments)
    device = one_device(given.device)
    with tempfile.TemporaryDirectory() as temporary:
        plan = Plan(
            work=given.work or Path(temporary), views=given.views, steps=given.steps,
            batch=given.batch, rate=given.rate, optimiser=given.optimiser, device=device,
        )  # fmt: skip
        if not (plan.work / BOXES).exists():
            if given.clips is None or given.weights is None:
                parser.error("there are no faces in --work yet: give CLIPS and --weights")
            find(given.clips, plan.work, given.weights)
        begun = time.perf_counter()
        windows(plan.work, plan.protocol, given.processes)
        print(f"windows: {time.perf_counter() - begun:.0f} s", flush=True)
        folds = learnt(plan, given.kinds, given.seeds, given.processes)
    rows = judged(folds)
    measure.report("forged-faces", rows, ("numpy", "torch", "av"))


def learnt(plan: Plan, kinds: Sequence[str], seeds: int, processes: int) -> list[Fold]:
    """Both ways of learning, without each kind, on the same folds."""
    views = Views.of(plan.work, plan.protocol)
    print({"videos": len(np.unique(views.table.rows)), "pages": len(np.unique(views.pages)),
           "views": len(views.table)}, flush=True)  # fmt: skip
    begun = time.perf_counter()
    folds = []
    each = [(way, kind, seed) for seed in range(seeds) for kind in kinds for way in WAYS]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for found in pool.map(fold, repeat(plan), *zip(*each, strict=True), repeat(seeds)):
            folds.append(found)
            once = np.ones((1, len(np.unique(found.pages_r))))
            aucs = {kind: float(_aucs(found, kind, once)[0]) for kind in ANOMALIES}
            print(
                f"{time.perf_counter() - begun:.0f} s: without {found.held_out}, {found.way}, "
                f"fold {found.seed}: {aucs.pop(found.held_out):.2f}, known kinds "
                f"{np.mean(list(aucs.values())):.2f}, loss {np.mean(found.losses[-20:]):.2f}",
                flush=True,
            )  # fmt: skip
    return folds


def judged(folds: Sequence[Fold]) -> list[Row]:
    """Each kind and all of them, held out and known, both ways and what lies between them."""
    rows: list[Row] = []
    for known in (False, True):
        kinds = [
            kind for kind in ANOMALIES
            if any((one.held_out != kind) == known and kind in one.kinds_r for one in folds)
        ]  # fmt: skip
        for name, chosen in {**{kind: [kind] for kind in kinds}, "all": kinds}.items():
            found = drawn(folds, chosen, known=known)
            found["in turns - all at once"] = found["in turns"] - found["all at once"]
            networks = [
                one for one in folds
                if one.way == "in turns" and any((one.held_out != k) == known for k in chosen)
            ]  # fmt: skip
            for way, aucs in found.items():
                low, high = np.nanquantile(aucs[1:], [0.025, 0.975])
                said = "known" if known else "left out"
                rows.append({
                    "what": f"{name}, {said}, {way}", "kind": name,
                    "known": "yes" if known else "no", "way": way,
                    "auc": float(aucs[0]), "low": float(low), "high": float(high),
                    "networks of a way": len(networks), "seeds": len({one.seed for one in folds}),
                    "steps": len(folds[0].losses),
                    "pages": len(np.unique(np.concatenate([one.pages_r for one in folds]))),
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def drawn(folds: Sequence[Fold], kinds: Sequence[str], *, known: bool) -> dict[str, Floats]:
    """Each way's AUC, the mean over networks and kinds: of all pages, then of pages drawn anew
    within each fold, the same for all of its networks."""
    random = np.random.default_rng(0)
    times_dp = {}
    for seed in sorted({one.seed for one in folds}):
        pages = len(np.unique(next(one for one in folds if one.seed == seed).pages_r))
        again = random.multinomial(pages, np.full(pages, 1 / pages), RESAMPLED)
        times_dp[seed] = np.concatenate([np.ones((1, pages)), again])
    found = {}
    for way in WAYS:
        each = np.stack([
            _aucs(one, kind, times_dp[one.seed])
            for one in folds if one.way == way
            for kind in kinds if (one.held_out != kind) == known
        ])  # fmt: skip
        there = np.isfinite(each)
        with np.errstate(invalid="ignore"):
            found[way] = np.where(there, each, 0).sum(0) / there.sum(0)
    return found


def _aucs(fold: Fold, kind: str, times_dp: Floats) -> Floats:
    """The share of pairs, a forged view and a whole one, that are told right (of ties half are), in
    every drawing: how often it took each page. NaN where it has no such pair."""
    pages = np.unique(fold.pages_r)
    own_rp = (fold.pages_r[:, None] == pages).astype(np.float64)
    forged, whole = fold.kinds_r == kind, fold.real_r
    right = (1 + np.sign(fold.forged_r[forged][:, None] - fold.forged_r[whole])) / 2
    told_pp = own_rp[forged].T @ right @ own_rp[whole]
    pairs_pp = own_rp[forged].sum(0)[:, None] * own_rp[whole].sum(0)
    told_d, pairs_d = (((times_dp @ x) * times_dp).sum(1) for x in (told_pp, pairs_pp))
    with np.errstate(invalid="ignore"):
        return np.asarray(told_d / pairs_d)


@lru_cache
def _views(work: Path, protocol: str) -> Views:
    """Read once a process."""
    return Views.of(work, protocol)


def fold(plan: Plan, way: str, held_out: str, seed: int, seeds: int) -> Fold:
    """Learnt without this fold's pages and the kind that is held out."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    views = _views(plan.work, plan.protocol)
    table, pages = views.table, views.pages
    numbers = fold_numbers(table.ids, table.labels, max(2, seeds), pages, seed=0)
    known = table.sources != f"{SOURCE}{held_out}"
    mine, others = numbers == seed, np.flatnonzero(known & (numbers != seed))
    parts = fold_numbers(table.ids[others], table.labels[others], DECIDING, pages[others],
                         seed=seed)  # fmt: skip
    learn, decide = balanced(table.take(others[parts > 0])), table.take(others[parts == 0])
    config = FinetuneConfig(
        epochs=max(1, round(plan.steps * plan.batch / len(learn))), batch=plan.batch,
        lr=plan.rate, optimiser=plan.optimiser, weight_decay=DECAYS[plan.optimiser], clip=5.0,
        layer_decay=1.0, norms="batch", alternate=WAYS[way], rank_loss=False, smoothing=0.0,
        views="all", select="auc", precision="float32",
    )  # fmt: skip
    request = Request(
        store=views.store, reach="end-to-end", config=config, seed=seed,
        backbone=BranchRequest.parse(f"altfreezing=tiny?boxes={plan.work / BOXES}"),
    )  # fmt: skip
    backbone = Backbone.load(request.backbone, plan.protocol)
    assert isinstance(backbone.network.model, ResNet3d)
    backbone.network.model.initialise(seed)
    head, processes = config_of(request, backbone, None), Processes(device=plan.device)
    readout = readout_of(request, backbone, head, None, learn, processes)
    net = FinetuneNet(backbone.network, readout, backbone.reach(request.reach), config, processes)
    run = Run(config=config, train=_source(learn, judge=False), validation=_source(decide),
              seed=seed, processes=processes)  # fmt: skip
    finetuner = Finetuner(net, run)
    finetuner.fit()
    said = averaged(finetuner.probabilities(_source(table.take(mine))))
    real = table.classes.index(REAL)
    kinds = [str(source).removeprefix(SOURCE) for source in table.sources[mine]]
    return Fold(
        way=way, held_out=held_out, seed=seed, real_r=table.labels[mine] == real,
        kinds_r=np.array(kinds, object), forged_r=1 - said[:, real].astype(np.float64),
        pages_r=pages[mine], losses=finetuner.losses,
    )  # fmt: skip


def balanced(table: Table) -> Table:
    """Whole views so often that they are as many as forged ones."""
    whole = table.labels == table.classes.index(REAL)
    rows = np.flatnonzero(whole)
    more = np.resize(rows, max(0, int((~whole).sum()) - len(rows)))
    return table.take(np.sort(np.concatenate([np.arange(len(table)), more])))


def _source(table: Table, *, judge: bool = True) -> CachedSource:
    return CachedSource(table, CLIPS, Feeding(judge=judge, rank_loss=False, beside=()), raw=True)


if __name__ == "__main__":
    main()
