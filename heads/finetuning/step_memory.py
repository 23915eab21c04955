"""How much memory a step of fine-tuning takes, and the way of taking it that fits the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heads.errors import TooLittleMemory
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.counting import Passes
from heads.finetuning.net import FinetuneNet
from heads.finetuning.run import Run
from heads.finetuning.sharding import own_part
from heads.finetuning.shares import most_samples
from heads.training.free_memory import free_bytes

_USED = 0.8
"""Of what is free; the rest is left to what kernels take for themselves."""
LESS = (
    "Let fewer layers learn (--depth blocks=K), take a smaller preset, or share the network out to "
    "several processes (torchrun --nproc-per-node N -m heads finetune … --set shard=true)."
)
_TEXTS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
"""In errors of devices, of torch on a CPU, and of libraries that found no room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMemory:
    """What was chosen, and why. Bytes."""

    needed: int
    plain: int
    """Needed by whole batches of which everything is kept."""
    free: int
    config: FinetuneConfig
    statistics: bool
    """Whether cutting a batch changes what is learnt: the network itself has batch statistics."""

    def __str__(self) -> str:
        told = [f"memory: a step takes {_gib(self.needed)} of {_gib(self.free)} free"]
        if self.needed < self.plain:
            told[0] += f", in place of {_gib(self.plain)}"
        if self.config.checkpointing:
            told.append("blocks are computed twice (checkpointing=true), which changes no number")
        if self.config.parts > 1:
            own = "each with batch statistics of its own, which changes what is learnt"
            same = "which changes numbers by rounding alone"
            cut = f"batches are cut into {self.config.parts} (accumulate={self.config.parts}), "
            told.append(cut + (own if self.statistics else same))
        return "; ".join(told)


def standing(net: FinetuneNet, run: Run) -> int:
    """Bytes beside weights that stay between steps: gradients, moments, copies, decoded views."""
    config, several = run.config, run.processes.count > 1
    learning = sum(_bytes(each) for each in net.parameters() if each.requires_grad)
    learnt = sum(_bytes(each) for each in net.learnt().values())
    moments = (1 if config.optimiser == "sgd" else 2) * (2 if config.alternate else 1)
    buckets = several and not config.shard  # of gradients, for their mean over processes
    copies = 3 if config.ema else 1  # the best; the average, and the live ones while it is judged
    there = learning * (1 + moments + buckets) + learnt * copies
    if torch.device(run.processes.device).type == "cpu":
        there += run.train.memory + run.validation.memory
    return there + (_put_together(net) if config.shard else 0)


def fitted(net: FinetuneNet, run: Run) -> tuple[FinetuneConfig, StepMemory | None]:
    """The settings, with what they leave open chosen so that a step fits, alike in all processes:
    batches as they are, else blocks computed twice, else batches cut too."""
    config, processes, samples = run.config, run.processes, run.train.samples
    free = free_bytes(processes.device)
    is_open = config.checkpointing is None or config.accumulate is None
    if free is None or run.example is None or not is_open:
        return config, None
    there, spare = standing(net, run), processes.least(_USED * free)
    count = config.samples(samples.videos, samples.views)
    passes, needs = Passes(net, _forward(net, run)), list[float]()
    for twice, cuts in _ways(net, run, passes, count):
        at_once = most_samples(count, config, cuts * processes.count)
        takes = passes.take(twice=twice).of(at_once)
        if cuts > 1 and net.joins:
            whole = most_samples(count, config, processes.count)
            # The head keeps of all of them, has vectors and their gradients (neither is larger),
            # and the inputs of the other parts wait.
            takes += 3 * passes.head.of(whole) + (whole - at_once) * run.example(1).nbytes
        needs.append(-processes.least(-there - takes))
        if needs[-1] <= spare:
            chosen = replace(config, checkpointing=twice, accumulate=cuts)
            return chosen, StepMemory(
                needed=round(needs[-1]), plain=round(needs[0]), free=round(spare / _USED),
                config=chosen, statistics=net.batch_statistics,
            )  # fmt: skip
    raise TooLittleMemory(
        f"A step takes {_gib(needs[-1])} on {processes.device} with {at_once} samples at once"
        f"{' and blocks computed twice' * twice}; {_gib(spare / _USED)} are free, of which a fifth "
        f"is left to kernels. {LESS}"
    )


@contextmanager
def explained(what: Callable[[], str]) -> Iterator[None]:
    """Memory that runs out becomes an error that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in _TEXTS):
            raise
        raise TooLittleMemory(what()) from error


def _ways(net: FinetuneNet, run: Run, passes: Passes, samples: int) -> Iterator[tuple[bool, int]]:
    """Whether blocks are computed twice, and parts that a batch is cut into; the first is best."""
    config, processes = run.config, run.processes
    cuts = [config.parts]
    if config.accumulate is None:
        alone = processes.count == 1 and net.batch_statistics
        smallest = 2 if config.mixes or alone else 1
        most = max(1, min(config.batch, samples) // (smallest * processes.count))
        cuts = sorted({*(2**power for power in range(most.bit_length())), most})
    twice = bool(config.checkpointing)
    yield twice, cuts[0]
    if config.checkpointing is None and net.once is None and passes.twice_is_less():
        twice = True
        yield twice, cuts[0]
    yield from ((twice, cut) for cut in cuts[1:])


def _forward(net: FinetuneNet, run: Run) -> Callable[[int], object]:
    def forward(samples: int) -> Tensor:
        assert run.example is not None
        inputs, beside = run.example(samples), run.train.samples.x[:1, 0].expand(samples, -1)
        device = run.processes.device
        logits: Tensor = net(inputs.to(device), beside.to(device), raw=run.train.raw)
        return logits

    return forward


def _put_together(net: FinetuneNet) -> int:
    """Of a network that is shared out: two blocks and a gradient of one, and all that is no block,
    with its gradient."""
    blocks = [4 * sum(each.numel() for each in block.parameters()) for block in net.network.blocks]
    rest = 4 * sum(each.numel() for each in net.parameters()) - sum(blocks)
    return 3 * max(blocks, default=0) + 2 * rest


def _bytes(tensor: Tensor) -> int:
    return own_part(tensor).nbytes


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
