"""The shortcut audit: how well facts about the files alone tell the label.

A detector that learns "generated videos are 8 frames a second" is no detector. A readout sees
container facts only (see `fact_cells`): all together, each by itself, within each source, and
between real sources, which nothing ought to tell apart. Every one has a permutation test; all of
them share one Holm correction, so that a set without a shortcut raises an alarm once in twenty.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features_store import facts
from features_store.schema import COLUMNS
from features_store.store import Store
from heads.errors import BadTable
from heads.judging.duplicates import Copies, across_splits, hashes
from heads.judging.fact_cells import (
    FOLDS,
    LEVEL,
    Columns,
    Told,
    common,
    holm,
    judged,
    one_of_each,
    varying,
)
from heads.measuring.metrics import REAL

SMALL_LEAK = 0.6
"""An AUC that a set has to be large enough to notice."""
TOGETHER, REALS = "all facts together", "real against real"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """What a readout of some facts reached."""

    videos: int
    accuracy: float
    chance: float
    auc: float
    p: float
    """Raised by Holm over all that the audit tests."""
    noticed: float
    """The AUC that so many videos would show four times of five."""

    @property
    def found(self) -> bool:
        return self.p <= LEVEL

    @property
    def too_few(self) -> bool:
        return not self.found and self.noticed > SMALL_LEAK

    def line(self, name: str) -> str:
        verdict = (
            "found" if self.found else "too few to tell" if self.too_few else "no more than chance"
        )
        return (
            f"{name}: AUC {self.auc:.3f}, p {self.p:.3f}, accuracy {self.accuracy:.1%} (chance "
            f"{self.chance:.1%}), {self.videos} videos: {verdict}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the files' facts give away, and which videos are there twice."""

    together: Leak | None
    """None where too few videos have facts for any readout."""
    facts: Mapping[str, Leak]
    """Each fact by itself, the most telling first."""
    sources: Mapping[str, Leak]
    """Within each source that has more than one class."""
    reals: Leak | None
    """One real source against the others, folded: below 0.5 separates as well."""
    constant: Sequence[str]
    """Facts that never change, or are not known."""
    left_out: Sequence[str]
    copies: Mapping[str, Copies] | None
    """None where the store has no hashes of frames."""
    examples: Sequence[tuple[str, str]]

    @property
    def alarm(self) -> bool:
        """Whether files tell labels. That they tell real sources from each other is no such thing:
        where every source has videos of all classes it does no harm."""
        return any(leak.found for leak in self._labels().values())

    def lines(self) -> list[str]:
        lines = [leak.line(name) for name, leak in self._every().items()]
        lines += [f"left out: {text}" for text in self.left_out]
        if self.constant:
            lines.append(f"the same in every file, or not known: {', '.join(self.constant)}")
        lines += self._copies()
        if self.reals is not None and self.reals.found:
            lines.append(
                "Files tell sources apart, also among real videos: where real and generated videos "
                "come from different sources, a head may know the source and not the forgery."
            )
        return [*lines, *self._verdict()]

    def to_json(self) -> dict[str, Any]:
        return {
            name: {
                "videos": leak.videos, "accuracy": leak.accuracy, "chance": leak.chance,
                "auc": leak.auc, "p, Holm": leak.p, "noticed from": leak.noticed,
            }
            for name, leak in self._every().items()
        }  # fmt: skip

    def _labels(self) -> dict[str, Leak]:
        found = {} if self.together is None else {TOGETHER: self.together}
        found |= {f"  {name}": leak for name, leak in self.facts.items()}
        return found | {f"within {name}": leak for name, leak in self.sources.items()}

    def _every(self) -> dict[str, Leak]:
        return self._labels() | ({} if self.reals is None else {REALS: self.reals})

    def _copies(self) -> list[str]:
        if self.copies is None:
            return ["near-duplicates: not looked for, the store has no hashes of frames"]
        lines = [
            f"near-duplicates, {name}: {found.videos} of {found.looked_at} videos"
            for name, found in self.copies.items()
        ]
        return lines + [f"  {first!r} looks like {second!r}" for first, second in self.examples]

    def _verdict(self) -> list[str]:
        whole = self.together
        if whole is None:
            return [
                f"Too few to tell: a readout needs {FOLDS} videos or more of each of two classes."
            ]
        if self.alarm:
            return [self._alarm(whole)]
        if whole.too_few:
            return [
                f"Too few to tell: with {whole.videos} videos, facts that reach an AUC below "
                f"{whole.noticed:.2f} would mostly go unnoticed."
            ]
        return [
            f"No shortcut found: facts that reach an AUC of {whole.noticed:.2f} would have been "
            f"noticed four times of five. What a head reaches comes from elsewhere."
        ]

    def _alarm(self, whole: Leak) -> str:
        named = [name for name, leak in self.facts.items() if leak.found]
        most = f", most of all {' and '.join(named[:3])}" if named else ""
        best = max([whole, *(self.facts[name] for name in named)], key=lambda leak: leak.auc)
        return (
            f"The files give labels away{most}. Compare every head with accuracy "
            f"{best.accuracy:.1%} and AUC {best.auc:.3f}; `evaluate --matched` judges on pairs "
            f"that are alike in duration, rate and size; `extract --canonical` encodes all videos "
            f"the same way first."
        )


def audit(store: Store, seed: int = 0) -> Audit:
    """Look at every labelled video whose facts are known."""
    known = facts.read(store)
    labels = store.videos.column("label").astype(np.int64)
    rows = np.flatnonzero((labels >= 0) & ~np.isnan(known["frames"]))
    groups = _groups(store)
    if groups is not None:
        rows = rows[one_of_each(labels[rows], groups[rows])]
    if not len(rows):
        raise BadTable(
            f"{store.place.name} has no labelled video whose facts are known; give the manifest "
            f"labels, and extract."
        )
    columns, constant = varying({name: known[name][rows] for name in NAMES})
    tests, left_out = _tests(store, rows, labels[rows], columns, seed)
    reached = dict(zip(tests, (test() for test in tests.values()), strict=True))
    raised = holm([each.p for each in reached.values()])
    leaks = {
        name: _leak(each, p)
        for (name, each), p in zip(reached.items(), raised, strict=True)
    }  # fmt: skip
    single = [name for name in leaks if name[0] == "fact"]
    looked = hashes(store)
    copies = (
        None if looked is None else across_splits(looked, store.videos.column("split").tolist())
    )
    return Audit(
        together=leaks.get((TOGETHER, "")),
        facts={n[1]: leaks[n] for n in sorted(single, key=lambda n: (leaks[n].p, -leaks[n].auc))},
        sources={name[1]: leak for name, leak in leaks.items() if name[0] == "within"},
        reals=leaks.get((REALS, "")),
        constant=constant,
        left_out=left_out,
        copies=copies,
        examples=_examples(store, copies),
    )


NAMES = (*facts.NUMBERS, *facts.TEXTS)
Test = Callable[[], Told]


def _tests(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.int64], columns: Columns, seed: int
) -> tuple[dict[tuple[str, str], Test], list[str]]:
    """Everything that is tested, by what it is."""
    sources = store.videos.column("source")[rows]
    groups = _groups(store)
    groups = None if groups is None else groups[rows]
    enough, left_out = common(labels, store.classes)
    tests: dict[tuple[str, str], Test] = {}

    def add(
        name: tuple[str, str], inside: NDArray[np.bool_], of: NDArray[np.generic], only: str = ""
    ) -> None:
        read = {only: columns[only]} if only else columns
        tests[name] = lambda: judged(read, of, inside, groups, seed)

    if len(np.unique(labels[enough])) > 1 and columns:
        add((TOGETHER, ""), enough, labels)
        for name in columns:
            add(("fact", name), enough, labels, name)
        for source in np.unique(sources).tolist():
            inside = enough & (sources == source)
            if _several(labels[inside][common(labels[inside], [])[0]]):
                add(("within", str(source)), inside, labels)
    real = store.classes.index(REAL) if REAL in store.classes else -1
    codes = np.unique(sources, return_inverse=True)[1]
    inside = labels == real
    inside[inside] = common(codes[inside], [])[0]
    if columns and _several(codes[inside]):
        whole = inside.copy()
        tests[(REALS, "")] = lambda: judged(columns, codes, whole, groups, seed).folded()
    return tests, left_out


def _several(labels: NDArray[np.generic]) -> bool:
    return len(np.unique(labels)) > 1


def _groups(store: Store) -> NDArray[np.generic] | None:
    """Videos that belong together, where the store knows: each without a group is its own."""
    if "group" not in COLUMNS:
        return None
    groups = store.videos.column("group")
    if not (groups != "").any():
        return None
    found: NDArray[np.generic] = np.where(groups != "", groups, store.videos.column("id"))
    return found


def _leak(found: Told, p: float) -> Leak:
    return Leak(
        videos=found.videos, accuracy=found.accuracy, chance=found.chance, auc=found.auc, p=p,
        noticed=found.noticed,
    )  # fmt: skip


def _examples(store: Store, copies: Mapping[str, Copies] | None) -> list[tuple[str, str]]:
    ids = store.videos.column("id")
    pairs = [pair for found in (copies or {}).values() for pair in found.pairs[:3].tolist()]
    return [(str(ids[one]), str(ids[other])) for one, other in pairs[:5]]
