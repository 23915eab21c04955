"""What sharing a network out to processes saves: `python -m benchmarks.bench_shard [--quick]`.

Fine-tuning of all blocks with AdamW, in several processes: each with the whole network, as DDP has
it, and each with its part (`shard=true`). The most memory of one process while it takes steps, and
how long a step takes. Small clips, so that it is parameters, gradients and moments that fill the
memory. On a GPU the memory is the device's; on a CPU it is what the process has resident, less
what it had before there was a network.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks import measure
from extract.branches.internvideo2 import (
    PRESETS,
    Architecture,
    InternVideo2,
    InternVideo2Training,
)
from extract.networks import weights
from heads.finetuning.config import FinetuneConfig, Reach
from heads.finetuning.layer_decay import parameter_groups
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes, processes
from heads.finetuning.readout import FusionReadout
from heads.finetuning.sharding import share_out
from heads.parts.fusion_net import Layout, initial
from heads.training.losses import smoothed_losses
from heads.zoo.fusion import FusionConfig

VIEWS = 2
STEPS = 4
"""The first is not timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny network")
    parser.add_argument("--preset", default="B14", help="of InternVideo2 (default: B14)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank", choices=("whole", "shared out"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    preset = "tiny" if given.quick else given.preset
    if given.rank:
        print(json.dumps(train(preset, shard=given.rank == "shared out")))
        return
    found = {how: told(preset, how, given.processes) for how in ("whole", "shared out")}
    rows: list[measure.Row] = [
        {
            "what": f"{preset}, {given.processes} processes, {how}",
            "million parameters": each["parameters"] / 1e6,
            "GiB at most": each["bytes"] / 2**30,
            "seconds a step": each["seconds"],
            "memory against whole": each["bytes"] / found["whole"]["bytes"],
        }
        for how, each in found.items()
    ]
    measure.report("shard_quick" if given.quick else "shard", rows, ("torch",))


def told(preset: str, how: str, count: int) -> dict[str, float]:
    """What the processes say of one way: of each figure the largest."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",  # what is freed goes back to the system
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.bench_shard", "--preset", preset, "--rank", how]
    ranks = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip
    found = [json.loads(rank.communicate()[0]) for rank in ranks]
    return {name: max(each[name] for each in found) for name in found[0]}


def train(preset: str, *, shard: bool) -> dict[str, float]:
    """One process: parameters of the whole network, peak bytes, seconds of a step."""
    torch.set_num_threads(1)
    with processes("cuda" if torch.cuda.is_available() else "cpu") as found:
        before = resident("VmRSS")
        net = network(preset, found, shard=shard)
        parameters = sum(p.numel() for p in net.parameters())
        model: nn.Module = share_out(net, found) if shard else net.to(found.device)
        named = list(net.named_parameters())
        groups = list(parameter_groups(named, FinetuneConfig(), net.network))
        optimiser = torch.optim.AdamW(groups, lr=1e-5, fused=True)
        model = model if shard else DistributedDataParallel(model)
        a = small(preset)
        shape = (VIEWS, a.frames, a.image, a.image, 3)
        clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=found.device)
        depth = torch.randn(VIEWS, 1024, device=found.device)
        targets = torch.arange(VIEWS, device=found.device) % 4
        forget_peak(found.device)
        times = []
        for _ in range(STEPS):
            start = time.perf_counter()
            smoothed_losses(model(clips, depth, raw=True), targets, 0.1).mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            found.wait()
            times.append(time.perf_counter() - start)
        return {
            "parameters": parameters, "bytes": peak(found.device, before),
            "seconds": statistics.median(times[1:]),
        }  # fmt: skip


def small(preset: str) -> Architecture:
    """Of the preset's weights, on little to look at."""
    return replace(PRESETS[preset], frames=2, image=4 * PRESETS[preset].patch)


def network(preset: str, found: Processes, *, shard: bool) -> FinetuneNet:
    architecture = small(preset)
    torch.manual_seed(0)
    backbone = InternVideo2(architecture)
    weights.seeded(backbone, 0)
    layout = Layout(width=architecture.width, attn=architecture.pool_width, depth=1024, hidden=1024)
    head = initial(layout, 4, torch.Generator().manual_seed(0))
    reach = Reach.parse("end-to-end", architecture.depth)
    readout = FusionReadout(FusionConfig(), layout, head, found)
    config = FinetuneConfig(shard=shard)
    return FinetuneNet(InternVideo2Training(backbone), readout, reach, config, found)


def forget_peak(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str, before: int) -> int:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") - before


def resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
