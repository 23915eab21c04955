"""Three small networks that find planted defects of faces, hands and bodies.

    python -m benchmarks.anatomy_tiny --frames 3000 --epochs 12 --out FOLDER

Made-up people (`extract.synthesis.defects`), drawn directly and not encoded, close-ups: half of
the parts of every training frame have a defect. Two generators are learnt from, two others judge.
Judged frames have one defect or none. FOLDER gets human, face and hand as `anatomy=tiny:FOLDER`
reads them. Nothing here says anything about real videos.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from extract.branches.anatomy import PARTS
from extract.networks.simmim import Architecture, SimMim
from extract.people.crops import crop_look, crop_picture, square_around
from extract.people.detections import KINDS, Kind, Quad
from extract.synthesis.clip import Clip, ClipPlan
from extract.synthesis.data_set import GENERATORS, Generator
from extract.synthesis.defects import DEFECTS, Defect, DefectKind, planted
from extract.synthesis.shapes import stamp
from extract.synthesis.truth import FACE, HANDS, OBJECT, parts_of
from heads.measuring.intervals import Interval, auc, wilson

SMALL = Architecture(image=64, width=96, depth=4, heads=4)
LEARNT, JUDGED = GENERATORS[:2], GENERATORS[2:]
LEAST = 14
"""Pixels of the smallest part that is looked at."""
RATE, DECAY, BATCH = 1e-3, 0.05, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """One part of one person."""

    kind: Kind
    box: Quad
    pixels: NDArray[np.uint8]
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture, what is wrong in it, its parts."""

    defects: tuple[Defect, ...]
    crops: tuple[Crop, ...]


@dataclass(slots=True, kw_only=True)
class Crops:
    """Of one kind."""

    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)

    def tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(np.stack(self.pixels)), torch.tensor(self.wrong)


def frame(seed: int, generator: Generator, *, one: bool) -> Frame | None:
    """Drawn from its seed; `one`: at most one defect, else each of the three with one half."""
    rng = np.random.default_rng((seed, 77))
    plan = ClipPlan(
        width=generator.width, height=generator.height, frames=generator.frames,
        fps=generator.fps, tint=generator.tint, grain=generator.grain, label="real",
        severity=0.5, seed=seed, shot="close",
    )  # fmt: skip
    clip = Clip(plan)
    drawing = clip.drawing(int(rng.integers(plan.frames)))
    wanted: list[DefectKind] = [kind for kind in DEFECTS if rng.random() < 0.5]
    if one:
        wanted = [DEFECTS[int(rng.integers(3))]] if rng.random() < 0.5 else []
    defects = []
    for kind in wanted:
        found = planted(drawing, kind, rng)
        if found is None or not _is_seen(found[1], plan):
            return None
        drawing = found[0]
        defects.append(found[1])
    parts_hw = parts_of(clip, drawing, stamp(drawing.shapes, (plan.height, plan.width)))
    image = clip.paint(drawing)
    crops = tuple(_crops(image, parts_hw, defects))
    shown = {crop.kind for crop in crops if crop.wrong}
    if any(_part_of(defect) not in shown for defect in defects):
        return None  # an object hides it
    return Frame(defects=tuple(defects), crops=crops)


def _crops(
    image: NDArray[np.uint8], parts_hw: NDArray[np.uint8], defects: Sequence[Defect]
) -> Iterator[Crop]:
    height, width = image.shape[:2]
    look = crop_look(SMALL.image)
    masks: list[tuple[Kind, NDArray[np.bool_]]] = [
        ("person", parts_hw > OBJECT), ("face", parts_hw == FACE),
        *(("hand", parts_hw == hand) for hand in HANDS),
    ]  # fmt: skip
    for kind, mask_hw in masks:
        rows, columns = np.nonzero(mask_hw)
        if not len(rows):
            continue
        box = (
            float(columns.min()), float(rows.min()), float(columns.max() + 1),
            float(rows.max() + 1),
        )  # fmt: skip
        square = square_around(box, width, height)
        if square is None or min(box[2] - box[0], box[3] - box[1]) < LEAST:
            continue
        wrong = any(_part_of(one) == kind and _lies_on(box, one) for one in defects)
        yield Crop(
            kind=kind, box=box, pixels=crop_picture(image, square, look).copy(), wrong=wrong
        )  # fmt: skip


def _part_of(defect: Defect) -> Kind:
    return "person" if defect.kind == "body" else defect.kind


def _lies_on(box: Quad, defect: Defect) -> bool:
    """Whether a box holds the middle of a defect."""
    left, top, right, bottom = defect.box
    x, y = (left + right) / 2, (top + bottom) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _is_seen(defect: Defect, plan: ClipPlan) -> bool:
    """Whether its middle is in the picture."""
    return _lies_on((0.0, 0.0, float(plan.width), float(plan.height)), defect)


def frames(count: int, first: int, generators: Sequence[Generator], *, one: bool) -> list[Frame]:
    """So many that show what they should, by generators in turn."""
    found: list[Frame] = []
    seed = first
    while len(found) < count:
        made = frame(seed, generators[seed % len(generators)], one=one)
        seed += 1
        if made is not None:
            found.append(made)
    return found


def learn(crops: Crops, epochs: int, seed: int) -> SimMim:
    """From nothing, with flips; abnormal is logit 0, as in the released networks."""
    torch.manual_seed(seed)
    model = SimMim(SMALL)
    model.start(seed)
    pixels, wrong = crops.tensors()
    target = (~wrong).long()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    for _ in range(epochs):
        order = torch.randperm(len(pixels))
        for rows in torch.split(order[: len(order) // BATCH * BATCH], BATCH):
            x = normal(pixels[rows])
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(-1), x)
            loss = functional.cross_entropy(model(x), target[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    return model.eval()


def normal(pixels_nhwc: Tensor) -> Tensor:
    look = crop_look(SMALL.image)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (look.mean, look.std))
    return (pixels_nhwc.permute(0, 3, 1, 2).float() / 255 - mean) / std


@torch.inference_mode()
def scores(model: SimMim, crops: Sequence[Crop]) -> NDArray[np.float64]:
    pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops]))
    parts = [model(normal(part)).softmax(1)[:, 0] for part in torch.split(pixels, 256)]
    return np.asarray(torch.cat(parts).double().numpy())


def judge(models: dict[Kind, SimMim], judged: Sequence[Frame]) -> dict[str, Any]:
    """AUC of each part's crops, and whether the worst crop of a frame is where its defect is."""
    result: dict[str, Any] = {}
    by_kind: dict[Kind, NDArray[np.float64]] = {}
    for kind in KINDS:
        crops = [crop for each in judged for crop in each.crops if crop.kind == kind]
        by_kind[kind] = scores(models[kind], crops)
        wrong = np.array([crop.wrong for crop in crops])
        result[f"AUC of {kind}"] = _said(auc(by_kind[kind], wrong, ("fine", "wrong")))
        result[f"AUC of {kind}"]["wrong"] = int(wrong.sum())
    places = dict.fromkeys(KINDS, 0)
    hits, on_it, worst_of, has_defect = 0, 0, [], []
    for each in judged:
        said = []
        for crop in each.crops:
            said.append((float(by_kind[crop.kind][places[crop.kind]]), crop))
            places[crop.kind] += 1
        worst, where = max(said, key=lambda pair: pair[0])
        worst_of.append(worst)
        has_defect.append(bool(each.defects))
        if each.defects and worst > 0.5:
            hits += 1
            (defect,) = each.defects
            on_it += _part_of(defect) == where.kind and _lies_on(where.box, defect)
    flags = np.array(has_defect)
    result["AUC of frames, by the worst part"] = _said(auc(np.array(worst_of), flags))
    found = wilson(hits, int(flags.sum()))
    alarms = int((np.array(worst_of)[~flags] > 0.5).sum())
    result["found at one half"] = _said(found)
    result["false alarms at one half"] = _said(wilson(alarms, int((~flags).sum())))
    result["hits whose box lies on the defect"] = _said(wilson(on_it, hits))
    return result


def _said(found: Interval) -> dict[str, Any]:
    return {
        "value": round(100 * found.value, 1), "low": round(100 * found.low, 1),
        "high": round(100 * found.high, 1), "n": found.n,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3000, help="to learn from")
    parser.add_argument("--judged", type=int, default=1000, help="frames of other generators")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the networks go")
    given = parser.parse_args(arguments)
    begun = time.process_time()
    learnt = frames(given.frames, 1_000_000 * (given.seed + 1), LEARNT, one=False)
    by_kind = {kind: Crops() for kind in KINDS}
    for each in learnt:
        for crop in each.crops:
            by_kind[crop.kind].pixels.append(crop.pixels)
            by_kind[crop.kind].wrong.append(crop.wrong)
    models: dict[Kind, SimMim] = {}
    for kind, crops in by_kind.items():
        models[kind] = learn(crops, given.epochs, given.seed)
        print(f"{kind}: {len(crops.wrong)} crops, {time.process_time() - begun:.0f} s", flush=True)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        for part, kind in zip(PARTS, KINDS, strict=True):
            save_file(models[kind].state_dict(), given.out / f"{part}.safetensors")
    judged = frames(given.judged, 9_000_000 + given.seed, JUDGED, one=True)
    result = judge(models, judged)
    crops_learnt = {kind: len(crops.wrong) for kind, crops in by_kind.items()}
    print(json.dumps({
        **result, "learnt from, crops": crops_learnt,
        "CPU seconds": round(time.process_time() - begun),
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
