"""What the commands do, as functions: `from heads import train, evaluate, compare, score, Bundle`.

Paths are text or `Path`; nothing is printed. The commands' own extras (resuming, files beside the
result, progress) stay with the commands.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features_store.store import Store
from heads.bundle import Bundle
from heads.data.splits import Choice, labelled, testing_protocols, usable
from heads.errors import BadSetting
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import make_head
from heads.judging.evaluation import Evaluation, Predictions, predictions
from heads.judging.evaluation import compare as compared
from heads.judging.evaluation import evaluate as evaluated

if TYPE_CHECKING:
    import pyarrow as pa

    from features_store.table import Table
    from heads.comparing.comparison import Comparison
    from heads.measuring.tests import Difference

At = str | Path
"""Where a store or a bundle is."""


def train(
    store: At | Store,
    head: str = "fusion",
    *,
    settings: Mapping[str, object] | None = None,
    seeds: int = 1,
    choice: Choice | None = None,
    device: str = "cpu",
) -> Bundle:
    """Train a head with several seeds; the best on the deciding videos comes back, without
    calibration: what chose the epoch promises nothing. `telltale train` calibrates out of fold.

    `settings` are the head's own (`telltale heads NAME` lists them), `choice` says which views and
    videos teach and decide. `Bundle.save(folder)` keeps it.
    """
    if seeds < 1:
        raise BadSetting(f"{seeds} seeds: give 1 or more.")
    opened = open_store(store)
    given = {name: str(value) for name, value in (settings or {}).items()}
    data = (choice or Choice()).load(opened, make_head(head, given, opened.classes))
    trained = train_seeds(
        lambda: make_head(head, given, opened.classes), data, range(seeds), device
    )
    return best_bundle(opened, trained, data)


def evaluate(
    bundle: At | Bundle, store: At | Store, *, protocol: str | None = None, split: str = "test"
) -> Evaluation:
    """Per source and on all videos, with intervals."""
    opened = open_bundle(bundle)
    return evaluated(_said(opened, open_store(store), protocol, split), opened.about.conformal)


def compare(
    first: At | Bundle,
    second: At | Bundle,
    store: At | Store,
    *,
    protocol: str | None = None,
    split: str = "test",
) -> "dict[str, Difference]":
    """Second minus first on the same videos, with intervals and paired tests."""
    opened = open_store(store)
    return compared(*(_said(open_bundle(b), opened, protocol, split) for b in (first, second)))


def compare_detectors(  # noqa: PLR0913 (what is compared, and how)
    store: At | Store,
    detectors: Sequence[str],
    *,
    out: At,
    seeds: int = 3,
    validation: float | None = None,
    against: str | None = None,
    device: str = "cpu",
) -> "Comparison":
    """Many detectors (names, or FILE.toml) on the same videos of one store.

    Runs are kept in the folder `out`: what was trained there before, with the same settings and
    videos, is not trained again. `heads.comparing.tables` makes text and CSV of what comes back.
    """
    from heads.comparing.run import Comparing, Plan
    from heads.detectors.recipe import read_recipes

    plan = Plan(
        recipes=read_recipes(",".join(detectors)), seeds=seeds, validation=validation,
        against=against, device=device,
    )  # fmt: skip
    comparing = Comparing(open_store(store), plan)
    for _ in comparing.runs(Path(out)):
        pass
    return comparing.collected()


def score(
    bundle: At | Bundle,
    store: At | Store,
    *,
    protocol: str | None = None,
    error_rate: str | None = None,
) -> "pa.Table":
    """A row per video of a store, as `telltale score` writes them. For videos without features
    there is the command: it decodes, resumes and keeps what it has done."""
    from heads.scoring.scorer import Scorer

    opened, known = open_store(store), open_bundle(bundle)
    scorer = Scorer(bundle=known, rate=error_rate)
    every = np.arange(opened.videos.count)
    names = opened.protocols()
    chosen = protocol or (names[0] if len(names) == 1 else known.about.protocol)
    return scorer.from_store(opened, chosen, every, scorer.status(opened, chosen, every))


def open_store(store: At | Store) -> Store:
    """A store that is open already, or the one at a place."""
    return store if isinstance(store, Store) else Store.open(store)


def open_bundle(bundle: At | Bundle) -> Bundle:
    """The same for bundles."""
    return bundle if isinstance(bundle, Bundle) else Bundle.load(Path(bundle))


def split_table(bundle: Bundle, store: Store, protocol: str | None, split: str) -> "Table":
    """The labelled videos of a split (or `all`), with what the bundle needs."""
    mask = labelled(store, split)
    names, own = store.protocols(), bundle.about
    chosen = protocol or (names[0] if len(names) == 1 else None)
    chosen = chosen or usable(store, testing_protocols(store, own.protocol), own.fingerprints, mask)
    return bundle.table(store, protocol=chosen or own.protocol, where=mask)


def _said(bundle: Bundle, store: Store, protocol: str | None, split: str) -> Predictions:
    return predictions(bundle, split_table(bundle, store, protocol, split))


__all__: Sequence[str] = ["Bundle", "compare", "compare_detectors", "evaluate", "score", "train"]
