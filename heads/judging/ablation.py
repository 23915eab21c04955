"""Which switch is worth what: a grid of settings, several seeds each, with intervals and tests over
videos and seeds (`two_way`).

The default grid is the paper's Table 3. Every single run is kept (`kept_runs`), so an ablation that
is run again does what is missing.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features_store.table import Table
from heads.config import Settings
from heads.data.sides import Data
from heads.head import Head, make_head
from heads.judging.kept_runs import KeptRuns, run_key
from heads.judging.two_way import METRICS, MOST_SEEDS, Spread, difference, spread
from heads.measuring.metrics import Floats, averaged, measure
from heads.measuring.tests import p_text
from heads.training.side_by_side import Fit, learnt

Rows = Mapping[str, Settings]
TABLE_3: Rows = {
    "backbone": {"vector": "attn", "depth": "false", "rank_loss": "false"},
    "+ cat": {"vector": "cat", "depth": "false", "rank_loss": "false"},
    "+ depth": {"vector": "cat", "depth": "true", "rank_loss": "false"},
    "+ rank loss": {"vector": "cat", "depth": "true", "rank_loss": "true"},
}
SHOWN_GAIN = 0.05
"""The gain of which a table says what it takes to see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row's number: of every seed, and what their mean is sure of."""

    values: tuple[float, ...]
    spread: Spread

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def random(self) -> bool:
        """Do seeds change anything?"""
        return max(self.values) > min(self.values)

    def __str__(self) -> str:
        return self.spread.text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Rows in order, a cell per metric."""

    rows: Mapping[str, Mapping[str, Cell]]
    gains: Mapping[str, Mapping[str, Spread]]
    """Row → metric → its difference to the row that it is compared with; not of the first row."""
    against: Mapping[str, str | None]
    """Row → the row that it is compared with."""

    def text(self) -> str:
        width = max(len(name) for name in self.rows)
        lines = [" " * width + "  " + "  ".join(f"{m:>18}" for m in METRICS) + "  gain in auc"]
        for name, cells in self.rows.items():
            numbers = "  ".join(f"{cells[m]!s:>18}" for m in METRICS)
            lines.append(f"{name:{width}}  {numbers}  {self._gain(name)}".rstrip())
        first = next(iter(self.rows.values()))["auc"].spread
        lines.append(
            f"n = {first.videos:,} videos x {first.seeds} seeds; 95% intervals and p are over both"
        )
        lines += [f"no interval: {why}" for why in sorted(self._whys())]
        still = [name for name, cells in self.rows.items() if not cells["auc"].random]
        if still and first.seeds > 1:
            lines.append(f"no randomness, every seed gives the same: {', '.join(still)}")
        lines += self._needed()
        return "\n".join(lines)

    def _whys(self) -> set[str]:
        spreads = [cells["auc"].spread for cells in self.rows.values()]
        return {one.why for one in (*spreads, *(g["auc"] for g in self.gains.values())) if one.why}

    def _gain(self, name: str) -> str:
        if name not in self.gains:
            return ""
        found, other = self.gains[name]["auc"], self.against[name]
        said = found.text("+") + ("" if math.isnan(found.p) else f" ({p_text(found.p)})")
        before = list(self.rows)[list(self.rows).index(name) - 1]
        return said if other == before else f"{said} against {other}"

    def _needed(self) -> list[str]:
        """What it would take to see a gain, by the comparison that is least sure."""
        spreads = [gain["auc"] for gain in self.gains.values() if not gain["auc"].why]
        if not spreads:
            return []
        needed = [one.needed(SHOWN_GAIN) for one in spreads]
        what = (
            f"a gain of {100 * SHOWN_GAIN:.0f} points of AUC is found in 80 of 100 such ablations"
        )
        if None in needed:
            return [f"{what} with more than {MOST_SEEDS} seeds"]
        most = max(one for one in needed if one is not None)
        return [f"{what} with {most.videos:,} videos and {most.seeds} seeds"]

    def csv(self) -> str:
        lines = ["row,metric,mean,low,high,gain,p,values,gain_low,gain_high,against,videos,seeds"]
        for name, cells in self.rows.items():
            for metric in METRICS:
                cell, gain = cells[metric], self.gains.get(name, {}).get(metric)
                values = " ".join(f"{value:.6f}" for value in cell.values)
                four = (math.nan,) * 4
                if gain is not None:
                    four = (gain.value, gain.p, gain.low, gain.high)
                numbers = (cell.mean, cell.spread.low, cell.spread.high, *four[:2])
                first, last = (",".join(f"{n:.6f}" for n in each) for each in (numbers, four[2:]))
                size = f"{cell.spread.videos},{cell.spread.seeds}"
                against = self.against.get(name) or ""
                lines.append(f'"{name}",{metric},{first},{values},{last},"{against}",{size}')
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A table; the best mean of each column is bold."""
        head = r" & ACC & AUC & F1 & gain in AUC ($p$) \\"
        lines = [r"\begin{tabular}{lcccc}", r"\toprule", head, r"\midrule"]
        best = {m: max(cells[m].mean for cells in self.rows.values()) for m in METRICS}
        for name, cells in self.rows.items():
            numbers = " & ".join(_tex(cells[m], bold=cells[m].mean == best[m]) for m in METRICS)
            escaped = name.replace("_", r"\_").replace("&", r"\&").replace("%", r"\%")
            gain = self._gain(name).replace("_", r"\_")
            lines.append(rf"{escaped} & {numbers} & {gain} \\")
        first = next(iter(self.rows.values()))["auc"].spread
        note = f"% {first.videos} videos, {first.seeds} seeds; intervals of 95% over both"
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", note]) + "\n"


def _tex(cell: Cell, *, bold: bool) -> str:
    value, _, interval = str(cell).partition(" ")
    number = rf"\mathbf{{{value}}}" if bold else value
    return rf"${number}\ {interval}$" if interval else f"${number}$"


def grid(switches: Mapping[str, Sequence[str]]) -> Rows:
    """Every combination, named by its settings."""
    names = list(switches)
    return {
        " ".join(f"{n}={v}" for n, v in zip(names, values, strict=True)): dict(
            zip(names, values, strict=True)
        )
        for values in itertools.product(*switches.values())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run."""

    head: str
    rows: Rows
    seeds: int
    settings: Settings
    """For every row."""

    def against(self, name: str) -> str | None:
        """The row that differs in one switch: of a grid, with the last switch that is not at its
        first value put back there; else the row before."""
        names = list(self.rows)
        row, first = self.rows[name], self.rows[names[0]]
        if name == names[0]:
            return None
        changed = [switch for switch in first if row.get(switch) != first[switch]]
        if changed:
            wanted = {**row, changed[-1]: first[changed[-1]]}
            found = next((other for other in names if dict(self.rows[other]) == wanted), None)
            if found is not None and self.is_grid:
                return found
        return names[names.index(name) - 1]

    @property
    def is_grid(self) -> bool:
        """Every combination of its switches, not steps of one path."""
        switches = {frozenset(row) for row in self.rows.values()}
        if len(switches) != 1:
            return False
        values = [{row[switch] for row in self.rows.values()} for switch in next(iter(switches))]
        return math.prod(len(each) for each in values) == len(self.rows)

    def runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for name in self.rows for seed in range(self.seeds)]


def ablate(plan: Plan, data: Data, test: Table, out: Path) -> Iterator[int]:
    """Do what is missing, yielding after each run; the result is `collected`."""
    kept, missing = KeptRuns(out), []
    for name, seed in plan.runs():
        key = run_key(_head(plan, name, test), seed, _tables(data, test))
        if key in kept:
            yield seed
        else:
            missing.append((name, seed, key))
    heads = learnt(
        Fit(head=_head(plan, name, test), train=data.train, deciding=data.validation, seed=seed)
        for name, seed, _ in missing
    )
    for (name, seed, key), (head, _) in zip(missing, heads, strict=True):
        means = averaged(head.predict(test))
        found = measure(means, test.labels, test.classes)
        kept.keep(key, means, row=name, seed=seed, **found.numbers())
        yield seed


def collected(plan: Plan, data: Data, test: Table, out: Path) -> Ablation:
    """The finished runs as a table."""
    kept = KeptRuns(out)
    labels = test.labels.astype(np.int64)
    said: dict[str, list[Floats]] = {}
    rows: dict[str, dict[str, Cell]] = {}
    for name in plan.rows:
        head = _head(plan, name, test)
        keys = [run_key(head, seed, _tables(data, test)) for seed in range(plan.seeds)]
        said[name] = [kept.means(key, len(test)) for key in keys]
        rows[name] = {
            m: Cell(
                values=tuple(float(kept.about(key)[m]) for key in keys),
                spread=spread(m, said[name], labels, test.classes),
            )
            for m in METRICS
        }
    against = {name: plan.against(name) for name in plan.rows}
    gains = {
        name: {m: difference(m, said[name], said[other], labels, test.classes) for m in METRICS}
        for name, other in against.items()
        if other is not None
    }
    return Ablation(rows=rows, gains=gains, against=against)


def _head(plan: Plan, name: str, test: Table) -> Head:
    return make_head(plan.head, {**plan.settings, **plan.rows[name]}, test.classes)


def _tables(data: Data, test: Table) -> tuple[Table, ...]:
    return data.train, data.validation, test
