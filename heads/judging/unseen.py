"""Which strategy helps on generators that nothing was learnt from.

Each generator is left out in turn, each strategy learns from the others, with several seeds, and
all are judged on the one left out: real against generated, by AUC. What decides when to stop is a
fifth of what is learnt from. Gains are against plain training on the same videos, with intervals
and tests over videos and seeds (`two_way`); their mean is over the generators that there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from heads.data.folds import leave_one_out, with_stopping
from heads.data.generators import of, sources_of_table
from heads.data.sides import Data
from heads.errors import BadSetting, BadTable
from heads.head import Head
from heads.judging.kept_runs import KeptRuns, run_key
from heads.judging.several_sets import VideoSet, mean_over
from heads.judging.two_way import Spread, difference, spread
from heads.measuring.metrics import REAL, Floats, averaged
from heads.measuring.tests import p_text
from heads.training.side_by_side import Fit, learnt

PLAIN = "plain"
MEAN = "mean"
_STOPPING = 0.2
_FEWEST = 5
"""Videos that a generator must have to be left out; those with fewer are always learnt from."""
_TWO = ("generated", "real")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One generator left out."""

    generator: str
    data: Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What is found, strategy by strategy; `mean` stands among the generators."""

    values: Mapping[str, Mapping[str, Spread]]
    """Strategy → generator → its AUC."""
    gains: Mapping[str, Mapping[str, Spread]]
    """The same against plain training; not of plain itself."""
    refused: Mapping[str, str]
    """Strategy → why it cannot be tried here."""

    def text(self) -> str:
        names = list(self.values[PLAIN])
        wide = max(map(len, [*self.values, PLAIN]))
        lines = [f"AUC of real against generated, the generator left out; {PLAIN}:"]
        for name in names:
            found = self.values[PLAIN][name]
            lines.append(f"  {name}: {found.text()} (n = {found.videos:,} x {found.seeds} seeds)")
        lines.append(f"gain over {PLAIN}, in points of AUC:")
        for strategy, gains in self.gains.items():
            found = gains[MEAN]
            p = f" ({p_text(found.p)})" if found.p == found.p else ""
            each = ", ".join(f"{n} {gains[n].text('+')}" for n in names if n != MEAN)
            lines.append(f"  {strategy:{wide}}  {MEAN} {found.text('+')}{p}; {each}")
        lines += [f"  {name:{wide}}  not tried: {why}" for name, why in self.refused.items()]
        first = self.values[PLAIN][MEAN]
        lines.append("95% intervals and p are over videos and seeds, for these generators")
        if len(self.gains) > 1:
            lines.append(f"of {len(self.gains)} strategies that do nothing, "
                         f"{0.05 * len(self.gains):.1f} would have p < 0.05")  # fmt: skip
        return "\n".join([*lines, *([f"no interval: {first.why}"] if first.why else [])])

    def csv(self) -> str:
        lines = ["strategy,generator,auc,low,high,gain,gain_low,gain_high,p,videos,seeds"]
        for strategy, row in self.values.items():
            for name, found in row.items():
                gain = self.gains.get(strategy, {}).get(name)
                numbers = [found.value, found.low, found.high]
                four = [np.nan] * 4 if gain is None else [gain.value, gain.low, gain.high, gain.p]
                texts = ",".join(f"{number:.6f}" for number in [*numbers, *four])
                lines.append(f'"{strategy}","{name}",{texts},{found.videos},{found.seeds}')
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All that is run."""

    make: Callable[[str], Head]
    """Strategy → a head that learns so."""
    strategies: Sequence[str]
    seeds: int
    folds: Sequence[Fold]
    must: bool
    """A strategy that cannot be tried here is an error, not left out."""
    refused: dict[str, str] = field(default_factory=dict)
    """Those that could not, and why."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise BadSetting(f"{self.seeds} seeds: give 1 or more.")
        if PLAIN not in self.strategies:
            raise BadSetting(f"Strategies are measured against {PLAIN!r}; name it too.")

    @property
    def count(self) -> int:
        return len(self.folds) * len(self.strategies) * self.seeds

    def run(self, out: Path) -> Iterator[str]:
        """Do what is missing, run by run; then `found`."""
        kept = KeptRuns(out)
        for strategy in self.strategies:
            try:
                yield from self._tried(kept, strategy)
            except BadSetting as error:
                if self.must or strategy == PLAIN:
                    raise
                self.refused[strategy] = str(error)

    def _tried(self, kept: KeptRuns, strategy: str) -> Iterator[str]:
        missing = []
        for fold in self.folds:
            for seed in range(self.seeds):
                if (key := _key(self.make(strategy), fold, seed)) in kept:
                    yield strategy
                else:
                    missing.append((fold, seed, key))
        heads = learnt(
            Fit(
                head=self.make(strategy), train=fold.data.train, deciding=fold.data.deciding,
                seed=seed,
            )
            for fold, seed, _ in missing
        )  # fmt: skip
        for (fold, seed, key), (head, _) in zip(missing, heads, strict=True):
            means = averaged(head.predict(fold.data.validation))
            kept.keep(key, means, strategy=strategy, generator=fold.generator, seed=seed)
            yield strategy

    def found(self, out: Path) -> Unseen:
        """From the runs, which must all be there."""
        kept = KeptRuns(out)
        tried = [name for name in self.strategies if name not in self.refused]
        said = {name: [self._said(kept, name, fold) for fold in self.folds] for name in tried}
        return Unseen(
            values={name: self._spreads(said[name], None) for name in tried},
            gains={name: self._spreads(said[name], said[PLAIN]) for name in tried if name != PLAIN},
            refused=self.refused,
        )

    def _spreads(
        self, said: Sequence[list[Floats]], others: Sequence[list[Floats]] | None
    ) -> dict[str, Spread]:
        """Of each generator, and their mean."""
        sets = []
        for number, fold in enumerate(self.folds):
            judged = fold.data.validation
            labels = (judged.labels == judged.classes.index(REAL)).astype(np.int64)
            before = None if others is None else others[number]
            sets.append(VideoSet(runs=said[number], others=before, labels=labels, rows=judged.rows))
        names = [fold.generator for fold in self.folds]
        found = {
            name: spread("auc", one.runs, one.labels, _TWO)
            if one.others is None
            else difference("auc", one.runs, one.others, one.labels, _TWO)
            for name, one in zip(names, sets, strict=True)
        }
        return {**found, MEAN: mean_over(sets, names, shared=_TWO.index(REAL))}

    def _said(self, kept: KeptRuns, strategy: str, fold: Fold) -> list[Floats]:
        """Each seed's (n, 2)."""
        judged = fold.data.validation
        place = judged.classes.index(REAL)
        keys = [_key(self.make(strategy), fold, seed) for seed in range(self.seeds)]
        real = [kept.means(key, len(judged))[:, place] for key in keys]
        return [np.stack([1 - each, each], 1) for each in real]


def folds(whole: Data) -> list[Fold]:
    """Each generator left out once. `whole` has every video twice: as it is learnt from, and as it
    judges."""
    if REAL not in whole.train.classes:
        raise BadTable(f"Real videos are needed, of class {REAL!r}.")
    names = sources_of_table(whole.train, at_least=2).generators
    real = whole.validation.labels == whole.validation.classes.index(REAL)
    found = []
    for name, data in zip(names, leave_one_out(whole), strict=True):
        if (of(whole.validation, [name]) & ~real).sum() >= _FEWEST:
            found.append(Fold(generator=name, data=with_stopping(data, _STOPPING)))
    if len(found) < 2:
        raise BadTable(
            f"{len(found)} of {len(names)} generators have {_FEWEST} generated videos or more; two "
            f"are needed to leave one out."
        )
    return found


def _key(head: Head, fold: Fold, seed: int) -> str:
    data = fold.data
    return run_key(head, seed, (data.train, data.deciding, data.validation))
