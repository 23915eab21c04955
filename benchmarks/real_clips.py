"""Real and generated clips of people: `python -m benchmarks.real_clips CLIPS [--work FOLDER]`.

CLIPS has a `clips.csv` (file, label, generator, source_repo, pair, split; see `--layout clips`).
Every detector that can run here is trained on its clips and judged on those that it was not told
of: in folds that keep a page's clips together, with each generator left out, on split `test` after
learning from `train`, and within pairs of the same footage. Beside it stand what the files' facts
alone say in such folds, what real sources say of each other, and the same clips damaged.
`--bundle everyday` judges a bundle instead, on the clips that it never saw. Intervals take clips
for independent of each other; those of one page are not, so the truth may lie farther out.
"""

import argparse
import csv
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import measure
from benchmarks.measure import Row
from extract.manifest.clips_table import TABLE
from features_store import Store, facts
from features_store.table import Table
from heads.bundle import Bundle
from heads.commands.main import main as telltale
from heads.data.folds import fold_numbers, groups_of, leave_one_out
from heads.data.sides import Data
from heads.data.splits import TEST, Choice, in_split
from heads.detectors.recipe import Recipe, read_recipe, recipe_names
from heads.head import Head, make_head
from heads.judging.evaluation import Predictions, compare
from heads.judging.fact_cells import judged
from heads.judging.floors import floors
from heads.measuring import curves
from heads.measuring.detection import detection, forgery
from heads.measuring.intervals import Interval, wilson
from heads.measuring.metrics import REAL, averaged, has_result

DAMAGE = ("jpeg50", "resize0.7", "h264crf32")
FOLDS = 8
FALSE_ALARMS = (0.01, 0.05)
Floats = NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder with clips.csv")
    parser.add_argument("--work", type=Path, help="keep features here, and go on from them")
    parser.add_argument("--detector", action="append", help="default: all that can run here")
    parser.add_argument("--bundle", help="judge this one, on clips that it never saw")
    parser.add_argument("--damage", default=",".join(DAMAGE), help="default: %(default)s; '' none")
    parser.add_argument("--theme", default="real-clips", help="of the result's file")
    parser.add_argument("--workers", default="2")
    given = parser.parse_args(arguments)
    damage = [name for name in given.damage.split(",") if name]
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        if given.bundle:
            rows = bundle_rows(given.clips, work, Bundle.load(given.bundle), damage, given.workers)
        else:
            rows = []
            for recipe in _ready(given.detector):
                extract(given.clips, work, recipe.protocol, recipe.branches, damage, given.workers)
                rows += detector_rows(given.clips, work, recipe, damage)
    measure.report(given.theme, rows, ("numpy", "torch", "scikit-learn", "av"))


def _ready(wanted: Sequence[str] | None) -> list[Recipe]:
    found = [read_recipe(name) for name in wanted or recipe_names()]
    return [recipe for recipe in found if not recipe.missing({})]


def extract(
    clips: Path,
    work: Path,
    protocol: str,
    branches: Sequence[str],
    damage: Sequence[str],
    workers: str,
) -> None:
    """Features of every clip, undamaged and damaged; what is there is not computed again."""
    asked = [text for branch in branches for text in ("--branch", branch)]
    for name in ["", *damage]:
        status = telltale(
            ["extract", str(clips), "--layout", "clips", "--store", str(work / "clips.zarr"),
             "--protocol", protocol + (f"+{name}" if name else ""), "--workers", workers, *asked]
        )  # fmt: skip
        if status not in (0, 3):
            raise SystemExit(status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Heads that were each told nothing of their fold."""

    heads: Sequence[Head]
    numbers: Mapping[str, int]
    """Clip → the fold that it is in."""

    def said(self, table: Table) -> Predictions:
        """Of every clip, by the head that does not know it."""
        fold = np.array([self.numbers[str(name)] for name in table.ids])
        means = np.full((len(table), len(table.classes)), np.nan, np.float32)
        for number, head in enumerate(self.heads):
            if (fold == number).any():
                means[fold == number] = averaged(head.predict(table.take(fold == number)))
        return predictions(table, means)


def folded(table: Table, recipe: Recipe, groups: NDArray[np.object_]) -> Folded:
    numbers = fold_numbers(table.ids, table.labels, FOLDS, groups)
    heads = []
    for number in range(FOLDS):
        head = recipe.make(table.classes)
        head.fit(table.take(numbers != number), table.take(numbers == number))
        heads.append(head)
    named = zip(table.ids.tolist(), numbers.tolist(), strict=True)
    return Folded(heads=heads, numbers={str(name): number for name, number in named})


def predictions(table: Table, means: Floats) -> Predictions:
    there = has_result(means)
    table = table.take(there)
    return Predictions(
        ids=[str(name) for name in table.ids], labels=table.labels.astype(np.int64),
        sources=[str(name) for name in table.sources], classes=tuple(table.classes),
        means=means[there], nothing=int((~there).sum()),
    )  # fmt: skip


def detector_rows(
    clips: Path, work: Path, recipe: Recipe, damage: Sequence[str]
) -> list[Row]:  # fmt: skip
    store = Store.open(work / "clips.zarr")
    head = recipe.make(store.classes)
    table = store.table(head.keys, protocol=recipe.protocol, allow_missing=True)
    groups = groups_of(store, "group")
    assert groups is not None
    found = folded(table, recipe, groups[table.rows])
    plain = found.said(table)
    rows = [
        *_numbers(recipe.name, f"{FOLDS} folds grouped by page", plain),
        *_pairs(recipe.name, clips, plain),
        *_numbers(recipe.name, "each generator left out", generators_out(table, recipe))[:-1],
        *_test(store, recipe),
        *_floors(store, table, plain, groups),
    ]
    for name in damage:
        harmed = store.table(head.keys, protocol=f"{recipe.protocol}+{name}", allow_missing=True)
        rows += _damaged(recipe.name, name, plain, found.said(harmed))
    return rows


def bundle_rows(
    clips: Path, work: Path, bundle: Bundle, damage: Sequence[str], workers: str
) -> list[Row]:
    """Of the clips whose ids the bundle does not know."""
    protocol, name = bundle.scoring_protocol, bundle.about.head
    extract(clips, work, protocol, list(bundle.about.branches.values()), damage, workers)
    store = Store.open(work / "clips.zarr")

    def said(protocol: str) -> Predictions:
        table = store.table(bundle.head.keys, protocol=protocol, allow_missing=True)
        table = table.take(~bundle.rows.knows(table.ids.tolist()))
        if not len(table):
            raise SystemExit("The bundle knows every clip of this folder; leave --bundle out.")
        return predictions(table, averaged(bundle.predict(table)))

    plain = said(protocol)
    print(f"{len(plain.ids)} of {store.videos.count} clips are new to the bundle")
    rows = [*_numbers(name, "clips that the bundle never saw", plain), *_pairs(name, clips, plain)]
    for harm in damage:
        rows += _damaged(name, harm, plain, said(f"{protocol}+{harm}"))
    return rows


def generators_out(table: Table, recipe: Recipe) -> Predictions:
    """Each generator's clips by a head that saw none of its, and half of the reals by the mean of
    all those heads, none of which saw them. Half of the reals is left to learn from, so that more
    is called generated than elsewhere: rankings say something here, thresholds do not."""
    means = np.zeros((len(table), len(table.classes)), np.float64)
    count = np.zeros(len(table))
    place = {str(name): row for row, name in enumerate(table.ids)}
    for data in leave_one_out(Data(train=table, validation=table)):
        head = recipe.make(table.classes)
        head.fit(data.train, data.validation)
        rows = [place[str(name)] for name in data.validation.ids]
        means[rows] += averaged(head.predict(data.validation))
        count[rows] += 1
    judged = count > 0
    return predictions(table.take(judged), (means[judged] / count[judged, None]).astype(np.float32))


def _test(store: Store, recipe: Recipe) -> list[Row]:
    """Learn from split `train`, judge split `test`."""
    settings = dict(recipe.settings)
    head = make_head(recipe.head, settings, store.classes)
    data = Choice(protocol=recipe.protocol, validation=0.125, group_by="group").load(store, head)
    tested = store.table(
        head.keys, protocol=recipe.protocol, where=in_split(store, TEST), allow_missing=True
    )
    whole = Choice(protocol=recipe.protocol, validation=0.0).load(store, head)
    head.fit(whole.train, data.validation)
    means = averaged(head.predict(tested))
    return _numbers(recipe.name, "split test, learnt from train", predictions(tested, means))


def _numbers(name: str, what: str, said: Predictions) -> list[Row]:
    found = detection(said.means, said.labels, said.classes)
    assert found is not None
    real = said.labels == said.classes.index(REAL)
    scores = forgery(said.means, said.classes).astype(np.float64)
    rows = [_row(name, f"{what}: AUC", found.auc, found.reals, found.generated)]
    for share in FALSE_ALARMS:
        caught = curves.found_at(scores[real], scores[~real], share=share)
        about = f"{what}: found at {share:.0%} false alarms"
        rows.append(_row(name, about, caught, found.reals, found.generated))
    alarms = wilson(int((scores[real] > 0.5).sum()), int(real.sum()))
    rows.append(_row(name, f"{what}: reals called generated", alarms, found.reals, 0))
    return rows


def _pairs(name: str, clips: Path, said: Predictions) -> list[Row]:
    """Same footage: does the real one look more real than what was made of it?"""
    with (clips / TABLE).open(encoding="utf-8-sig", newline="") as lines:
        pair_of = {row["file"]: row["pair"] for row in csv.DictReader(lines)}
    scores = forgery(said.means, said.classes)
    real = said.labels == said.classes.index(REAL)
    sides: dict[str, tuple[list[float], list[float]]] = {}
    for video, score, is_real in zip(said.ids, scores.tolist(), real.tolist(), strict=True):
        if pair := pair_of.get(video):
            sides.setdefault(pair, ([], []))[0 if is_real else 1].append(score)
    both = [(np.mean(reals), fakes) for reals, fakes in sides.values() if reals and fakes]
    if not both:
        return []
    right = sum(bool(np.mean(fakes) > known) for known, fakes in both)
    above = [fake > known for known, fakes in both for fake in fakes]
    count = sum(len(fakes) for _, fakes in both)
    return [
        _row(name, "pairs: generated ones, on average, above the real one",
             wilson(right, len(both)), len(both), count),
        {"what": name, "way": "pairs: generated clips above their real one",
         "share": float(np.mean(above)), "generated": count},
    ]  # fmt: skip


def _floors(
    store: Store, table: Table, said: Predictions, groups: NDArray[np.object_]
) -> list[Row]:
    place = {str(name): int(row) for name, row in zip(table.ids, table.rows, strict=True)}
    at = np.array([place[name] for name in said.ids])
    floor = floors(store, at, said.labels, said.means, said.classes)
    known = {name: column[at] for name, column in facts.read(store).items()}
    inside = np.ones(len(at), bool)
    _, codes = np.unique(groups[at].astype(str), return_inverse=True)
    alone = judged(known, said.labels, inside, groups=codes, permutations=99)
    rows: list[Row] = [
        {"what": "floor", "way": "facts about the files alone, folds grouped by page",
         "AUC": alone.auc, "p": alone.p, "clips": alone.videos},
    ]  # fmt: skip
    if floor.reals is not None:
        rows.append(
            {"what": "floor", "way": f"real against real: {floor.reals.source} from the others",
             "AUC": floor.reals.auc, "p": floor.reals.p, "clips": floor.reals.videos}
        )  # fmt: skip
    return rows


def _damaged(name: str, damage: str, plain: Predictions, harmed: Predictions) -> list[Row]:
    found = detection(harmed.means, harmed.labels, harmed.classes)
    assert found is not None
    change = compare(plain, harmed)["binary auc"].interval
    row = _row(name, f"after {damage}: AUC", found.auc, found.reals, found.generated)
    return [{**row, "change": change.value, "change low": change.low, "change high": change.high}]


def _row(name: str, way: str, number: Interval, reals: int, generated: int) -> Row:
    """What has no value or no interval says why."""
    bounds = {"share": number.value, "low": number.low, "high": number.high}
    return {
        "what": name, "way": f"{way} ({number.why})" if number.why else way,
        **{key: value for key, value in bounds.items() if math.isfinite(value)},
        "reals": reals, "generated": generated,
    }  # fmt: skip


if __name__ == "__main__":
    main()
