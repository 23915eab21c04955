"""Three small networks that find planted defects of faces, hands and bodies.

    python -m benchmarks.anatomy_tiny --frames 3000 --steps 1000 --out FOLDER

Two generators of made-up people are learnt from, two others judge (see `anatomy_frames`): frames in
which one defect can be seen, half of them with it, half as they were before. A tenth of what is
learnt from is kept aside, to say how much of what is missed is due to the other generators. FOLDER
gets human, face and hand as `anatomy=tiny:FOLDER` reads them. Nothing here says anything about real
videos.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.anatomy_frames import PART_OF, Crop, Drawn, Frame, frames, lies_on
from extract.branches.anatomy import PARTS
from extract.networks.simmim import Architecture, SimMim
from extract.people.crops import crop_look
from extract.people.detections import KINDS, Kind
from extract.synthesis.data_set import GENERATORS
from heads.commands.device import DEVICE_HELP, one_device
from heads.measuring.intervals import Interval, auc, wilson

LEARNT, JUDGED = GENERATORS[:2], GENERATORS[2:]
DECAY, HEAD, SCORED = 0.05, 24, 256
"""Weight decay; channels of an attention head; crops that are scored at a time."""
WHERE = 3.0
"""How much the patches count beside the verdict."""
COLOUR, NOISE = 0.2, 0.1
"""How far a crop's colours are scaled and disturbed while it is learnt from, in deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Of one kind, on the device."""

    pixels: Tensor
    wrong: Tensor
    where: Tensor
    """Which patches of each show the defect."""

    @staticmethod
    def of(made: Sequence[Frame], kind: Kind, device: str) -> "Crops":
        crops = [crop for one in made for crop in one.crops if crop.kind == kind]
        return Crops(
            pixels=torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(device),
            wrong=torch.tensor([crop.wrong for crop in crops], device=device),
            where=torch.from_numpy(np.stack([crop.where for crop in crops])).to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How a network learns."""

    architecture: Architecture
    steps: int
    batch: int
    rate: float
    seed: int


def learn(crops: Crops, how: Learning) -> SimMim:
    """From nothing; of every batch half is wrong. Abnormal is logit 0, as in the released ones.

    A layer that is thrown away afterwards has to say of each patch whether it shows the defect:
    the verdict alone says too little of where to look to learn it from so few crops.
    """
    device = crops.pixels.device
    random = torch.Generator(device).manual_seed(how.seed)
    model = SimMim(how.architecture)
    model.start(how.seed)
    places = nn.Linear(how.architecture.width, 1)
    model.to(device)
    places.to(device)
    parameters = [*model.parameters(), *places.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, how.rate, betas=(0.9, 0.98), weight_decay=DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, how.rate, total_steps=how.steps + 1, pct_start=0.15
    )
    each = [torch.nonzero(those)[:, 0] for those in (crops.wrong, ~crops.wrong)]
    target = torch.arange(2, device=device).repeat_interleave(how.batch // 2)
    for _ in range(how.steps):
        rows = torch.cat([
            those[torch.randint(len(those), (how.batch // 2,), device=device, generator=random)]
            for those in each
        ])  # fmt: skip
        x, where = varied(normal(crops.pixels[rows], how.architecture), crops.where[rows], random)
        tokens = model.embed(x)
        for block in model.blocks:
            tokens = block(tokens)
        loss = functional.cross_entropy(model.head(model.pooled(tokens)), target)
        found = places(tokens[:, 1:])[..., 0]
        loss = loss + WHERE * functional.binary_cross_entropy_with_logits(
            found, where.flatten(1).float()
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
    return model.eval()


def varied(x_bchw: Tensor, where_bnn: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of them flipped, each in other colours and with noise."""
    device, count = x_bchw.device, len(x_bchw)
    flips = torch.rand(count, 1, 1, device=device, generator=random) < 0.5
    x_bchw = torch.where(flips[..., None], x_bchw.flip(-1), x_bchw)
    where_bnn = torch.where(flips, where_bnn.flip(-1), where_bnn)
    scale = torch.randn(count, 3, 1, 1, device=device, generator=random)
    noise = torch.randn(x_bchw.shape, device=device, generator=random)
    return x_bchw * (1 + COLOUR * scale) + NOISE * noise, where_bnn


def normal(pixels_nhwc: Tensor, architecture: Architecture) -> Tensor:
    look = crop_look(architecture.image)
    mean, std = (
        torch.tensor(x, device=pixels_nhwc.device).view(3, 1, 1) for x in (look.mean, look.std)
    )
    return (pixels_nhwc.permute(0, 3, 1, 2).float() / 255 - mean) / std


@torch.inference_mode()
def scores(model: SimMim, pixels: Tensor) -> NDArray[np.float64]:
    parts = [
        model(normal(part, model.architecture)).softmax(1)[:, 0]
        for part in torch.split(pixels, SCORED)
    ]
    return np.asarray(torch.cat(parts).double().cpu().numpy())


def judge(models: dict[Kind, SimMim], judged: Sequence[Frame], device: str) -> dict[str, Any]:
    """AUC of each part's crops, and whether the worst crop of a frame is where its defect is."""
    result: dict[str, Any] = {}
    by_kind: dict[Kind, NDArray[np.float64]] = {}
    for kind in KINDS:
        crops = Crops.of(judged, kind, device)
        by_kind[kind] = scores(models[kind], crops.pixels)
        result[f"AUC of {kind}"] = told(by_kind[kind], crops)
    places = dict.fromkeys(KINDS, 0)
    hits, on_it, worst_of, has_defect = 0, 0, [], []
    for each in judged:
        said: list[tuple[float, Crop]] = []
        for crop in each.crops:
            said.append((float(by_kind[crop.kind][places[crop.kind]]), crop))
            places[crop.kind] += 1
        worst, where = max(said, key=lambda pair: pair[0])
        worst_of.append(worst)
        has_defect.append(bool(each.defects))
        if each.defects and worst > 0.5:
            hits += 1
            (defect,) = each.defects
            on_it += PART_OF[defect.kind] == where.kind and lies_on(where.box, defect)
    flags = np.array(has_defect)
    result["AUC of frames, by the worst part"] = _said(auc(np.array(worst_of), flags))
    found = wilson(hits, int(flags.sum()))
    alarms = int((np.array(worst_of)[~flags] > 0.5).sum())
    result["found at one half"] = _said(found)
    result["false alarms at one half"] = _said(wilson(alarms, int((~flags).sum())))
    result["hits whose box lies on the defect"] = _said(wilson(on_it, hits))
    return result


def told(scores_n: NDArray[np.float64], crops: Crops) -> dict[str, Any]:
    """How well scores tell wrong crops."""
    wrong = crops.wrong.cpu().numpy()
    return {**_said(auc(scores_n, wrong, ("fine", "wrong"))), "wrong": int(wrong.sum())}


def _said(found: Interval) -> dict[str, Any]:
    return {
        "value": round(100 * found.value, 1), "low": round(100 * found.low, 1),
        "high": round(100 * found.high, 1), "n": found.n,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3000, help="to learn from")
    parser.add_argument("--judged", type=int, default=1000, help="frames of other generators")
    parser.add_argument("--steps", type=int, default=1000, help="of each network")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="the largest learning rate")
    parser.add_argument("--image", type=int, default=128, help="pixels of a crop's side")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--depth", type=int, default=4, help="blocks")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw frames")
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the networks go")
    given = parser.parse_args(arguments)
    device = one_device(given.device)
    torch.set_float32_matmul_precision("high")
    begun = time.perf_counter()
    image = given.image
    to_learn, to_judge = (Drawn(generators=each, image=image, twins=twins)
                          for each, twins in ((LEARNT, True), (JUDGED, False)))  # fmt: skip
    with _workers(given.workers) as pool:
        learnt = frames(to_learn, given.frames, 1_000_000 * (given.seed + 1), pool)
        judged = frames(to_judge, given.judged, 9_000_000 + 100_000 * given.seed, pool)
    result: dict[str, Any] = {"seconds to draw": round(time.perf_counter() - begun)}
    how = Learning(
        architecture=Architecture(
            image=image, width=given.width, depth=given.depth, heads=max(1, given.width // HEAD)
        ),
        steps=given.steps, batch=given.batch, rate=given.rate, seed=given.seed,
    )  # fmt: skip
    aside = len(learnt) // 20 * 2  # twins stay together
    models: dict[Kind, SimMim] = {}
    for kind in KINDS:
        crops = Crops.of(learnt[aside:], kind, device)
        models[kind] = learn(crops, how)
        same = Crops.of(learnt[:aside], kind, device)
        found = {"crops": len(crops.wrong), **told(scores(models[kind], same.pixels), same)}
        result[f"{kind}, generators learnt from"] = found
        print(f"{kind}, {time.perf_counter() - begun:.0f} s: {found}", flush=True)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        for part, kind in zip(PARTS, KINDS, strict=True):
            state = {name: x.cpu() for name, x in models[kind].state_dict().items()}
            save_file(state, given.out / f"{part}.safetensors")
    result |= judge(models, judged, device)
    result["seconds"] = round(time.perf_counter() - begun)
    print(json.dumps(result))
    return 0


def _workers(count: int) -> ProcessPoolExecutor | nullcontext[None]:
    """None where one process does everything."""
    return ProcessPoolExecutor(count, get_context("spawn")) if count > 1 else nullcontext()


if __name__ == "__main__":
    sys.exit(main())
