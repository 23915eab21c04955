"""Train the two `tiny` networks on made-up clips: `python -m benchmarks.train_tiny --out FOLDER`.

Clips are drawn as they are needed (`tiny_clips`), each is looked at a few times, with other tokens
kept each time (`tiny_goals`). The rate is constant until `--decay-from`, then falls to nothing at
`--rounds`, so that a run can be given more rounds as long as it has not begun to fall. All that is
random follows from the seed, the process and the round: a killed run goes on from its last
checkpoint as if nothing had been. Several processes average their gradients:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.train_tiny --out FOLDER

At the end `FOLDER/internvideo2-tiny.safetensors` and `FOLDER/depthpro-tiny.safetensors` hold the
weights in half precision, `FOLDER/curve.jsonl` a line per round.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from benchmarks import tiny_goals, tiny_start
from benchmarks.tiny_clips import Sample, four
from benchmarks.tiny_goals import DepthGoals, VideoGoals, depth_batch, video_batch
from extract.branches import depthpro, internvideo2
from features_store.schema import fingerprint
from heads.finetuning.checkpoints import (
    Checkpoint,
    copy_into,
    optimiser_state,
    restore_optimiser,
)
from heads.finetuning.processes import Processes, processes
from heads.finetuning.tensor_file import write_tensors

FILES = {"internvideo2": "internvideo2-tiny.safetensors", "depthpro": "depthpro-tiny.safetensors"}
REVISION = 3
"""Raised when clips or goals change."""
CASTS_SEEN = 40
"""Before training begins, for the patch embeddings to start from."""
_START, _TRAIN = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the weights, besides the number of rounds."""

    seed: int = 1
    fours: int = 32
    """Casts a round and process; each gives a clip of every class."""
    looks: int = 4
    """How often each clip is looked at."""
    batch: int = 8
    """Of one process."""
    depth_batch: int = 8
    """The first so many of a batch are shown to the depth network too."""
    keep: int = 12
    """Tokens of each frame, of 64."""
    depth_keep: int = 160
    """Tokens of a picture, of 576."""
    rate: float = 1e-3
    """Of what AdamW moves: embeddings, norms, biases, readouts."""
    block_rate: float = 2e-3
    """Of the blocks' matrices, which Muon moves."""
    decay: float = 0.03
    warm: int = 200
    """Steps."""


class Trainee(nn.Module):
    """Both networks with their readouts."""

    def __init__(self) -> None:
        super().__init__()
        depth = depthpro.PRESETS["tiny"]
        self.video = VideoGoals(internvideo2.InternVideo2(internvideo2.PRESETS["tiny"]))
        self.depth = DepthGoals(depthpro.DepthProEncoder(depth), depth.width, depth.out)

    def start(self, seed: int) -> None:
        samples = [
            sample for number in range(CASTS_SEEN) for sample in four((seed, _START, number))
        ]
        tiny_start.start_video(self.video.model, samples, seed)
        tiny_start.start_depth(self.depth.model, samples, seed)

    def losses(self, samples: Sequence[Sample], recipe: Recipe, seed: tuple[int, ...],
               device: str) -> dict[str, Tensor]:  # fmt: skip
        side = self.video.model.architecture.side
        batch = _moved(video_batch(samples, recipe.keep, side, (*seed, 0)), device)
        states = torch.from_numpy(np.stack([sample.states_tk for sample in samples]))
        kinds = torch.tensor([sample.kind for sample in samples])
        labels = torch.tensor([sample.label for sample in samples])
        found = self.video(batch, states.to(device), kinds.to(device), labels.to(device))
        shown = samples[: recipe.depth_batch]
        batch = _moved(depth_batch(shown, recipe.depth_keep, 24, (*seed, 1)), device)
        state = torch.from_numpy(np.stack([sample.depth_state_k for sample in shown]))
        faulty = ((state[:, 1] > 0) | (state[:, 6] > 0.1)).float()
        depth = self.depth(batch, state.to(device), faulty.to(device))
        return {**found, **{f"depth {name}": loss for name, loss in depth.items()}}


def _moved(batch: tiny_goals.Batch, device: str) -> tiny_goals.Batch:
    names = tiny_goals.Batch.__slots__
    return tiny_goals.Batch(**{name: getattr(batch, name).to(device) for name in names})


class Run:
    """One process's part of the training."""

    def __init__(self, recipe: Recipe, out: Path, crew: Processes, begin: Path | None) -> None:
        self.recipe, self.out, self.crew = recipe, out, crew
        self.facts: dict[str, object] = {
            "recipe": asdict(recipe),
            "revision": REVISION,
            "processes": crew.count,
            "internvideo2": asdict(internvideo2.PRESETS["tiny"]),
            "depthpro": asdict(depthpro.PRESETS["tiny"]),
        }
        torch.manual_seed(recipe.seed)
        self.net = Trainee().to(crew.device)
        self.names: dict[Tensor, str] = {p: name for name, p in self.net.named_parameters()}
        self.optimisers = _optimisers(self.net, recipe)
        self.round = 0
        self.step = 0
        if begin is not None:
            self.facts["begun from"] = hashlib.sha256(begin.read_bytes()).hexdigest()[:12]
        if self.checkpoint.exists():
            self._restore()
        elif begin is not None:
            with safe_open(begin, "pt") as file:
                names = self.net.state_dict()
                self.net.load_state_dict({n: file.get_tensor(f"live|{n}") for n in names})
        else:
            self.net.start(recipe.seed)

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.safetensors"

    def _restore(self) -> None:
        found = Checkpoint.load(self.checkpoint, self.facts)
        copy_into(dict(self.net.named_parameters()), found.tensors["live"])
        for number, optimiser in enumerate(self.optimisers):
            own: dict[Tensor, str] = {
                p: self.names[p] for group in optimiser.param_groups for p in group["params"]
            }
            restore_optimiser(optimiser, own, found.tensors[f"optimiser {number}"])
        self.step, self.round = found.step, round(found.history[-1])

    def save(self) -> None:
        tensors: dict[str, dict[str, Tensor]] = {"live": dict(self.net.named_parameters())}
        for number, optimiser in enumerate(self.optimisers):
            tensors[f"optimiser {number}"] = optimiser_state(optimiser, self.names)
        one = Checkpoint(step=self.step, tensors=tensors, history=[float(self.round)])
        one.save(self.checkpoint, self.facts, writes=self.crew.first)
        self.crew.wait()

    def one_round(self, factor: float) -> dict[str, float]:
        """Draw clips, look at each a few times; the mean of each loss."""
        recipe, place = self.recipe, (self.recipe.seed, _TRAIN, self.crew.rank, self.round)
        samples = [s for number in range(recipe.fours) for s in four((*place, number))]
        order = np.random.default_rng(place)
        sums: dict[str, float] = {}
        count = 0
        for _ in range(recipe.looks):
            # Whole fours, so that what tells their classes apart is the fault alone.
            casts = order.permutation(recipe.fours)
            shuffled = (4 * casts[:, None] + np.arange(4)).flatten()
            for first in range(0, len(samples), recipe.batch):
                chosen = [samples[i] for i in shuffled[first : first + recipe.batch]]
                warm = min(1.0, (self.step + 1) / recipe.warm)
                for optimiser in self.optimisers:
                    for group in optimiser.param_groups:
                        group["lr"] = group["full_rate"] * warm * factor
                for name, loss in self._update(chosen, (*place, count)).items():
                    sums[name] = sums.get(name, 0.0) + loss
                count += 1
                self.step += 1
        self.round += 1
        return {name: total / count for name, total in sums.items()}

    def _update(self, samples: Sequence[Sample], seed: tuple[int, ...]) -> dict[str, float]:
        losses = self.net.losses(samples, self.recipe, seed, self.crew.device)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=False)
        tiny_goals.by_weight(losses).backward()  # type: ignore[no-untyped-call]
        parameters = list(self.names)
        if self.crew.count > 1:
            flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            torch.distributed.all_reduce(flat)
            flat /= self.crew.count
            start = 0
            for p in parameters:
                if p.grad is not None:
                    p.grad.copy_(flat[start : start + p.numel()].view_as(p))
                    start += p.numel()
        nn.utils.clip_grad_norm_(self.net.video.parameters(), 1.0)
        nn.utils.clip_grad_norm_(self.net.depth.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def export(self) -> None:
        """The networks without their readouts, in half precision."""
        about = {
            "recipe": fingerprint(self.facts),
            "settings": json.dumps(self.facts),
            "rounds": str(self.round),
        }
        models = {"internvideo2": self.net.video.model, "depthpro": self.net.depth.model}
        for name, model in models.items():
            state = {key: value.detach().half() for key, value in model.state_dict().items()}
            write_tensors(self.out / FILES[name], state, about)


def _optimisers(net: Trainee, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for the rest."""
    named = dict(net.named_parameters())
    blocks = [p for name, p in named.items() if ".blocks." in name and p.ndim == 2]
    inside = set(blocks)
    rest = [p for p in named.values() if p not in inside]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True),
        torch.optim.Muon(
            blocks, lr=recipe.block_rate, weight_decay=recipe.decay, adjust_lr_fn="match_rms_adamw"
        ),
    ]
    for optimiser in found:
        for group in optimiser.param_groups:
            group["full_rate"] = group["lr"]
    return found


def train(run: Run, rounds: int, decay_from: int, every: int) -> None:
    started = time.monotonic()
    while run.round < rounds:
        left = (rounds - run.round) / max(1, rounds - decay_from)
        losses = run.one_round(min(1.0, left))
        if run.crew.first:
            line: dict[str, float] = {"round": run.round, "step": run.step}
            line |= {"seconds": round(time.monotonic() - started)}
            line |= {name: round(loss, 4) for name, loss in losses.items()}
            with (run.out / "curve.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if run.round % every == 0 or run.round == rounds:
            run.save()
            if run.crew.first:
                run.export()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the tiny networks on made-up clips.")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument(
        "--decay-from", type=int, default=800, help="the round after which the rate falls"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--begin", type=Path, help="a checkpoint of another run to begin from")
    parser.add_argument("--every", type=int, default=5, help="rounds between checkpoints")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    with processes(given.device) as crew:
        run = Run(Recipe(seed=given.seed), given.out, crew, given.begin)
        train(run, given.rounds, given.decay_from, given.every)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
