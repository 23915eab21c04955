"""Does fine-tuning pay? `python -m benchmarks.finetune_quality [--videos N] [--seeds 5]`.

Made-up videos and the `tiny` backbone. Frozen features with a fusion head, then the pool, the last
two blocks, and everything, from the same start, judged on videos that nothing was chosen by. The
end-to-end run decodes clips and takes cached depth. Says how much the parts of the chain learn,
nothing about real forgeries.
"""

import argparse
import math
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy import stats

from benchmarks import measure
from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from features_store import Store
from heads.data.splits import TEST, Choice, in_split
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.processes import Processes
from heads.finetuning.setup import Request, prepared
from heads.fitting.seeds import train_seeds
from heads.head import make_head
from heads.measuring.metrics import averaged
from heads.measuring.metrics import measure as measured

OUTPUTS = "cls,avg,attn,tokens,tokens@2"
BACKBONE = BranchRequest.parse("internvideo2=tiny?precision=float32")
WAYS = ("frozen", "pool", "blocks=2", "end-to-end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way, one seed."""

    folder: Path
    way: str
    seed: int
    protocol: str
    epochs: int
    lr: float
    device: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--protocol", default="val")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="trials at a time")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--folder", type=Path, help="keep the data set here")
    parser.add_argument("--quick", action="store_true", help="shows that it works, nothing more")
    given = parser.parse_args()
    if given.quick:
        given.videos, given.seeds, given.epochs = 24, 2, 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        if not (folder / "store.zarr").exists():
            prepare(folder, given.videos, given.protocol, given.device)
        trials = [
            Trial(folder=folder, way=way, seed=seed, protocol=given.protocol, epochs=given.epochs,
                  lr=given.lr, device=given.device)
            for seed in range(given.seeds)
            for way in given.ways.split(",")
        ]  # fmt: skip
        with ProcessPoolExecutor(given.processes) as pool:
            found = list(pool.map(run, trials))
    rows = [row(way, [one for one in found if one["way"] == way]) for way in given.ways.split(",")]
    theme = "finetune_quality_quick" if given.quick else "finetune_quality"
    measure.report(theme, rows, ("torch",))


def prepare(folder: Path, videos: int, protocol: str, device: str) -> None:
    for _ in write_data_set(folder / "data", SyntheticOptions(videos=videos, seed=1)):
        pass
    texts = (f"internvideo2=tiny?outputs={OUTPUTS}&dtype=float32&precision=float32",
             "depthpro=tiny?precision=float32")  # fmt: skip
    branches = [load_branch(replace(BranchRequest.parse(text), device=device)) for text in texts]
    manifest = read_manifest(str(folder / "data"))
    settings = Settings(protocol=protocol)
    Extraction.begin(manifest, folder / "store.zarr", branches, settings).run(bar=False)


def run(trial: Trial) -> measure.Row:
    """Accuracy and AUC on split `test`."""
    torch.set_num_threads(1)
    store = Store.open(trial.folder / "store.zarr")
    choice = Choice(protocol=trial.protocol)
    head = make_head("fusion", {"epochs": "60", "select": "loss"}, store.classes)
    if trial.way == "frozen":
        data = choice.load(store, head)
        (trained,) = train_seeds(lambda: head, data, [trial.seed])
        table = store.table(head.keys, protocol=trial.protocol, where={"split": "test"})
        probabilities, labels = trained.head.predict(table), table.labels
    else:
        config = FinetuneConfig(
            epochs=trial.epochs, batch=16, lr=trial.lr, layer_decay=0.9, select="loss", warmup=0.1
        )
        raw = trial.way == "end-to-end"
        request = Request(
            store=store, backbone=replace(BACKBONE, device=trial.device),
            reach=trial.way, config=config, choice=choice, seed=trial.seed,
            videos=read_manifest(str(trial.folder / "data")) if raw else None, workers=2,
        )  # fmt: skip
        with prepared(request, Processes(device=trial.device)) as ready:
            ready.finetuner.fit()
            test = ready.source(in_split(store, TEST))
            try:
                probabilities = ready.finetuner.probabilities(test)
            finally:
                test.close()
            labels = test.table.labels
    found = measured(averaged(probabilities), labels, store.classes)
    print(trial.way, trial.seed, f"accuracy {found.accuracy:.3f} auc {found.auc:.3f}", flush=True)
    return {"way": trial.way, "accuracy": found.accuracy, "auc": found.auc, "videos": found.videos}


def row(way: str, found: list[measure.Row]) -> measure.Row:
    """Mean over seeds, and half the width of its 95% interval."""
    told: measure.Row = {"what": way, "seeds": len(found), "test videos": found[0]["videos"]}
    for name in ("accuracy", "auc"):
        numbers = [float(str(one[name])) for one in found]
        told[name] = statistics.mean(numbers)
        if len(numbers) > 1:
            spread = statistics.stdev(numbers) / math.sqrt(len(numbers))
            told[f"{name} ±"] = spread * float(stats.t.ppf(0.975, len(numbers) - 1))
    return told


if __name__ == "__main__":
    main()
