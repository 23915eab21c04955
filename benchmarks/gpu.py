"""The networks and the pipeline on a GPU: `python -m benchmarks.gpu`. Refuses to run without one.

    python -m benchmarks.gpu [--parts ceilings,attention,video,depth,both,pipeline] [--presets L14]
                             [--clips 32] [--videos 1000] [--workers 4,8,16]

Measured against the machine's own bf16 matrix rate: views per second and the share of that rate,
for InternVideo2 and for the depth branch, eager, compiled and with flash-attn; what attention
alone reaches; 36 passes against two; from mp4 files to a store with so many decode workers.
Weights are seeded: speed does not depend on them. Rows are printed and kept as they come, and a way
that fails costs its own row alone.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import gpu_pipeline, measure
from benchmarks.bench_branches import thirty_six_passes
from extract.branch import BranchRequest
from extract.branches import depthpro, internvideo2
from extract.networks import weights
from extract.networks.attention import Backend, attention_backend, flash_installed
from extract.networks.compiled import compile_blocks, leave_blocks

DEPTH_FLOPS_A_FRAME = 0.762e12
"""Two ViT-L/16 passes at 384²: 2 x 0.381 TFLOP."""
BATCHES = (8, 32, 128)
WARM_UP, RUNS = 3, 10
PARTS = ("ceilings", "attention", "video", "depth", "both", "pipeline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of running the same network."""

    name: str
    backend: Backend
    compiled: bool


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--presets", default="L14,1B", help="of InternVideo2")
    parser.add_argument("--clips", type=int, default=32, help="720p clips to make")
    parser.add_argument("--videos", type=int, default=1000, help="names that they go under")
    parser.add_argument("--workers", default="4,8,16", help="decode workers")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks.gpu: no CUDA device here; run it where there is one.", file=sys.stderr)
        return 1
    device = torch.device("cuda")
    peak = matrix_rate(device, 8192, torch.bfloat16)
    presets, workers = given.presets.split(","), [int(x) for x in given.workers.split(",")]
    made: dict[str, Iterable[measure.Row]] = {
        "ceilings": ceilings(device, peak),
        "attention": attention_alone(device),
        "video": (
            row for preset in presets for row in video(preset, device, ways(), BATCHES, peak)
        ),
        "depth": depth("L16", device, ways(), BATCHES, peak),
        "both": together("L14", "L16", device),
        "pipeline": pipeline(device, given.clips, given.videos, workers),
    }
    rows: list[measure.Row] = []
    for part in given.parts.split(","):
        for row in _surviving(part, made[part]):
            print(measure.line(row), flush=True)
            rows.append(row)
            measure.keep("gpu", rows, ("torch",))
    return 0


def _surviving(what: str, rows: Iterable[measure.Row]) -> Iterator[measure.Row]:
    """What breaks off says why, and the rest goes on."""
    try:
        yield from rows
    except Exception as error:
        yield {"what": what, "failed": str(error).strip().partition("\n")[0][:200]}


def ways() -> list[Way]:
    found = [
        Way(name="eager", backend="sdpa", compiled=False),
        Way(name="compiled", backend="sdpa", compiled=True),
    ]
    if flash_installed():
        found.append(Way(name="flash-attn", backend="flash", compiled=False))
    return found


def ceilings(device: torch.device, peak: float) -> Iterator[measure.Row]:
    """What no program on this card exceeds."""
    yield {
        "what": "bf16 matrix product 8192³", "device": torch.cuda.get_device_name(),
        "TFLOP/s": peak / 1e12,
    }  # fmt: skip
    source = torch.randn(2**30, device=device)
    target = torch.empty_like(source)
    taken = seconds(lambda: target.copy_(source), device)
    yield {"what": "copy, bytes read and written", "TB/s": 2 * source.nbytes / taken / 1e12}


def attention_alone(device: torch.device, views: int = 32) -> Iterator[measure.Row]:
    """InternVideo2-L14's attention by each of torch's kernels: it has a ceiling of its own."""
    a = internvideo2.PRESETS["L14"]
    shape = (views, a.heads, a.tokens, a.width // a.heads)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))
    flops = views * 4 * a.tokens**2 * a.width
    for backend in ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION"):
        with sdpa_kernel(getattr(SDPBackend, backend)):
            taken = seconds(lambda: functional.scaled_dot_product_attention(q, k, v), device)
        yield {"what": f"attention of L14, {backend}", "TFLOP/s": flops / taken / 1e12}


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
) -> Iterator[measure.Row]:
    share = internvideo2.view_flops(internvideo2.PRESETS[preset]) / peak
    branch = video_branch(preset, device)
    for way in ways:
        rates = _rates(f"internvideo2-{preset}", branch, way, batches, device, share)
        yield from _surviving(way.name, rates)


def depth(
    preset: str, device: torch.device, ways: Sequence[Way], batches: Sequence[int], peak: float
) -> Iterator[measure.Row]:
    branch, share = depth_branch(preset, device), 2 * DEPTH_FLOPS_A_FRAME / peak
    for way in ways:
        rates = _rates(f"depthpro-{preset}, 2 passes", branch, way, batches, device, share)
        yield from _surviving(way.name, rates)
    pixels = torch.rand(1, 3, 1536, 1536, device=device) * 2 - 1

    def released() -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            return thirty_six_passes(branch.model, pixels)

    one = seconds(lambda: branch.forward(branch.example(1)), device) / 2
    yield {
        "what": f"depthpro-{preset}, 36 passes, one frame",
        "seconds a frame": seconds(released, device, most=3),
        "seconds a frame in 2 passes": one,
    }


def together(
    video_preset: str, depth_preset: str, device: torch.device, batch: int = 32
) -> Iterator[measure.Row]:
    """Both branches on the same views, one after the other, as the pipeline runs them."""
    branches = (video_branch(video_preset, device), depth_branch(depth_preset, device))
    views = [branch.example(batch) for branch in branches]

    def both() -> None:
        for branch, rows in zip(branches, views, strict=True):
            branch.forward(rows)

    eager = batch / seconds(both, device)
    if device.type == "cuda":
        for branch in branches:
            compile_blocks(branch.model)
    yield {
        "what": "both branches", "batch": batch, "views/s": batch / seconds(both, device),
        "views/s, eager": eager,
    }  # fmt: skip


def pipeline(
    device: torch.device, clips: int, videos: int, workers: Sequence[int]
) -> Iterator[measure.Row]:
    branches = [video_branch("L14", device), depth_branch("L16", device)]
    yield from gpu_pipeline.rows(branches, clips=clips, videos=videos, workers=workers)


def video_branch(preset: str, device: torch.device) -> internvideo2.InternVideo2Branch:
    request = BranchRequest(name="internvideo2", preset=preset, device=str(device))
    model = internvideo2.InternVideo2(internvideo2.PRESETS[preset])
    weights.seeded(model, 0)
    branch = internvideo2.InternVideo2Branch(request, model, "seeded")
    branch.request = request
    return branch


def depth_branch(preset: str, device: torch.device) -> depthpro.DepthProBranch:
    request = BranchRequest(name="depthpro", preset=preset, device=str(device))
    model = depthpro.DepthProEncoder(depthpro.PRESETS[preset])
    weights.seeded(model, 0)
    branch = depthpro.DepthProBranch(request, model, "seeded")
    branch.request = request
    return branch


def _rates(
    what: str,
    branch: internvideo2.InternVideo2Branch | depthpro.DepthProBranch,
    way: Way,
    batches: Sequence[int],
    device: torch.device,
    share: float,
) -> Iterator[measure.Row]:
    """A network run one way, a row for each batch size; a view a second is so much of the rate."""
    leave_blocks(branch.model)
    if way.compiled:
        compile_blocks(branch.model)
    with attention_backend(way.backend):
        for batch in batches:
            start = time.perf_counter()
            first = branch.forward(branch.example(batch))
            _wait(device)
            begun = time.perf_counter() - start
            del first
            row = _rate(branch.forward, branch.example, batch, device)
            told = {"share of the matrix rate": row["views/s"] * share, "first batch, s": begun}
            yield {"what": f"{what}, {way.name}", **row, **told}


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
