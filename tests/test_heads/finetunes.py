"""A small store for fine-tuning: made-up videos, both branches, tokens in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from features_store import Store
from heads.bundle import Bundle
from heads.data.splits import Choice
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.processes import Processes
from heads.finetuning.setup import Prepared, Request, prepared
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import make_head

PROTOCOL, SEED = "train-2", 5
TOKENS = "cls,avg,attn,tokens,tokens@2,tokens@3"
CHOICE = Choice(protocol=PROTOCOL, validation=0.3)


def write_store(folder: Path, count: int = 20, options: str = "") -> Manifest:
    """Videos in `data`, their features in `store.zarr`."""
    for _ in write_data_set(folder / "data", SyntheticOptions(videos=count, difficulty=0.0)):
        pass
    manifest = read_manifest(str(folder / "data"))
    requests = (f"internvideo2=tiny?{options}outputs={TOKENS}&dtype=float32", "depthpro=tiny")
    branches = [load_branch(BranchRequest.parse(text)) for text in requests]
    settings = Settings(protocol=PROTOCOL, seed=SEED, shard_rows=4)
    Extraction.begin(manifest, folder / "store.zarr", branches, settings).run(workers=2, bar=False)
    return manifest


def config(**changes: object) -> FinetuneConfig:
    plain = {"epochs": 2, "batch": 4, "lr": 1e-3, "select": "loss"}
    return FinetuneConfig(**{**plain, **changes})  # type: ignore[arg-type]


def train_head(folder: Path, store: Store) -> Bundle:
    """The fusion head on the cached features, as a bundle in `head`."""
    settings = {"epochs": "5"}
    data = CHOICE.load(store, make_head("fusion", settings, store.classes))
    trained = train_seeds(lambda: make_head("fusion", settings, store.classes), data, [0])
    return best_bundle(store, trained, data).save(folder / "head")


@contextmanager
def finetuning(
    folder: Path, reach: str = "blocks=1", processes: Processes | None = None, **changes: object
) -> Iterator[Prepared]:
    """`changes` are fields of Request, and `config` among them."""
    plain = {
        "store": Store.open(folder / "store.zarr"),
        "backbone": BranchRequest.parse("internvideo2=tiny"),
        "reach": reach,
        "config": config(),
        "choice": CHOICE,
    }
    with prepared(Request(**{**plain, **changes}), processes) as ready:  # type: ignore[arg-type]
        yield ready
