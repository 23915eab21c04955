"""From a store to a bundle: several seeds, the best kept, calibrated on the validation videos."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from features_store.store import Store
from features_store.table import Table
from heads import bundle
from heads.bundle import About, Bundle
from heads.data.splits import Data
from heads.head import FitReport, Head, OnEpoch
from heads.judging.calibration import conformal_thresholds, fit_temperature, reliability, tempered
from heads.judging.metrics import averaged, has_result, measure
from heads.judging.novelty import familiar


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
    on_epoch: OnEpoch | None = None,
) -> list[Trained]:
    """Train one head per seed."""
    trained = []
    for seed in seeds:
        head = make()
        report = head.fit(data.train, data.validation, seed=seed, device=device, on_epoch=on_epoch)
        trained.append(Trained(seed=seed, head=head, report=report))
    return trained


def best_bundle(store: Store, trained: Sequence[Trained], data: Data) -> Bundle:
    """The seed that was best on validation, with its papers; its temperature and thresholds come
    from the same videos."""
    best = max(trained, key=lambda one: one.report.best)
    head, table = best.head, data.validation
    probabilities = head.predict(table)
    there = has_result(averaged(probabilities))
    table, probabilities = table.take(there), probabilities[there]
    temperature = fit_temperature(probabilities, table.labels)
    means = averaged(tempered(probabilities, temperature))
    found = measure(means, table.labels, head.classes)
    scores = [one.report.best for one in trained]
    metrics = {f"validation {name}": value for name, value in found.numbers().items()}
    metrics |= {
        "validation calibration error": reliability(means, table.labels).error,
        f"{best.report.metric}, mean of {len(trained)} seeds": float(np.mean(scores)),
        f"{best.report.metric}, deviation over seeds": float(np.std(scores)),
        "training videos": len(data.train),
        "validation videos": len(table),
    }
    about = About(
        head=head.name,
        config=asdict(head.config),
        scheme=store.scheme,
        classes=head.classes,
        protocol=table.protocol,
        fingerprints={key: table.fingerprints[key] for key in head.keys},
        branches=_branches(store, table, head),
        temperature=temperature,
        conformal=conformal_thresholds(means, table.labels),
        metrics=metrics,
        provenance=bundle.provenance(store, [one.seed for one in trained], "train"),
    )
    return Bundle(head, about, familiar(head, data.train, means))


def _branches(store: Store, table: Table, head: Head) -> dict[str, str]:
    found = bundle.branch_requests(store, table)
    return {key.partition("/")[0]: found[key.partition("/")[0]] for key in head.keys}
