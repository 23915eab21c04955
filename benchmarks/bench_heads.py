"""Training and scoring heads, against the loop that the field uses.

    python -m benchmarks.bench_heads [--runs 3] [--epochs 100] [--rows 1000000] [--device cpu]

1,000 videos x 2 views x 3,840 features, every view in every epoch, batch 64. Baseline: a module
as the paper writes it, DataLoader over a TensorDataset, AdamW as it comes. The ablation is the
paper's Table 3 with the default settings, one view of a video in an epoch, so half the samples: one
head after another, and in processes; CPU only, as scoring is. Scoring: a store of `--rows` videos
read and scored in parts by the folded head, against reading the same arrays and doing nothing.
"""

import argparse
import os
import resource
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import measure
from extract import processes
from features_store import ArraySpec, BranchSpec, Store
from features_store.table import Table
from heads.head import make_head
from heads.judging.ablation import TABLE_3
from heads.parts import arrays
from heads.training import side_by_side
from heads.training.losses import rank_weights, smoothed_losses
from heads.training.threads import one_thread
from heads.zoo.fusion import Fusion, FusionConfig

CLASSES = ("appearance", "spatial", "motion", "real")
WIDTH, ATTN, DEPTH = 1024, 768, 1024
VIDEOS, VIEWS = 1000, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    rows = training(arguments.epochs, arguments.runs, arguments.device)
    if arguments.device != "cpu":  # a GPU's file holds no CPU's figures
        measure.report("heads", rows, ("torch", "numpy"))
        return
    rows += ablation(arguments.epochs, arguments.runs)
    with tempfile.TemporaryDirectory() as folder:
        rows += scoring(Path(folder), arguments.rows, arguments.runs)
    measure.report("heads", rows, ("torch", "numpy"))


def table(videos: int, seed: int) -> Table:
    """A direction per class, and noise."""
    random, directions = np.random.default_rng(seed), np.random.default_rng(99)
    labels = (np.arange(videos) % 4).astype(np.int16)
    made = {}
    for key, shape in shapes().items():
        centres = directions.normal(size=(4, shape[-1])) * 0.1
        numbers = random.normal(size=(videos, *shape)).astype(np.float32)
        numbers += centres[labels].reshape(videos, *[1] * (len(shape) - 1), shape[-1])
        made[key] = numbers.astype(np.float16)
    text = np.dtypes.StringDType()
    return Table(
        protocol="train-2", classes=CLASSES, rows=np.arange(videos),
        ids=np.array([f"{seed}/{i}.mp4" for i in range(videos)], text), labels=labels,
        ranks=random.uniform(size=videos), sources=np.array(["a"] * videos, text),
        splits=np.array(["train"] * videos, text), arrays=made,
        fingerprints=dict.fromkeys(made, "0" * 64),
    )  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    return {
        arrays.CLS: (VIEWS, WIDTH), arrays.AVG: (VIEWS, WIDTH), arrays.ATTN: (VIEWS, ATTN),
        arrays.DEPTH: (VIEWS, 2, DEPTH),
    }  # fmt: skip


class AsWritten(nn.Module):
    """The head as in the paper, sample by sample through fc1."""

    def __init__(self) -> None:
        super().__init__()
        self.down_norm = nn.BatchNorm1d(WIDTH, eps=1e-6, affine=False)
        self.fc_norm = nn.LayerNorm(ATTN)
        self.fc1 = nn.Linear(2 * WIDTH + ATTN, DEPTH)
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.head = nn.Linear(DEPTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        pair = torch.stack([x[:, :WIDTH], x[:, WIDTH : 2 * WIDTH]], 2)
        video = self.down_norm(pair).flatten(1)
        video = self.fc1(torch.cat([video, self.fc_norm(x[:, 2 * WIDTH : -DEPTH])], 1))
        logits: Tensor = self.head(self.alpha * video + (1 - self.alpha) * x[:, -DEPTH:])
        return logits


def the_usual_loop(train: Table, validation: Table, epochs: int, device: str) -> None:
    keys = tuple(train.arrays)
    x = arrays.matrix(train, keys).flatten(0, 1)
    targets = torch.from_numpy(np.repeat(train.labels, VIEWS).astype(np.int64))
    weights = rank_weights(torch.from_numpy(np.repeat(train.ranks, VIEWS)).float())
    loader = DataLoader(TensorDataset(x, targets, weights), batch_size=64, shuffle=True)
    judge = arrays.matrix(validation, keys).flatten(0, 1).to(device)
    model = AsWritten().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(loader))
    for _ in range(epochs):
        model.train()
        for batch, labels, weight in loader:
            losses = smoothed_losses(model(batch.to(device)), labels.to(device), 0.1)
            optimiser.zero_grad()
            (losses * weight.to(device)).mean().backward()
            optimiser.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            model(judge).softmax(1).cpu()


def ours(train: Table, validation: Table, epochs: int, device: str) -> None:
    config = FusionConfig(epochs=epochs, views="all")
    Fusion(config, CLASSES).fit(train, validation, device=device)


def training(epochs: int, runs: int, device: str) -> list[measure.Row]:
    train, validation = table(VIDEOS, 0), table(200, 1)
    usual, its_own = "module, DataLoader, AdamW, one thread", "the same on torch's own threads"

    def on_one_thread() -> None:
        with one_thread(device):
            the_usual_loop(train, validation, epochs, device)

    seconds = measure.interleaved(
        {
            usual: on_one_thread,
            "telltale fusion, one thread": lambda: ours(train, validation, epochs, device),
            its_own: lambda: the_usual_loop(train, validation, epochs, device),
        },
        runs=runs,
        warm_up=0 if epochs > 20 else 1,
    )
    ratios = measure.against(seconds, usual)
    rows: list[measure.Row] = [
        {"what": f"train, {epochs} epochs: {name}", "s": value} for name, value in seconds.items()
    ]
    for row, name in zip(rows, seconds, strict=True):
        if name != its_own:  # other threads: no ratio
            row["speed against the usual loop"] = ratios[name]
    return rows


def ablation(epochs: int, runs: int) -> list[measure.Row]:
    train, validation = table(VIDEOS, 0), table(200, 1)
    fits = [
        (settings, seed) for settings in TABLE_3.values() for seed in range(5)
    ]  # as `telltale ablate` does them

    def done(count: int) -> None:
        os.environ[side_by_side.SWITCH] = str(count)
        made = (
            side_by_side.Fit(
                head=make_head("fusion", {**settings, "epochs": str(epochs)}, CLASSES),
                train=train, deciding=validation, seed=seed,
            )
            for settings, seed in fits
        )  # fmt: skip
        for _ in side_by_side.learnt(made):
            pass

    cores = processes.cores()
    alone, beside = "one after another", f"in {cores} processes"
    ways = {alone: lambda: done(1), beside: lambda: done(cores)}
    seconds = measure.interleaved(ways, runs=runs, warm_up=0)
    ratios = measure.against(seconds, alone)
    return [
        {
            "what": f"ablation, 4 rows x 5 seeds, {name}", "s": value, "epochs": epochs,
            "views of a video and epoch": 1, "runs": runs, "speed": ratios[name],
        }
        for name, value in seconds.items()
    ]  # fmt: skip


def scoring(folder: Path, rows: int, runs: int) -> list[measure.Row]:
    """One view per video; the store is written here."""
    store = write_store(folder / "s", rows)
    head = Fusion(FusionConfig(epochs=1), CLASSES)
    one_view = {key: array[:, :1] for key, array in table(64, 0).arrays.items()}
    small = replace(table(64, 0), arrays=one_view)
    head.fit(small, small)
    keys = tuple(shapes())
    size = rows * 2 * (2 * WIDTH + ATTN + 2 * DEPTH)

    def read() -> None:
        for _ in store.stream(keys, batch=4096):
            pass

    def score() -> None:
        for part in store.stream(keys, batch=4096):
            head.predict(part)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = measure.interleaved({"read": read, "score": score}, runs=runs, warm_up=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return [
        {
            "what": f"{name} {rows} videos from a store", "s": value, "GB/s": size / value / 1e9,
            "videos/s": rows / value, "of reading": seconds["read"] / value,
            "memory grew by MB": peak - before,
        }
        for name, value in seconds.items()
    ]  # fmt: skip


def write_store(place: Path, rows: int) -> Store:
    store = Store.create(place, scheme="hfv4", classes=CLASSES)
    store.add_videos({"id": [f"{i}.mp4" for i in range(rows)]})
    random = np.random.default_rng(0)
    for branch in ("internvideo2", "depthpro"):
        specs = {
            key.partition("/")[2]: ArraySpec(shape=(1, *shape[1:]))
            for key, shape in shapes().items()
            if key.startswith(branch)
        }
        made = store.branch(
            "val", BranchSpec(name=branch, preset="tiny", fingerprint="0" * 64, arrays=specs)
        )
        block = {
            name: random.normal(size=(made.shard_rows, *spec.shape)).astype(np.float16)
            for name, spec in specs.items()
        }
        for shard in range(made.shards):
            count = len(made.rows(shard))
            made.write_shard(shard, {name: array[:count] for name, array in block.items()})
    return store


if __name__ == "__main__":
    main()
