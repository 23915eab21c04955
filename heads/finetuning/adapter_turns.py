"""The adapter of a video transformer learns in turns: its spatial weights, then its temporal ones.

Joint attention has no kernels for space or for time, so this is not AltFreezing; that is
`alternate`, for networks that have them. Spatial are the patch embedding, a spatial position
embedding and the adapter's (1,3,3) convolution; temporal are a temporal position embedding and the
adapter's (3,1,1) convolution. All else, a joint position embedding too, always learns.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from heads.training.alternate import Alternation

_KINDS = {
    "spatial": re.compile(
        r"backbone\.(patch_embed\..*|pos_embed_spatial|adapter\..*\.spatial\..*)"
    ),
    "temporal": re.compile(r"backbone\.(pos_embed_temporal|adapter\..*\.temporal\..*)"),
}


def by_kind(named: Iterable[tuple[str, Tensor]]) -> dict[str, list[Tensor]]:
    """A fine-tuned network's spatial and temporal parameters, by their names."""
    kinds: dict[str, list[Tensor]] = {kind: [] for kind in _KINDS}
    for name, tensor in named:
        for kind, form in _KINDS.items():
            if form.fullmatch(name):
                kinds[kind].append(tensor)
    return kinds


def forget(turns: Alternation, step: int, kinds: Mapping[str, Sequence[Tensor]]) -> None:
    """Drop the gradients of the kind whose turn it is not: the optimiser leaves such alone. They
    are computed first, since processes that share a batch wait for everyone's."""
    turn = turns.learning(step)
    for kind, tensors in kinds.items():
        if kind != turn:
            for tensor in tensors:
                tensor.grad = None
