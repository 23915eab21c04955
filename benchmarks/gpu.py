"""The branches on a GPU: `python -m benchmarks.gpu`. Refuses to run without one.

Measured against the machine's own bf16 matrix rate: views per second and the share of that rate,
for InternVideo2-L14 and 1B and for the depth branch, eager, compiled and with flash-attn; 36
passes against two; memory. Weights are seeded: speed does not depend on them.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import measure
from benchmarks.bench_branches import thirty_six_passes
from extract.branch import BranchRequest
from extract.branches import depthpro, internvideo2
from extract.networks import weights
from extract.networks.attention import Backend, attention_backend, flash_installed

DEPTH_FLOPS_A_FRAME = 0.762e12
"""Two ViT-L/16 passes at 384²: 2 x 0.381 TFLOP."""
BATCHES = (8, 16, 32, 64, 128)
WARM_UP, RUNS = 3, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of running the same network."""

    name: str
    backend: Backend
    compiled: bool


def main() -> int:
    if not torch.cuda.is_available():
        print("benchmarks.gpu: no CUDA device here; run it where there is one.", file=sys.stderr)
        return 1
    device = torch.device("cuda")
    peak = matrix_rate(device, 8192, torch.bfloat16)
    rows: list[measure.Row] = [
        {"what": "bf16 matrix product 8192³", "device": torch.cuda.get_device_name(),
         "TFLOP/s": peak / 1e12}
    ]  # fmt: skip
    for preset in ("L14", "1B"):
        rows += video(preset, device, ways(), BATCHES, peak)
    rows += depth("L16", device, BATCHES, peak)
    rows += together("L14", "L16", device)
    measure.report("gpu", rows, ("torch",))
    return 0


def ways() -> list[Way]:
    found = [
        Way(name="eager", backend="sdpa", compiled=False),
        Way(name="compiled", backend="sdpa", compiled=True),
    ]
    if flash_installed():
        found.append(Way(name="flash-attn", backend="flash", compiled=False))
    return found


def matrix_rate(device: torch.device, size: int, dtype: torch.dtype) -> float:
    """Operations a second of one large product on random data; multiply and add count as two."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device)


def seconds(work: Callable[[], object], device: torch.device, most: int | None = None) -> float:
    """Median time of RUNS, or of fewer, the device waited for."""
    for _ in range(WARM_UP):
        work()
    times = []
    for _ in range(min(RUNS, most or RUNS)):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def video(
    preset: str, device: torch.device, ways: Sequence[Way], batches: Sequence[int], peak: float
) -> list[measure.Row]:
    rows: list[measure.Row] = []
    flops = internvideo2.view_flops(internvideo2.PRESETS[preset])
    for way in ways:
        branch = video_branch(preset, device)
        if way.compiled:
            branch.model = torch.compile(branch.model)  # type: ignore[assignment]
        with attention_backend(way.backend):
            for batch in batches:
                row = _rate(branch.forward, branch.example, batch, device)
                row |= {"share of the matrix rate": row["views/s"] * flops / peak}
                rows.append({"what": f"internvideo2-{preset}, {way.name}", **row})
        del branch
    return rows


def depth(
    preset: str, device: torch.device, batches: Sequence[int], peak: float
) -> list[measure.Row]:
    branch = depth_branch(preset, device)
    rows: list[measure.Row] = []
    for batch in batches:
        row = _rate(branch.forward, branch.example, batch, device)
        row |= {"share of the matrix rate": row["views/s"] * 2 * DEPTH_FLOPS_A_FRAME / peak}
        rows.append({"what": f"depthpro-{preset}, 2 passes", **row})
    pixels = torch.rand(1, 3, 1536, 1536, device=device) * 2 - 1

    def released() -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            return thirty_six_passes(branch.model, pixels)

    one = seconds(lambda: branch.forward(branch.example(1)), device) / 2
    rows.append(
        {
            "what": f"depthpro-{preset}, 36 passes, one frame",
            "seconds a frame": seconds(released, device, most=3),
            "seconds a frame in 2 passes": one,
        }
    )
    return rows


def together(
    video_preset: str, depth_preset: str, device: torch.device, batch: int = 32
) -> list[measure.Row]:
    """Both branches on the same views, one after the other, at a good batch size."""
    branches = (video_branch(video_preset, device), depth_branch(depth_preset, device))
    views = [branch.example(batch) for branch in branches]

    def both() -> None:
        for branch, rows in zip(branches, views, strict=True):
            branch.forward(rows)

    return [{"what": "both branches", "batch": batch, "views/s": batch / seconds(both, device)}]


def video_branch(preset: str, device: torch.device) -> internvideo2.InternVideo2Branch:
    request = BranchRequest(name="internvideo2", preset=preset, device=str(device))
    model = internvideo2.InternVideo2(internvideo2.PRESETS[preset])
    weights.seeded(model, 0)
    return internvideo2.InternVideo2Branch(request, model, "seeded")


def depth_branch(preset: str, device: torch.device) -> depthpro.DepthProBranch:
    request = BranchRequest(name="depthpro", preset=preset, device=str(device))
    model = depthpro.DepthProEncoder(depthpro.PRESETS[preset])
    weights.seeded(model, 0)
    return depthpro.DepthProBranch(request, model, "seeded")


def _rate(
    forward: Callable[[Tensor], object],
    example: Callable[[int], Tensor],
    batch: int,
    device: torch.device,
) -> dict[str, float]:
    views = example(batch)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        taken = seconds(lambda: forward(views), device)
    except torch.OutOfMemoryError:
        return {"batch": batch, "views/s": 0.0, "peak GB": float("inf")}
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    return {"batch": batch, "views/s": batch / taken, "peak GB": peak}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
