"""A learning rate for every layer: the deeper below the head, the smaller.

Layer 0 is what makes the first block's input, layer i + 1 is block i, the last layer is the pool
and the head. The released code means this too, but looks for names that do not begin as its own
do, so that all its parameters are in the last layer; `official` does that.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from heads.finetuning.config import FinetuneConfig

_INPUT = re.compile(r"backbone\.(cls_token|pos_embed\w*|patch_embed\..*)")
_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.")
_EXEMPT = re.compile(r"backbone\.(cls_token|pos_embed\w*)|head\.alpha")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a parameter is trained."""

    layer: int
    lr_scale: float
    """Share of the learning rate."""
    weight_decay: float


def rule(name: str, tensor: Tensor, config: FinetuneConfig, blocks: int) -> Rule:
    """`name` as in `FinetuneNet`, of a backbone with so many blocks."""
    layer = blocks + 1 if config.official else layer_of(name, blocks)
    exempt = _EXEMPT.fullmatch(name) is not None
    plain = name.endswith((".bias", "/bias")) or tensor.ndim <= 1
    plain = not config.official if exempt else plain
    return Rule(
        layer=layer,
        lr_scale=config.layer_decay ** (blocks + 1 - layer),
        weight_decay=0.0 if plain else config.weight_decay,
    )


def layer_of(name: str, blocks: int) -> int:
    if _INPUT.fullmatch(name):
        return 0
    found = _BLOCK.match(name)
    return int(found[1]) + 1 if found else blocks + 1


def parameter_groups(
    named: Iterable[tuple[str, Tensor]], config: FinetuneConfig, blocks: int
) -> Iterator[dict[str, object]]:
    """For torch's optimisers, with `lr_scale` beside; one group for every rule."""
    groups: dict[Rule, list[Tensor]] = {}
    for name, tensor in named:
        groups.setdefault(rule(name, tensor, config, blocks), []).append(tensor)
    for found, tensors in groups.items():
        yield {
            "params": tensors, "weight_decay": found.weight_decay, "lr_scale": found.lr_scale,
        }  # fmt: skip
