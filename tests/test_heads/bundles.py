"""Trained heads for tests, and scores as rows by video."""

from dataclasses import replace
from pathlib import Path

from features_store import Store
from heads.bundle import Bundle
from heads.data.splits import Choice
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import make_head
from heads.scoring.output import read_scores
from tests.test_heads.archives import scorer


def train_bundle(store: Store, folder: Path, protocol: str, **settings: str) -> Bundle:
    chosen = {"epochs": "8", "lr": "3e-3", "rank_loss": "false", **settings}
    head = make_head("fusion", chosen, store.classes)
    data = Choice(protocol=protocol, validation=0.3).load(store, head)
    trained = train_seeds(lambda: make_head("fusion", chosen, store.classes), data, [0])
    return best_bundle(store, trained, data).save(folder)


def by_id(path: Path) -> dict[str, dict[str, object]]:
    found = read_scores(path).to_pylist()
    assert len({row["id"] for row in found}) == len(found)
    return {str(row["id"]): row for row in found}


def small_bundle(place: Path) -> Path:
    """Of the `tiny` networks; its head learnt from random numbers."""
    made = scorer().bundle
    about = replace(
        made.about, config={"epochs": 1},
        branches={name: f"{name}=tiny" for name in ("internvideo2", "depthpro")},
    )  # fmt: skip
    Bundle(made.head, about).save(place)
    return place
