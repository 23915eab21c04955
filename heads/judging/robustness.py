"""What damage on the way to a viewer does to a head's verdicts: the paper's Table 5 for any head.

A store's perturbed protocols (`val+jpeg50`) are columns beside their undamaged one. Every column is
compared with the undamaged verdicts of the very same videos.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.protocol import Protocol
from features_store.errors import NotComputed, UnknownKey
from features_store.store import Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.data.generators import sources_of
from heads.data.sides import Mask
from heads.errors import BadTable, WrongFeatures
from heads.judging import paper
from heads.judging.evaluation import Predictions, predictions
from heads.measuring.intervals import Interval, accuracy, auc, macro_auc_interval, wilson
from heads.measuring.metrics import REAL
from heads.measuring.tests import Difference, delong, mcnemar

UNDAMAGED = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One kind of damage, and what it did."""

    kind: str
    """blur, jpeg, …; empty for the undamaged column."""
    amount: float
    accuracy: Interval
    auc: Interval
    binary_auc: Interval | None
    """Real against the rest; None where a class `real` is lacking."""
    table_5: Interval | None
    """Macro AUC on the one generator of the paper's Table 5 and the real videos."""
    flips: Interval
    """Share of videos whose verdict is another than undamaged."""
    change: Mapping[str, Difference]
    """accuracy and auc: damaged minus undamaged, the same videos."""
    flipped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """By perturbation's name, the undamaged column first."""

    base: str
    columns: Mapping[str, Column]
    left_out: tuple[str, ...]
    """Protocols that could not be judged, and why."""

    def text(self) -> str:
        """Rows are numbers with their intervals, as columns would not fit a terminal."""
        lines = []
        published = paper.damage()
        for name, one in self.columns.items():
            lines.append(f"{name or 'undamaged'} ({self.base}{'+' if name else ''}{name})")
            lines.append(f"  accuracy {one.accuracy}, AUC {one.auc}")
            if one.binary_auc is not None:
                lines.append(f"  real against the rest: AUC {one.binary_auc}")
            if one.table_5 is not None:
                beside = f"; paper {published[name]:.1f}" if name in published else ""
                lines.append(f"  AUC on CogVideoX-5B as in Table 5: {one.table_5}{beside}")
            if name:
                lines.append(
                    f"  against undamaged: accuracy {one.change['accuracy']}; AUC "
                    f"{one.change['auc']}"
                )
                lines.append(f"  verdicts that flip: {one.flips}")
        lines += [f"left out: {why}" for why in self.left_out]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        published = paper.damage()
        return {
            "base": self.base,
            "columns": {
                name or "undamaged": {
                    "accuracy": one.accuracy.to_json(),
                    "auc": one.auc.to_json(),
                    "binary auc": None if one.binary_auc is None else one.binary_auc.to_json(),
                    "table 5": None if one.table_5 is None else one.table_5.to_json(),
                    "paper, table 5": published.get(name),
                    "flips": one.flips.to_json(),
                    "change": {key: found.to_json() for key, found in one.change.items()},
                    "flipped": list(one.flipped),
                }
                for name, one in self.columns.items()
            },
            "left out": list(self.left_out),
        }

    def flips(self) -> dict[str, list[str]]:
        """Video → the damage that changes its verdict, the least steadfast first."""
        found: dict[str, list[str]] = {}
        for name, one in self.columns.items():
            for video in one.flipped:
                found.setdefault(video, []).append(name)
        return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))

    def curves(self) -> dict[str, list[tuple[float, Interval]]]:
        """Kind of damage → (amount, AUC) by strength, where there are two or more."""
        found: dict[str, list[tuple[float, Interval]]] = {}
        for one in self.columns.values():
            if one.kind and one.amount:
                found.setdefault(one.kind, []).append((one.amount, one.auc))
        return {
            kind: sorted(points, key=lambda point: point[0])
            for kind, points in found.items()
            if len(points) > 1
        }


def robustness(bundle: Bundle, store: Store, base: str, where: Mask) -> Robustness:
    """Judge every perturbed form of a protocol that the store has."""
    plain = predictions(bundle, _table(bundle, store, base, where))
    columns = {UNDAMAGED: _column(plain, plain, Protocol.parse(base))}
    left_out = []
    for name, protocol in perturbed(store, base):
        try:
            found = predictions(bundle, _table(bundle, store, name, where))
        except (UnknownKey, NotComputed, WrongFeatures) as error:
            left_out.append(f"{name}: {error}")
            continue
        assert protocol.perturbation is not None
        columns[protocol.perturbation.name] = _column(plain, found, protocol)
    if len(columns) == 1:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise BadTable(
            f"{store.place.name} has no perturbed form of {base} to judge{why}. Extract some: "
            f"--protocol {base}+jpeg50, +blur3, +resize0.7, +mixed, +letterbox, +rate12, +screen."
        )
    return Robustness(base=base, columns=columns, left_out=tuple(left_out))


def perturbed(store: Store, base: str) -> Iterator[tuple[str, Protocol]]:
    """The store's damaged forms of a protocol, by kind and strength."""
    found = []
    for name in store.protocols():
        try:
            protocol = Protocol.parse(name)
        except BadProtocol:  # a name of the user's own
            continue
        if protocol.perturbation and replace(protocol, perturbation=None).name == base:
            found.append((protocol.perturbation.kind, protocol.perturbation.amount, name, protocol))
    yield from ((name, protocol) for _, _, name, protocol in sorted(found, key=lambda f: f[:3]))


def _table(bundle: Bundle, store: Store, protocol: str, where: Mask) -> Table:
    """What is there of these videos: an extraction that is not through yet counts too."""
    head = bundle.head
    table = bundle.own(store, protocol).table(
        head.keys, protocol=protocol, where=where, lazy=head.lazy, allow_missing=True
    )
    bundle.check(table)
    return table


def _column(plain: Predictions, found: Predictions, protocol: Protocol) -> Column:
    before, after = _common(plain, found)
    labels, classes = found.labels, found.classes
    moved = before.means.argmax(1) != after.means.argmax(1)
    right = [one.means.argmax(1) == one.labels for one in (before, after)]
    damage = protocol.perturbation
    return Column(
        kind=damage.kind if damage else "",
        amount=damage.amount if damage else 0.0,
        accuracy=accuracy(found.means, labels),
        auc=macro_auc_interval(found.means, labels, classes),
        binary_auc=_binary_auc(found),
        table_5=_table_5(found),
        flips=wilson(int(moved.sum()), len(moved)),
        change={
            "accuracy": mcnemar(*right),
            "auc": delong(before.means, after.means, after.labels, classes),
        },
        flipped=tuple(name for name, other in zip(after.ids, moved, strict=True) if other),
    )


def _binary_auc(found: Predictions) -> Interval | None:
    if REAL not in found.classes:
        return None
    real = found.classes.index(REAL)
    return auc(found.means[:, real], found.labels == real, ("the rest", REAL))


def _table_5(found: Predictions) -> Interval | None:
    masks = sources_of(found.sources, found.labels, found.classes).masks
    if paper.DAMAGE_SOURCE not in masks:
        return None
    one = found.take(masks[paper.DAMAGE_SOURCE])
    return macro_auc_interval(one.means, one.labels, one.classes)


def _common(plain: Predictions, found: Predictions) -> tuple[Predictions, Predictions]:
    """The videos that both have, in one order."""
    place = {name: row for row, name in enumerate(plain.ids)}
    both = [(place[name], row) for row, name in enumerate(found.ids) if name in place]
    if not both:
        raise BadTable("A perturbed protocol has no video in common with the undamaged one.")
    first, second = (np.array(rows, np.int64) for rows in zip(*both, strict=True))
    return _rows(plain, first), _rows(found, second)


def _rows(found: Predictions, rows: NDArray[np.int64]) -> Predictions:
    def taken(values: Sequence[str]) -> list[str]:
        return [values[row] for row in rows.tolist()]

    return Predictions(
        ids=taken(found.ids), labels=found.labels[rows], sources=taken(found.sources),
        classes=found.classes, means=found.means[rows],
    )  # fmt: skip
