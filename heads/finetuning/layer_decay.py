"""A learning rate for every layer: the deeper below the head, the smaller.

Layers are the network's own (`Trainable.layer_of`); the head is in the last one. The released
HumanSAM code means this too, but looks for names that do not begin as its own do, so that all its
parameters are in the last layer; `official` does that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from extract.trainable import Trainable
from heads.finetuning.config import FinetuneConfig

BACKBONE = "backbone."
"""Before the names of the network's own parameters in `FinetuneNet`."""
_ALPHA = "head.alpha"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a parameter is trained."""

    layer: int
    lr_scale: float
    """Share of the learning rate."""
    weight_decay: float


def rule(name: str, tensor: Tensor, config: FinetuneConfig, network: Trainable) -> Rule:
    """`name` as in `FinetuneNet`."""
    top = network.layers - 1
    inner = name.removeprefix(BACKBONE)
    own = not config.official and name.startswith(BACKBONE)
    layer = network.layer_of(inner) if own else top
    exempt = name == _ALPHA or (inner in network.not_decayed and inner != name)
    plain = name.endswith((".bias", "/bias")) or tensor.ndim <= 1
    plain = not config.official if exempt else plain
    return Rule(
        layer=layer,
        lr_scale=config.layer_decay ** (top - layer),
        weight_decay=0.0 if plain and not config.decay_all else config.weight_decay,
    )


def parameter_groups(
    named: Iterable[tuple[str, Tensor]], config: FinetuneConfig, network: Trainable
) -> Iterator[dict[str, object]]:
    """For torch's optimisers, with `lr_scale` beside; one group for every rule."""
    groups: dict[Rule, list[Tensor]] = {}
    for name, tensor in named:
        groups.setdefault(rule(name, tensor, config, network), []).append(tensor)
    for found, tensors in groups.items():
        yield {
            "params": tensors, "weight_decay": found.weight_decay, "lr_scale": found.lr_scale,
        }  # fmt: skip
