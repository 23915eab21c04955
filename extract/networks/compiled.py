"""Transformer blocks as compiled programs: what lies between their matrix products becomes a few
kernels (InternVideo2-L14 on an H200: 209 views a second eager, 283 compiled).

All blocks of a network share one program for each shape, so that compiling takes seconds; give
batches one shape.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from extract.networks.vit import Block

PROGRAMS = 64
"""Of the blocks of all networks in a process, in all sizes of batches that they come to; of what
goes beyond torch goes on without, and its own limit is 8."""


def compile_blocks(
    network: nn.Module, *, backend: str | Callable[..., Any] = "inductor", fullgraph: bool = False
) -> int:
    """From their next call on; returns how many there are."""
    from torch._dynamo import config  # a second and a half, of which most runs have no use

    config.recompile_limit = max(config.recompile_limit, PROGRAMS)
    blocks = _blocks(network)
    for block in blocks:
        block.compile(dynamic=False, backend=backend, fullgraph=fullgraph)
    return len(blocks)


def leave_blocks(network: nn.Module) -> None:
    """As they were before."""
    for block in _blocks(network):
        block._compiled_call_impl = None


def _blocks(network: nn.Module) -> list[Block]:
    return [module for module in network.modules() if type(module) is Block]
