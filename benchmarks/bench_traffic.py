"""Bytes that networks move for a view and populations for a step, counted and not timed.

    python -m benchmarks.bench_traffic

Operator by operator, every tensor that an operation reads or writes is counted under autocast to
bfloat16, on tensors without numbers, weights shared by 16 views. Compiled, a block's are counted by
the compiler, for one view and for two: the difference is a view's, without the block's weights.
Attention, which is one kernel in both, is left out.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor import config, metrics
from torch._inductor.compile_fx import inductor_metrics_log
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import measure
from extract.branches import depthpro, internvideo2
from extract.networks.compiled import compile_blocks
from heads.parts.fusion_gradient import Thin
from heads.parts.fusion_net import NOT_DECAYED, Layout, initial
from heads.tuning.adamw_moves import compiled_step
from heads.tuning.stacked_adamw import StackedAdamW

LAYOUT = Layout(width=1024, attn=768, depth=1024, hidden=1024)
_LOOKS = {
    "view", "_unsafe_view", "transpose", "t", "permute", "expand", "slice", "select", "split",
    "unsqueeze", "squeeze", "as_strided", "chunk", "detach", "alias", "reshape", "unbind",
    "_reshape_alias", "device",
}  # fmt: skip
"""Operations that move nothing."""
_ATTENTION = "_scaled_dot_product"
_PRODUCTS = ("mm", "addmm", "bmm", "convolution")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network that is counted."""

    name: str
    make: Callable[[int], nn.Module]
    """With so many blocks."""
    example: Callable[[int], Tensor]
    """The network's input for so many views."""
    blocks: int
    """Of each of its transformers."""


def main() -> None:
    rows = [row for subject in subjects() for row in counted(subject)]
    measure.report("traffic", rows + step(), ("torch",))


def subjects() -> list[Subject]:
    def video(preset: str) -> Subject:
        whole = internvideo2.PRESETS[preset]
        size = (3, whole.frames, whole.image, whole.image)
        return Subject(
            name=f"internvideo2-{preset}", blocks=whole.depth,
            make=lambda depth: internvideo2.InternVideo2(replace(whole, depth=depth)),
            example=lambda views: torch.empty(views, *size),
        )  # fmt: skip

    def depth(preset: str) -> Subject:
        whole = depthpro.PRESETS[preset]
        size = (3, whole.image, whole.image)
        return Subject(
            name=f"depthpro-{preset}, 2 frames", blocks=whole.depth,
            make=lambda depth: depthpro.DepthProEncoder(replace(whole, depth=depth)),
            example=lambda views: torch.empty(2 * views, *size),
        )  # fmt: skip

    return [video("L14"), video("1B"), depth("L16")]


def counted(subject: Subject, views: int = 16) -> list[measure.Row]:
    """A row operator by operator, a row compiled."""
    with FakeTensorMode():
        network = subject.make(subject.blocks).eval()
        example = subject.example(views)
        count, flops = _Count(), FlopCounterMode(display=False)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), flops, count:
            network(example)
    each = sum(count.bytes.values()) / views
    beside = sum(size for name, size in count.bytes.items() if name not in _PRODUCTS) / views
    compiled = subject.blocks * (_compiled(subject, 2) - _compiled(subject, 1))
    told = {"TFLOP a view": flops.get_total_flops() / views / 1e12}
    return [
        {
            "what": f"{subject.name}, operator by operator", **told, "GB a view": each / 1e9,
            "GB beside products": beside / 1e9,
            "operations": sum(count.calls.values()), "traffic": 1.0,
        },
        {
            "what": f"{subject.name}, blocks compiled", **told, "GB a view": compiled / 1e9,
            "traffic": compiled / each,
        },
    ]  # fmt: skip


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What every operation reads and writes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Any = (), kwargs: Any = None,  # noqa: ANN401
    ) -> object:  # fmt: skip
        del types
        found = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name not in _LOOKS and not name.startswith(_ATTENTION):
            tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
            written = [one for one in tree_leaves(found) if isinstance(one, Tensor)]
            read = sum(min(_bytes(one), one.untyped_storage().nbytes()) for one in tensors)
            self.bytes[name] += read + sum(_bytes(one) for one in written)
            self.calls[name] += 1
        return found


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()


def step(members: int = 4) -> list[measure.Row]:
    """AdamW's step of a population of fusion heads on L14's features, a head's share."""
    tensors = initial(LAYOUT, 4, torch.Generator())
    found = {}
    for way, compiler in (("operator by operator", None), ("compiled", compiled_step)):
        optimiser = StackedAdamW(NOT_DECAYED, members, compiler)
        optimiser.make(tensors, [name for name in tensors if "running" not in name])
        told: dict[str, Tensor | Thin] = {
            n: torch.rand(members, *t.shape) for n, t in tensors.items()
        }
        left, right = (torch.rand(members, 4, n) for n in (LAYOUT.hidden, LAYOUT.video))
        told["fc1.weight"] = Thin(left=left, right=right)
        count, rates = _Count(), torch.full((members,), 1e-3, dtype=torch.float64)
        _listen()
        with config.patch(force_disable_caches=True), nullcontext() if compiler else count:
            optimiser.step(told, rates, torch.full((members,), 0.05))
        found[way] = (metrics.num_bytes_accessed or sum(count.bytes.values())) / members
    whole = found["operator by operator"]
    return [
        {"what": f"AdamW of a population, {way}", "MB a head": each / 1e6, "traffic": each / whole}
        for way, each in found.items()
    ]


def _listen() -> None:
    """The compiler counts where it is to say so."""
    torch._dynamo.reset()
    metrics.reset()
    inductor_metrics_log.setLevel(logging.INFO)
    inductor_metrics_log.propagate = False


def _compiled(subject: Subject, views: int) -> int:
    """Bytes that the compiler counts in one block of each kind."""
    network = subject.make(1).eval()
    compile_blocks(network)
    _listen()
    with (
        config.patch(force_disable_caches=True), torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16),
    ):  # fmt: skip
        network(subject.example(views))
    return int(metrics.num_bytes_accessed)


if __name__ == "__main__":
    main()
