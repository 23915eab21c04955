"""What strategies gain on generators that were left out, and what they cost:
`python -m benchmarks.strategies [--store NAME=PATH ...] [--folder KEPT]`.

On made-up vectors each generator has a trace of its own, which tells its videos well, and all have
a weak one in common, which alone tells an unseen generator's; every world has other traces and
videos, and its views come in two qualities. Gains are in AUC of real against generated over plain
training at the same settings, the mean over generators left out in turn: of made-up worlds with an
interval over worlds, of a store's features (`--store clips=s.zarr?arrays=image/x&also=val+jpeg50`)
over videos and seeds. Costs are a whole training's processor time by plain training's.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import torch
from scipy import stats

from benchmarks import measure
from features_store import Store
from features_store.table import Table
from heads.data.sides import Data
from heads.data.splits import Choice
from heads.head import Head, make_head
from heads.judging.unseen import MEAN, PLAIN, Trial, folds
from heads.parts.arrays import matrix
from heads.training.strategy import strategy_names

TWO, FOUR = ("forgery", "real"), ("appearance", "spatial", "motion", "real")
GENERATORS, COLUMNS = 4, 64
_COMMON, _OWN, _DAMAGE = 0.35, 1.5, 0.7
_EACH = 40
"""Videos of each generator, and half as many reals for each."""
_SETTINGS = {
    "epochs": "15", "hidden": "32", "lr": "3e-3", "batch": "64", "repeat": "2",
    "rank_loss": "false", "patience": "6",
}  # fmt: skip
_KEY = "made-up/x"
_TURNS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10, help="of each store's heads")
    parser.add_argument("--store", action="append", default=[], metavar="NAME=PATH[?arrays=…]")
    parser.add_argument("--folder", type=Path, help="keep single runs here, to go on")
    parser.add_argument("--quick", action="store_true", help="shows that it works, nothing more")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        _SETTINGS.update(epochs="2", hidden="8")
        given.worlds = given.seeds = 3
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        rows = made_up(folder / "made-up", given.worlds)
        for text in given.store:
            rows += of_store(folder, text, given.seeds)
    for columns in (768,) if given.quick else (3840, 768):
        found = wide(columns)
        rows += [cost(name, found, columns) for name in _others()]
    measure.report("strategies_quick" if given.quick else "strategies", rows, ("numpy", "torch"))
    return 0


def head(strategy: str, arrays: str, classes: Sequence[str]) -> Head:
    settings = {**_SETTINGS, "strategy": strategy} | ({"arrays": arrays} if arrays else {})
    return make_head("mlp", settings, classes)


def made_up(folder: Path, worlds: int) -> list[measure.Row]:
    """A row a strategy; every world's generators are left out in turn."""
    gains: dict[str, list[float]] = {}
    plain = []
    for world in range(worlds):
        trial = Trial(
            make=lambda name: head(name, _KEY, TWO), strategies=[PLAIN, *_others()], seeds=1,
            folds=folds(Data(train=table(world), validation=replace(table(world), also=()))),
            must=False,
        )  # fmt: skip
        for _ in trial.run(folder / str(world)):
            pass
        found = trial.found(folder / str(world))
        plain.append(found.values[PLAIN][MEAN].value)
        for name, gain in found.gains.items():
            gains.setdefault(name, []).append(gain[MEAN].value)
    first: measure.Row = {
        "what": f"made-up, {PLAIN}: AUC", "points": 100 * statistics.mean(plain), "worlds": worlds,
    }  # fmt: skip
    return [first, *(_over_worlds(name, each) for name, each in gains.items())]


def _over_worlds(name: str, gains: Sequence[float]) -> measure.Row:
    count, mean = len(gains), 100 * statistics.mean(gains)
    half = 100 * float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(gains) / count**0.5
    return {
        "what": f"made-up, {name}: gain", "points": mean, "low": mean - half, "high": mean + half,
        "worlds": count,
    }  # fmt: skip


def table(world: int) -> Table:
    """Two views of each video, the second of another quality: other noise, less of all traces."""
    random = np.random.default_rng((7, world))
    fakes = np.repeat(np.arange(GENERATORS), _EACH)
    reals = np.full(GENERATORS * _EACH // 2, -1)
    generator = np.concatenate([fakes, reals])
    common = random.normal(size=COLUMNS)
    own = random.normal(size=(GENERATORS, COLUMNS))
    traces = _COMMON * common + _OWN * own / np.linalg.norm(own, axis=1, keepdims=True) * 2
    shown = np.where(generator[:, None] < 0, 0, traces[generator])
    x = random.normal(size=(len(generator), COLUMNS)) + shown
    worse = _DAMAGE * x + random.normal(size=x.shape)
    names = np.array([*"abcde"[:GENERATORS], "camera"], np.dtypes.StringDType())
    return Table(
        protocol="made-up", also=("made-up+damage",), classes=TWO, rows=np.arange(len(x)),
        ids=np.array([f"{world}/{i}" for i in range(len(x))], np.dtypes.StringDType()),
        labels=(generator < 0).astype(np.int16), ranks=random.uniform(size=len(x)),
        sources=names[generator], splits=np.array(["train"] * len(x), np.dtypes.StringDType()),
        arrays={_KEY: np.stack([x, worse], 1).astype(np.float32)}, fingerprints={_KEY: "0" * 64},
    )  # fmt: skip


def of_store(folder: Path, text: str, seeds: int) -> list[measure.Row]:
    """Rows of a store's features; `only=NAME,NAME` behind its path says which strategies."""
    name, _, rest = text.partition("=")
    path, _, query = rest.partition("?")
    asked = parse_qs(query.replace("+", "%2B"))
    arrays = asked.get("arrays", [""])[0]
    only = asked["only"][0].split(",") if "only" in asked else _others()
    store = Store.open(path)
    choice = Choice(
        protocol=asked["protocol"][0] if "protocol" in asked else None,
        judging=asked["protocol"][0] if "protocol" in asked else None,
        also=asked.get("also", []),
    )
    loaded = choice.load_twice(store, head(PLAIN, arrays, store.classes), choice.labelled(store))
    whole = Data(train=pooled(loaded.train), validation=pooled(loaded.validation))
    trial = Trial(
        make=lambda strategy: head(strategy, _KEY, store.classes),
        strategies=[PLAIN, *only], seeds=seeds, folds=folds(whole), must=False,
    )  # fmt: skip
    for _ in trial.run(folder / name):
        pass
    found = trial.found(folder / name)
    spread = found.values[PLAIN][MEAN]
    sizes: measure.Row = {
        "videos": spread.videos, "generators left out": len(trial.folds), "runs": seeds,
    }  # fmt: skip
    rows: list[measure.Row] = [
        {"what": f"{name}, {PLAIN}: AUC", "points": 100 * spread.value, "low": 100 * spread.low,
         "high": 100 * spread.high, **sizes}
    ]  # fmt: skip
    for strategy, gains in found.gains.items():
        gain = gains[MEAN]
        rows.append(
            {"what": f"{name}, {strategy}: gain", "points": 100 * gain.value,
             "low": 100 * gain.low, "high": 100 * gain.high, **sizes}
        )  # fmt: skip
    rows += [{"what": f"{name}, {one}: not tried, {why}"} for one, why in found.refused.items()]
    return rows


def pooled(found: Table) -> Table:
    """With one vector a view: frames are averaged once, not in every run."""
    vectors = matrix(found, list(found.arrays)).numpy()
    prints = hashlib.sha256("".join(found.fingerprints.values()).encode()).hexdigest()
    return replace(found, arrays={_KEY: vectors}, fingerprints={_KEY: prints})


def cost(name: str, found: Table, columns: int) -> measure.Row:
    """A training's processor time by plain training's, the least of some turns."""
    strategy = f"{name}:awp_after=0" if name in ("awp", "qad") else name
    times: dict[str, list[float]] = {PLAIN: [], strategy: []}
    for _ in range(_TURNS):
        for each, taken in times.items():
            settings = {"epochs": "2", "strategy": each, "arrays": _KEY, "repeat": "2"}
            made = make_head("mlp", settings, found.classes)
            start = time.process_time()
            made.fit(found, found.take(slice(0, 40)))
            taken.append(time.process_time() - start)
    ratio = min(times[strategy]) / min(times[PLAIN])
    return {"what": f"{name}, {columns} columns", "time of plain": ratio}


def wide(columns: int) -> Table:
    """As many columns as HumanSAM's four vectors of L/14 together, or few."""
    few = table(0)
    random = np.random.default_rng(0)
    arrays = {_KEY: random.normal(size=(len(few), 2, columns)).astype(np.float32)}
    labels = np.where(few.labels == 1, 3, np.arange(len(few)) % 3).astype(np.int16)
    return replace(few, arrays=arrays, labels=labels, classes=FOUR)


def _others() -> list[str]:
    return [name for name in strategy_names() if name != PLAIN]


if __name__ == "__main__":
    raise SystemExit(main())
