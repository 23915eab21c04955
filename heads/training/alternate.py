"""Spatial and temporal weights learn in turns, so that neither kind of clue is enough: AltFreezing.

`spatial:temporal=1:20` means: one step in which spatial weights learn and temporal ones are
frozen, then twenty the other way round. What is neither (norms, the classifier) always learns.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from heads.errors import BadSetting

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
