"""Train and judge detectors on the same videos of one store, several seeds each.

All learn from the same videos, are decided by the same and judged by the same: those of which
every detector that can run has its features. Each run is kept as it ends (`judging.kept_runs`), so
a comparison that is run again, or with another detector, trains what is missing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features_store.store import Store
from features_store.table import Table
from heads.comparing.comparison import Comparison, Cost, Entry, Judged
from heads.comparing.contestants import Contestant, Mask, contestants
from heads.comparing.layout import layouts
from heads.data.sides import Data
from heads.data.splits import TEST, Choice, in_split
from heads.detectors.recipe import Recipe
from heads.errors import BadSetting, BadTable, HeadError
from heads.judging.floors import floors, reals_apart
from heads.judging.kept_runs import KeptRuns, run_key
from heads.measuring.metrics import REAL, Floats, averaged, has_result

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared, and how."""

    recipes: Sequence[Recipe]
    seeds: int = 3
    validation: float | None = None
    """Share of the training videos that decide; None: those of split `val`."""
    against: str | None = None
    """None: the first that can run."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        names = [recipe.name for recipe in self.recipes]
        if not names or len(set(names)) < len(names):
            raise BadSetting(f"Detectors {', '.join(names) or 'none'}: give different ones.")
        if self.seeds < 1:
            raise BadSetting(f"{self.seeds} seeds: give 1 or more.")
        if self.against is not None and self.against not in names:
            raise BadSetting(f"--against {self.against}: give one of {', '.join(names)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Masks over all videos of the store."""

    learning: Mask
    deciding: Mask
    judging: Mask
    split: str

    @staticmethod
    def of(store: Store, validation: float | None) -> "Sides":
        learning, deciding = Choice(validation=validation).masks(store)
        known = store.videos.column("label") >= 0
        judging = known & in_split(store, TEST) & ~learning & ~deciding
        if judging.any():
            return Sides(learning=learning, deciding=deciding, judging=judging, split="test")
        return Sides(learning=learning, deciding=deciding, judging=deciding, split="validation")

    def only(self, mask: Mask) -> "Sides":
        found = Sides(
            learning=self.learning & mask, deciding=self.deciding & mask,
            judging=self.judging & mask, split=self.split,
        )  # fmt: skip
        for what in ("learning", "deciding", "judging"):
            if not getattr(found, what).any():
                raise BadTable(
                    f"No video for {what} has the features of all these detectors; compare fewer "
                    f"of them, or extract the rest."
                )
        return found


class Comparing:
    """One comparison under way in a folder."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.store, self.plan = store, plan
        self.ready, self.missing = contestants(store, plan.recipes)
        if plan.against in self.missing:
            raise BadSetting(f"--against {plan.against}: {self.missing[plan.against]}")
        self._whole = Sides.of(store, plan.validation)
        self.sides = self._whole.only(np.logical_and.reduce([one.has for one in self.ready]))
        self._keys: dict[str, list[str]] = {}

    @property
    def total(self) -> int:
        return len(self.ready) * self.plan.seeds

    def runs(self, folder: Path) -> Iterator[str]:
        """Do what is missing there, yielding after each run whose it was."""
        self._kept = KeptRuns(folder)
        for one in list(self.ready):
            try:
                yield from self._seeds(one)
            except HeadError as error:
                self.missing[one.recipe.name] = str(error)
                self.ready.remove(one)
                self._keys.pop(one.recipe.name, None)
        if not self.ready:
            lines = "".join(f"\n  {name}: {why}" for name, why in self.missing.items())
            raise BadSetting(f"None of these detectors could be trained:{lines}")

    def collected(self) -> Comparison:
        """When all runs are there."""
        rows = np.flatnonzero(self.sides.judging)
        said = {
            name: [self._kept.means(key, len(rows)) for key in keys]
            for name, keys in self._keys.items()
        }
        results = {name: _has_result(runs) for name, runs in said.items()}
        there = np.logical_and.reduce(list(results.values()))
        if not there.any():
            raise BadTable("No video has a result of all these detectors; compare fewer of them.")
        videos, kept = self.store.videos, rows[there]
        labels = videos.column("label")[kept].astype(np.int64)
        entries = [
            self._entry(one, [run[there] for run in said[one.recipe.name]], kept, labels)
            for one in self.ready
        ]
        against = self.plan.against or next(
            (one.name for one in entries if not one.random), entries[0].name
        )
        chosen = next((one for one in entries if one.name == against), entries[0])
        lacking = {
            one.recipe.name: int((self._whole.judging & ~one.has).sum())
            + int((~results[one.recipe.name]).sum())
            for one in self.ready
        }
        judged = Judged(
            ids=[str(name) for name in videos.column("id")[kept]],
            labels=labels,
            sources=[str(name) or "none" for name in videos.column("source")[kept]],
            classes=tuple(self.store.classes),
            learnt=int(self.sides.learning.sum()),
            decided=int(self.sides.deciding.sum()),
            split=self.sides.split,
            lacking={name: count for name, count in lacking.items() if count},
        )
        runs = {one.name: one.runs for one in entries}
        return Comparison(
            entries=entries,
            judged=judged,
            layouts=layouts(runs, labels, judged.sources, judged.classes),
            against=against,
            floors=floors(self.store, kept, labels, chosen.runs[0], self.store.classes),
            missing=dict(self.missing),
        )

    def _seeds(self, one: Contestant) -> Iterator[str]:
        data, judged = self._tables(one)
        for seed in range(self.plan.seeds):
            head = one.recipe.make(self.store.classes)
            key = run_key(head, seed, (data.train, data.validation, judged))
            if key not in self._kept:
                report = head.fit(data.train, data.validation, seed=seed, device=self.plan.device)
                start = time.perf_counter()
                means = averaged(head.predict(judged))
                judging = (time.perf_counter() - start) / len(judged)
                self._kept.keep(
                    key, means, detector=one.recipe.name, seed=seed, learning=report.seconds,
                    judging=judging,
                )  # fmt: skip
            self._keys.setdefault(one.recipe.name, []).append(key)
            yield one.recipe.name

    def _tables(self, one: Contestant) -> tuple[Data, Table]:
        own = one.recipe.protocol
        choice = Choice(protocol=own, judging=own)
        sides, head = self.sides, one.head
        data = choice.load_sides(one.store, head, sides.learning, sides.deciding)
        judged = one.store.table(
            head.keys, protocol=one.judging, where=sides.judging, lazy=head.lazy
        )
        return data, judged

    def _entry(self, one: Contestant, runs: Sequence[Floats], rows: Rows, labels: Rows) -> Entry:
        about = [self._kept.about(key) for key in self._keys[one.recipe.name]]
        apart = None
        if REAL in self.store.classes:
            place = self.store.classes.index(REAL)
            real = labels == place
            apart = reals_apart(
                runs[0][real, place], self.store.videos.column("source")[rows[real]]
            )
        return Entry(
            name=one.recipe.name, title=one.recipe.title, head=one.recipe.head,
            protocol=one.judging, runs=runs, marks=one.marks, published=one.recipe.published,
            reals=apart,
            cost=Cost(
                cached=one.cached,
                learning=float(np.mean([run["learning"] for run in about])),
                judging=float(np.mean([run["judging"] for run in about])),
            ),
        )  # fmt: skip


def _has_result(runs: Sequence[Floats]) -> Mask:
    found: Mask = np.logical_and.reduce([has_result(run) for run in runs])
    return found
