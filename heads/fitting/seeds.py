"""From a store to a bundle: several seeds, of which the best is kept, or all."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from features_store.store import Store
from features_store.table import Table
from heads import bundle
from heads.bundle import Bundle
from heads.data.forged import plain
from heads.data.rows import Hashes, Rows
from heads.data.sides import Data
from heads.errors import BadBundle, WrongFeatures
from heads.head import FitReport, Head, OnEpoch
from heads.measuring.calibration import reliability
from heads.measuring.metrics import Floats, averaged, has_result, measure
from heads.parts.about import About
from heads.parts.ensemble import together
from heads.parts.novelty import familiar
from heads.training.side_by_side import Fit, learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One seed's outcome."""

    seed: int
    head: Head
    report: FitReport


def train_seeds(
    make: Callable[[], Head],
    data: Data,
    seeds: Sequence[int],
    device: str = "cpu",
    listener: Callable[[int], OnEpoch | None] = lambda _: None,
) -> Iterator[Trained]:
    """Train one head per seed; `listener` says who is told of a seed's epochs."""
    fits = [
        Fit(
            head=make(), train=data.train, deciding=data.deciding, seed=seed, device=device,
            on_epoch=listener(seed),
        )
        for seed in seeds
    ]  # fmt: skip
    for seed, (head, report) in zip(seeds, learnt(fits), strict=True):
        yield Trained(seed=seed, head=head, report=report)


def best_bundle(
    store: Store, trained: Iterable[Trained], data: Data, *, ensemble: bool = False
) -> Bundle:
    """The seed that was best on validation, or all of them with `ensemble`. Without calibration:
    what chose the epoch and the seed promises nothing."""
    trained = list(trained)
    best = max(trained, key=lambda one: one.report.best)
    table, head = data.validation, best.head
    if ensemble and len(trained) > 1:
        head = together([(one.head, 1.0) for one in trained])
    means = np.zeros((0, len(head.classes)), np.float32)
    metrics: dict[str, float] = {"training videos": len(data.train)}
    if len(table):
        means = averaged(head.predict(table))
        there = has_result(means)
        table, means = table.take(there), means[there]
        metrics = _validated(trained, best, table, means) | metrics
    metrics["validation videos"] = len(table)
    about = About(
        head=head.name,
        config=asdict(head.config),
        scheme=store.scheme,
        classes=head.classes,
        protocol=plain(table.protocol),
        fingerprints={key: table.fingerprints[key] for key in head.keys},
        branches=_branches(store, table, head),
        metrics=metrics,
        provenance={
            **bundle.provenance(store, [one.seed for one in trained], "train"),
            "learnt from": _by_source(data.train),
        },
    )
    learning = [
        {"seed": one.seed, **{name: list(values) for name, values in one.report.history.items()}}
        for one in trained
        if one.report.history
    ]
    decided = [*table.ids.tolist(), *data.deciding.ids.tolist()]
    rows = Rows.made(learnt=data.train.ids.tolist(), decided=decided)
    return Bundle(head, about, rows, learning, familiar(head, data.train, means))


def _by_source(table: Table) -> dict[str, dict[str, int]]:
    """Class → source → videos."""
    return {
        name: dict(sorted(Counter(str(s) or "none" for s in table.sources[own]).items()))
        for label, name in enumerate(table.classes)
        if (own := table.labels == label).any()
    }


def _validated(
    trained: Sequence[Trained], best: Trained, table: Table, means: Floats
) -> dict[str, float]:
    found = measure(means, table.labels, best.head.classes)
    scores = [one.report.best for one in trained]
    return {
        **{f"validation {name}": value for name, value in found.numbers().items()},
        "validation calibration error": reliability(means, table.labels).error,
        f"{best.report.metric}, mean of {len(trained)} seeds": float(np.mean(scores)),
        f"{best.report.metric}, deviation over seeds": float(np.std(scores)),
    }


def put_together(bundles: Sequence[Bundle]) -> Bundle:
    """Bundles about the same classes and features as one that averages their probabilities. It has
    no calibration: promises of its members are not its own."""
    first = bundles[0].about
    prints: dict[str, str] = {}
    for about in (one.about for one in bundles):
        if tuple(about.classes) != tuple(first.classes):
            raise BadBundle(
                f"Members must have the same classes: {', '.join(first.classes)}; one has "
                f"{', '.join(about.classes)}."
            )
        for key, found in about.fingerprints.items():
            if prints.setdefault(key, found) != found:
                raise WrongFeatures(f"Members were trained on {key} of different networks.")
    head = together([(one.head, one.about.temperature) for one in bundles])
    rows: dict[str, list[Hashes]] = {}
    for one in bundles:
        for name, found_rows in one.rows.of.items():
            rows.setdefault(name, []).append(found_rows)
    about = replace(
        first, head=head.name, config=asdict(head.config), fingerprints=prints,
        branches={name: text for one in bundles for name, text in one.about.branches.items()},
        temperature=1.0, conformal={}, calibration={}, operating=(), metrics={}, files={},
        provenance={**first.provenance, "members": [one.about.head for one in bundles]},
    )  # fmt: skip
    known = Rows(of={name: np.unique(np.concatenate(parts)) for name, parts in rows.items()})
    return Bundle(head, about, known)


def _branches(store: Store, table: Table, head: Head) -> dict[str, str]:
    found = bundle.branch_requests(store, table)
    return {key.partition("/")[0]: found[key.partition("/")[0]] for key in head.keys}
