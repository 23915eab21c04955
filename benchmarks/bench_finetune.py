"""What a step of fine-tuning costs: `python -m benchmarks.bench_finetune [--quick]`.

Forward, backward and AdamW of InternVideo2 and the fusion head, with the depth vectors from the
cache, against the released way: the depth network in every step, 36 passes for each of a view's
two frames. Same networks, seeded weights, clips in memory. And the last blocks and the pool from
cached tokens. On a CPU one view a step, on one core, and the released way once, for it takes
minutes; on a GPU the released batch of 2 x 2 views in bfloat16, with the memory it takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import measure
from benchmarks.bench_branches import thirty_six_passes
from extract.branch import Precision
from extract.branches import depthpro
from extract.branches.internvideo2 import PRESETS, InternVideo2, InternVideo2Training
from extract.networks import weights
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.layer_decay import parameter_groups
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.readout import FusionReadout
from heads.parts.fusion_net import Layout, initial
from heads.training.losses import smoothed_losses
from heads.zoo.fusion import FusionConfig

RELEASED_VIEWS = 4
"""Two videos, two samples of each."""
Inputs = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is measured, and where."""

    preset: str
    depth_preset: str
    device: str
    views: int
    runs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny networks")
    parser.add_argument("--preset", default="L14", help="of InternVideo2 (default: L14)")
    parser.add_argument("--runs", type=int, default=1, help="steps a median is taken of")
    given = parser.parse_args()
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1)
    setting = Setting(
        preset="tiny" if given.quick else given.preset,
        depth_preset="tiny" if given.quick else "L16",
        device="cuda" if cuda else "cpu",
        views=RELEASED_VIEWS if cuda else 1,
        runs=5 if cuda else given.runs,
    )
    seconds: dict[str, float] = {}
    rows: list[measure.Row] = []
    depth = depth_in_the_loop(setting)
    blocks = PRESETS[setting.preset].depth
    for reach in ("end-to-end", f"blocks={blocks // 4}", "pool"):
        seconds[reach], memory = step_seconds(setting, reach)
        rows.append({"what": f"{setting.preset}, {reach}, cached depth", **memory})
    seconds = {"released": seconds["end-to-end"] + depth, **seconds}
    rows.insert(0, {"what": f"{setting.preset}, end-to-end, 36 depth passes in the loop"})
    for told, (name, value) in zip(rows, seconds.items(), strict=True):
        told |= {"views a step": setting.views, "seconds a step": value, "runs": setting.runs}
        if name in ("released", "end-to-end"):  # the others train less, which is another thing
            told["speed against the released way"] = seconds["released"] / value
        if name == "released":
            told["of it depth"] = depth
    measure.report("finetune_quick" if given.quick else "finetune", rows, ("torch",))


def depth_in_the_loop(setting: Setting) -> float:
    """Seconds a step of the frozen depth network: two frames of every view, from pixels."""
    device = torch.device(setting.device)
    model = depthpro.DepthProEncoder(depthpro.PRESETS[setting.depth_preset]).eval().to(device)
    weights.seeded(model, 0)
    pixels_bchw = torch.rand(1, 3, 1536, 1536, device=device) * 2 - 1
    half = device.type == "cuda"
    if half:
        pixels_bchw = pixels_bchw.expand(2 * setting.views, -1, -1, -1)

    @torch.inference_mode()
    def run() -> Tensor:
        with torch.autocast(device.type, torch.float16, enabled=half):
            return thirty_six_passes(model, pixels_bchw)

    found = timed(run, setting)
    return found if half else found * 2 * setting.views


def step_seconds(setting: Setting, reach: str) -> tuple[float, measure.Row]:
    """Forward, backward, update; and the memory on a GPU."""
    net, make = network(setting, reach)
    device = torch.device(setting.device)
    learning = [(name, tensor) for name, tensor in net.named_parameters() if tensor.requires_grad]
    groups = list(parameter_groups(learning, FinetuneConfig(), net.network))
    optimiser = torch.optim.AdamW(groups, lr=1e-5, fused=True)
    inputs, depth = make(setting.views)
    targets = torch.arange(setting.views, device=device) % 4

    def step() -> None:
        loss = smoothed_losses(net(inputs, depth, raw=reach == "end-to-end"), targets, 0.1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found = timed(step, setting)
    if device.type != "cuda":
        return found, {}
    return found, {"GiB at most": torch.cuda.max_memory_allocated() / 2**30}


def network(
    setting: Setting, reach: str, precision: Precision | None = None
) -> tuple[FinetuneNet, Inputs]:
    """InternVideo2 and the fusion head; what makes so many inputs and their depth vectors."""
    architecture = PRESETS[setting.preset]
    config = FinetuneConfig(precision=precision)
    device = torch.device(setting.device)
    torch.manual_seed(0)
    backbone = InternVideo2(architecture)
    weights.seeded(backbone, 0)
    layout = Layout(width=architecture.width, attn=architecture.pool_width, depth=1024, hidden=1024)
    head = initial(layout, 4, torch.Generator().manual_seed(0))
    deep = Reach.parse(reach, architecture.depth)
    readout = FusionReadout(FusionConfig(), layout, head)
    network = InternVideo2Training(backbone)
    net = FinetuneNet(network, readout, deep, config, Processes()).to(device)

    def make(views: int) -> tuple[Tensor, Tensor]:
        depth = torch.randn(views, 1024, device=device)
        if reach == "end-to-end":
            side = architecture.image
            shape = (views, architecture.frames, side, side, 3)
            return torch.randint(0, 256, shape, dtype=torch.uint8, device=device), depth
        tokens = (views, architecture.tokens, architecture.width)
        return torch.randn(tokens, device=device, dtype=torch.float16), depth

    return net, make


def timed(work: measure.Work, setting: Setting) -> float:
    """The median. On a CPU the seconds of one core, which other work on the machine does not
    change, without a warm-up, whose share of so long a step is nothing."""
    cuda = torch.device(setting.device).type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    times = []
    for run in range(setting.runs + 2 * cuda):
        start = clock()
        work()
        if cuda:
            torch.cuda.synchronize()
        if run >= 2 * cuda:
            times.append(clock() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
