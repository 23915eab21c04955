"""Crops of persons in full batches, against a frame at a time as released.

    python -m benchmarks.bench_anatomy [--preset tiny] [--videos 4] [--persons 2] [--runs 3]

The same networks (seeded weights), the same crops, one device: all crops of a frame at a time, of a
video at a time, of all videos together. What goes through a network is the same to rounding.
`--preset B` has networks of the published size; give it a GPU.
"""

import argparse

import torch
from torch import Tensor

from benchmarks import measure
from extract.branch import BranchRequest
from extract.branches.anatomy import PARTS, PRESETS, AnatomyBranch, Networks
from extract.networks import weights
from extract.networks.simmim import SimMim
from extract.people.person_crops import CropPlan

FRAMES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--persons", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    branch = seeded(given.preset, given.persons, device)
    batch = branch.example(given.videos)
    rows = ways(branch, batch, given.runs)
    for row in rows:
        row |= {"preset": given.preset, "videos": given.videos, "device": device}
    measure.report("anatomy", rows, ("torch",))


def seeded(preset: str, persons: int, device: str) -> AnatomyBranch:
    """Three networks of a preset's size with numbers of no meaning."""
    architecture = PRESETS[preset]
    models = {part: SimMim(architecture) for part in PARTS}
    for seed, model in enumerate(models.values()):
        weights.seeded(model, seed)
    request = BranchRequest(
        name="anatomy", preset=preset, options={"frames": str(FRAMES)}, device=device,
        precision="float32",
    )  # fmt: skip
    plan = CropPlan(boxes="whole-person", persons=persons, size=architecture.image)
    return AnatomyBranch(request, Networks(by_part=models, source="seeded"), plan)


def ways(branch: AnatomyBranch, batch: Tensor, runs: int) -> list[measure.Row]:
    """Seconds of each, and speed against the released way."""

    @torch.inference_mode()
    def frame_by_frame() -> list[Tensor]:
        return [
            branch.compute(batch[row : row + 1, frame : frame + 1])["logits"]
            for row in range(len(batch))
            for frame in range(FRAMES)
        ]

    @torch.inference_mode()
    def video_by_video() -> list[Tensor]:
        return [branch.compute(batch[row : row + 1])["logits"] for row in range(len(batch))]

    @torch.inference_mode()
    def together() -> Tensor:
        return branch.compute(batch)["logits"]

    first = torch.cat(frame_by_frame()).reshape(together().shape)
    torch.testing.assert_close(first, together(), rtol=1e-3, atol=1e-4)
    released = "a frame at a time"
    seconds = measure.interleaved(
        {released: frame_by_frame, "a video at a time": video_by_video, "all videos": together},
        runs=runs,
    )
    ratios = measure.against(seconds, released)
    crops = len(batch) * FRAMES * branch.plan.persons * len(branch.plan.kinds)
    return [
        {"what": name, "s": value, "crops": crops, "speed against released": ratios[name]}
        for name, value in seconds.items()
    ]


if __name__ == "__main__":
    main()
