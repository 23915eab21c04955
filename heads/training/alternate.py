"""AltFreezing: spatial and temporal weights learn in turns, so that neither kind of clue is enough.

`spatial:temporal=1:20` means: one step in which spatial weights learn and temporal ones are
frozen, then twenty the other way round. What is neither (norms, the classifier, attention over
space and time at once) always learns. Of the video transformer the patch embedding, a spatial
position embedding and the adapter's (1,3,3) convolution are spatial; a temporal position embedding
and the adapter's (3,1,1) convolution are temporal. A joint position embedding is neither.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from heads.errors import BadSetting

_KINDS = {
    "spatial": re.compile(
        r"backbone\.(patch_embed\..*|pos_embed_spatial|adapter\..*\.spatial\..*)"
    ),
    "temporal": re.compile(r"backbone\.(pos_embed_temporal|adapter\..*\.temporal\..*)"),
}
_FORM = re.compile(r"(spatial|temporal):(spatial|temporal)=([1-9]\d*):([1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternation:
    """Whose turn it is."""

    first: str
    """spatial or temporal: who begins."""
    steps: int
    """How long."""
    other_steps: int
    """How long the other one learns then."""

    @staticmethod
    def parse(text: str) -> "Alternation":
        found = _FORM.fullmatch(text)
        if found is None or found[1] == found[2]:
            raise BadSetting(f"alternate={text!r}: give spatial:temporal=1:20, or other numbers.")
        return Alternation(first=found[1], steps=int(found[3]), other_steps=int(found[4]))

    def learning(self, step: int) -> str:
        """spatial or temporal."""
        other = "temporal" if self.first == "spatial" else "spatial"
        return self.first if step % (self.steps + self.other_steps) < self.steps else other

    def freeze(self, step: int, spatial: Sequence[Tensor], temporal: Sequence[Tensor]) -> None:
        """Ask for gradients of those whose turn it is, and of no others. A parameter without a
        gradient is left alone by the optimiser, weight decay and moments included."""
        turn = self.learning(step)
        for kind, tensors in (("spatial", spatial), ("temporal", temporal)):
            for tensor in tensors:
                tensor.requires_grad_(kind == turn)

    def forget(self, step: int, kinds: Mapping[str, Sequence[Tensor]]) -> None:
        """Drop the gradients of the kind whose turn it is not. They are computed first, since
        processes that share a batch wait for everyone's."""
        turn = self.learning(step)
        for kind, tensors in kinds.items():
            if kind != turn:
                for tensor in tensors:
                    tensor.grad = None


def by_kind(named: Iterable[tuple[str, Tensor]]) -> dict[str, list[Tensor]]:
    """A fine-tuned network's spatial and temporal parameters, by their names."""
    kinds: dict[str, list[Tensor]] = {kind: [] for kind in _KINDS}
    for name, tensor in named:
        for kind, form in _KINDS.items():
            if form.fullmatch(name):
                kinds[kind].append(tensor)
    return kinds
