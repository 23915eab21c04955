"""Which switch is worth what: a grid of settings, several seeds each, with intervals and tests.

The default grid is the paper's Table 3. Every single run is appended to `runs.jsonl`, flushed to
the disk, under a hash of its settings and of the features; an ablation that is run again does
what is missing. A torn last line, from a run that was killed, is ignored.
"""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from features_store.table import Table
from heads.config import Settings
from heads.data.sides import Data
from heads.head import make_head
from heads.measuring.metrics import averaged, measure

Rows = Mapping[str, Settings]
TABLE_3: Rows = {
    "backbone": {"vector": "attn", "depth": "false", "rank_loss": "false"},
    "+ cat": {"vector": "cat", "depth": "false", "rank_loss": "false"},
    "+ depth": {"vector": "cat", "depth": "true", "rank_loss": "false"},
    "+ rank loss": {"vector": "cat", "depth": "true", "rank_loss": "true"},
}
METRICS = ("accuracy", "auc", "f1")
_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row's number over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def half_width(self) -> float:
        """Of the 95% interval of the mean, by Student's t; NaN with one seed."""
        count = len(self.values)
        if count < 2:
            return math.nan
        quantile = float(stats.t.ppf(0.975, count - 1))
        return quantile * float(np.std(self.values, ddof=1)) / math.sqrt(count)

    def __str__(self) -> str:
        if math.isnan(self.half_width):
            return f"{100 * self.mean:.1f}"
        return f"{100 * self.mean:.1f} ± {100 * self.half_width:.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """Rows in order, a cell per metric."""

    rows: Mapping[str, Mapping[str, Cell]]

    def gain(self, name: str, metric: str) -> tuple[float, float]:
        """Against the row before, seed by seed: the mean difference, and the paired t-test's p."""
        names = list(self.rows)
        place = names.index(name)
        if place == 0:
            return math.nan, math.nan
        here, before = (np.array(self.rows[n][metric].values) for n in (name, names[place - 1]))
        difference = here - before
        if len(difference) < 2 or np.ptp(difference) < _NO_SPREAD:  # t has no value there
            return float(difference.mean()), math.nan
        return float(difference.mean()), float(stats.ttest_rel(here, before).pvalue)

    def text(self) -> str:
        width = max(len(name) for name in self.rows)
        lines = [" " * width + "  " + "  ".join(f"{m:>14}" for m in METRICS) + "  gain in auc (p)"]
        for name, cells in self.rows.items():
            gain, p = self.gain(name, "auc")
            said = "" if math.isnan(gain) else f"{100 * gain:+.1f} ({p:.3f})"
            numbers = "  ".join(f"{cells[m]!s:>14}" for m in METRICS)
            lines.append(f"{name:{width}}  {numbers}  {said}".rstrip())
        return "\n".join(lines)

    def csv(self) -> str:
        lines = ["row,metric,mean,half_width,gain,p,values"]
        for name, cells in self.rows.items():
            for metric in METRICS:
                cell, (gain, p) = cells[metric], self.gain(name, metric)
                values = " ".join(f"{value:.6f}" for value in cell.values)
                numbers = f"{cell.mean:.6f},{cell.half_width:.6f},{gain:.6f},{p:.6f}"
                lines.append(f'"{name}",{metric},{numbers},{values}')
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        lines = [r"\begin{tabular}{lccc}", r"\toprule", r" & ACC & AUC & F1 \\", r"\midrule"]
        for name, cells in self.rows.items():
            numbers = " & ".join(f"${cells[m]!s}$".replace("±", r"\pm") for m in METRICS)
            escaped = name.replace("_", r"\_").replace("&", r"\&").replace("%", r"\%")
            lines.append(rf"{escaped} & {numbers} \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


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

    def runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for name in self.rows for seed in range(self.seeds)]


def ablate(plan: Plan, data: Data, test: Table, out: Path) -> Iterator[int]:
    """Do what is missing, yielding after each run; the result is `collected`."""
    out.mkdir(parents=True, exist_ok=True)
    log = out / "runs.jsonl"
    _end_line(log)
    done = _read(log)
    for name, seed in plan.runs():
        key = _key(plan, name, seed, data, test)
        if key not in done:
            head = make_head(plan.head, {**plan.settings, **plan.rows[name]}, test.classes)
            head.fit(data.train, data.validation, seed=seed)
            found = measure(averaged(head.predict(test)), test.labels, test.classes)
            _append(log, {"key": key, "row": name, "seed": seed, **found.numbers()})
        yield seed


def collected(plan: Plan, data: Data, test: Table, out: Path) -> Ablation:
    """The finished runs as a table."""
    done = _read(out / "runs.jsonl")
    rows: dict[str, dict[str, Cell]] = {}
    for name in plan.rows:
        found = [done[_key(plan, name, seed, data, test)] for seed in range(plan.seeds)]
        rows[name] = {m: Cell(values=tuple(float(run[m]) for run in found)) for m in METRICS}
    return Ablation(rows=rows)


def _key(plan: Plan, name: str, seed: int, data: Data, test: Table) -> str:
    """What decides a run's numbers."""
    tables = (data.train, data.validation, test)
    videos = hashlib.sha256()
    for table in tables:
        videos.update("\n".join(map(str, table.ids)).encode())
        videos.update(table.labels.tobytes() + np.nan_to_num(table.ranks).tobytes())
    head = make_head(plan.head, {**plan.settings, **plan.rows[name]}, test.classes)
    parts = {
        "head": plan.head, "settings": asdict(head.config), "seed": seed,
        "videos": videos.hexdigest(), "protocols": [table.protocol for table in tables],
        "features": dict(sorted(test.fingerprints.items())),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _read(log: Path) -> dict[str, dict[str, float]]:
    found = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            run = json.loads(line)
            found[run["key"]] = run
        except (ValueError, KeyError, TypeError):  # torn by a kill
            continue
    return found


def _append(log: Path, run: Mapping[str, object]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(run) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _end_line(log: Path) -> None:
    """A torn last line must not swallow the next one."""
    if log.exists() and not log.read_bytes().endswith(b"\n") and log.stat().st_size:
        with log.open("a") as file:
            file.write("\n")
