"""What fine-tuning counts of a step's memory, against the most that is allocated.

End to end, InternVideo2 and the fusion head, seeded weights, a pass there and back of two views:
`python -m benchmarks.bench_finetune_memory [--quick]`. By what is counted `telltale finetune`
chooses checkpointing and accumulation. Weights and moments are known and not among it. On a CPU
allocations are torch's profiler's, on a GPU the allocator's own.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks import measure
from benchmarks.bench_finetune import Setting, network
from extract.branch import Precision
from heads.finetuning.counting import Passes

VIEWS = 2
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny network")
    parser.add_argument("--preset", help="of InternVideo2 (default: S14, on a GPU L14)")
    given = parser.parse_args()
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1)
    preset = "tiny" if given.quick else given.preset or ("L14" if cuda else "S14")
    device = "cuda" if cuda else "cpu"
    setting = Setting(preset=preset, depth_preset="tiny", device=device, views=VIEWS, runs=1)
    rows = [row for precision in PRECISIONS for row in counted(setting, precision)]
    measure.report("finetune_memory_quick" if given.quick else "finetune_memory", rows, ("torch",))


def counted(setting: Setting, precision: Precision) -> list[measure.Row]:
    """Blocks computed once, and twice."""
    net, inputs = network(setting, "end-to-end", precision)

    def forward(views: int) -> Tensor:
        logits: Tensor = net(*inputs(views), raw=True)
        return logits

    def there_and_back() -> None:
        forward(VIEWS).sum().backward()  # type: ignore[no-untyped-call]

    passes = Passes(net, forward)
    gradients = sum(each.nbytes for each in net.parameters() if each.requires_grad)
    rows: list[measure.Row] = []
    for twice in (False, True):
        count = passes.take(twice=twice).of(VIEWS) + gradients
        there_and_back()  # libraries take their workspaces at first use
        net.zero_grad(set_to_none=True)
        most = allocated(there_and_back, setting.device)
        net.zero_grad(set_to_none=True)
        blocks = "twice" if twice else "once"
        rows.append({
            "what": f"{setting.preset}, {precision}, blocks computed {blocks}",
            "counted MiB": count / 2**20, "allocated MiB": most / 2**20,
            "counted / allocated": count / most, "views": VIEWS, "runs": 1,
        })  # fmt: skip
    return rows


def allocated(work: Callable[[], None], device: str) -> int:
    """The most bytes that some work has at once of its own."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    assert found.profiler is not None
    events = found.profiler.kineto_results.events()
    changes = [int(event.nbytes()) for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(changes))


if __name__ == "__main__":
    main()
