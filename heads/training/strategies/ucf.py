"""UCF (ICCV 2023) on cached vectors: what generators share is kept from what is each one's own.

The head's last hidden layer is the common half. A specific half, made from the layer before it,
must tell generators apart; a contrastive term wants real and generated videos farther apart than
videos of one kind, in both halves; and from any content with any code of both halves the vectors
must be built again, as far as a narrow decoder can. Only the head is kept.

These are UCF's losses on frozen features: contrast and cross-entropies are the released code's, of
pairs from batches as they come, not half real and half generated. What is built again is 256 of the
standardised columns, by a layer that the code scales and shifts: statistics over positions, as in
UCF's decoder, mean nothing for vectors without positions.
Legend: b batch, c common, s specific, d columns.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Step, Strategy, activations, first_look

_SLOPE = 0.01
_CONTENT = 32
"""Numbers that say what a vector shows beside its code."""
_REBUILT = 256
"""Columns that are built again, drawn once: of all of them it would cost more than the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UcfOptions:
    """What each term weighs; with 0 for all of them it is plain training."""

    specific: float = 0.1
    """Telling generators apart by the specific half."""
    contrast: float = 0.05
    rebuild: float = 0.3
    """Building vectors again."""
    margin: float = 3.0
    """By how much the other kind is to be farther than one's own."""
    shuffle: float = 0.7
    """How often the common half is taken from another video of the same kind."""

    def __post_init__(self) -> None:
        if min(self.specific, self.contrast, self.rebuild, self.margin) < 0:
            raise BadSetting("specific, contrast, rebuild and margin: give 0 or more.")
        if not 0 <= self.shuffle <= 1:
            raise BadSetting(f"shuffle={self.shuffle:g}: give 0 to 1.")

    @property
    def nothing(self) -> bool:
        return not (self.specific or self.contrast or self.rebuild)


def contrast(anchors_bd: Tensor, alike_bd: Tensor, others_bd: Tensor, margin: float) -> Tensor:
    """By how much the other is not farther than the like by the margin (b)."""
    near = functional.pairwise_distance(anchors_bd, alike_bd)
    far = functional.pairwise_distance(anchors_bd, others_bd)
    return (near - far + margin).clamp_min(0)


class Ucf(Strategy):
    """See the module."""

    name = "ucf"
    Options = UcfOptions
    hidden_layers = 2
    fewest_generators = 2
    takes_mixup = False
    options: UcfOptions

    def __init__(self, options: UcfOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._own: dict[str, Tensor] = {}
        columns = self.samples.x.shape[-1]
        picked = self.random.permutation(columns)[:_REBUILT]
        self._columns = self.tensor(np.sort(picked))
        if not options.nothing:
            self._own = self._drawn()

    def parameters(self) -> Sequence[Tensor]:
        return list(self._own.values())

    def loss(self, step: Step) -> Tensor:
        domains = self.domains[step.batch.rows]
        fake = domains > 0
        if self.options.nothing or fake.all() or not fake.any():
            return super().loss(step)
        seen_bd, *_, before_bd, common_bc, logits = activations(self.model, step.batch)
        specific_bs = self._stack("specific", before_bd)
        total = self.combined(logits, step)
        if self.options.specific:
            said = self._stack("generators", specific_bs)
            told = functional.cross_entropy(said, step.told.domains)
            total = total + self.options.specific * told
        each = np.where(fake, 1 / fake.sum(), 1 / (~fake).sum()).astype(np.float32)
        means = self.tensor(np.concatenate([each, each]))  # over real ones, over generated ones
        if self.options.contrast:
            apart = self._apart(torch.cat([common_bc, specific_bs]), domains)
            total = total + self.options.contrast * (apart * means).sum()
        if self.options.rebuild:
            code = torch.cat([specific_bs, self._shuffled(common_bc, fake)], -1)
            error = self._rebuilt(seen_bd[:, self._columns], code, fake)
            total = total + self.options.rebuild * (error * means).sum()
        return total

    def _apart(self, both: Tensor, domains: NDArray[np.int64]) -> Tensor:
        """Of common halves, where the like is of the same kind, and of specific halves, where it is
        of the same generator; the other is of the other kind."""
        fake, count = domains > 0, len(domains)
        alike = np.concatenate([self.among(fake.astype(np.int64)), count + self.among(domains)])
        others = np.concatenate([self.strangers(fake), count + self.strangers(fake)])
        found = both[self.tensor(np.concatenate([alike, others]))]
        return contrast(both, found[: len(both)], found[len(both) :], self.options.margin)

    def _shuffled(self, common_bc: Tensor, fake: NDArray[np.bool_]) -> Tensor:
        if self.random.random() >= self.options.shuffle:
            return common_bc
        return common_bc[self.tensor(self.among(fake.astype(np.int64)))]

    def _rebuilt(self, seen_bd: Tensor, code: Tensor, fake: NDArray[np.bool_]) -> Tensor:
        """Mean errors of vectors built from their own code, then from one of the other kind."""
        crossed = code[self.tensor(self.strangers(fake))]
        codes, aims = torch.cat([code, crossed]), torch.cat([seen_bd, seen_bd])
        content = self._stack("content", seen_bd).relu()
        scale, shift = self._stack("turn", codes).chunk(2, -1)
        hidden = torch.cat([content, content]) * (1 + scale) + shift
        return (self._stack("decoder", hidden.relu()) - aims).abs().mean(1)

    def _stack(self, name: str, x: Tensor) -> Tensor:
        """Layers of that name with leaky steps between them."""
        number = 0
        while f"{name}.{number}.weight" in self._own:
            x = functional.leaky_relu(x, _SLOPE) if number else x
            weight, bias = (self._own[f"{name}.{number}.{part}"] for part in ("weight", "bias"))
            x, number = functional.linear(x, weight, bias), number + 1
        return x

    def _drawn(self) -> dict[str, Tensor]:
        """The parts beside the head, by their sizes in a first look at one sample."""
        batch = first_look(self.samples)
        with torch.no_grad():
            sizes = [each.shape[-1] for each in activations(self.model, batch)]
        before, common, columns = sizes[-3], sizes[-2], len(self._columns)
        layers: dict[str, tuple[int, ...]] = {"specific": (before, *[common] * 3)}
        if self.options.specific:
            generators = int(self.domains.max()) + 1
            layers["generators"] = (common, common, generators)
        if self.options.rebuild:
            layers["content"] = (columns, _CONTENT)
            layers["turn"] = (2 * common, 2 * _CONTENT)
            layers["decoder"] = (_CONTENT, columns)
        found = {}
        for name, each in layers.items():
            for number, (inwards, outwards) in enumerate(itertools.pairwise(each)):
                bound = 1 / math.sqrt(inwards)
                for part, shape in (("weight", (outwards, inwards)), ("bias", (outwards,))):
                    drawn = self.random.uniform(-bound, bound, shape).astype(np.float32)
                    tensor = torch.from_numpy(drawn).to(self.samples.x.device)
                    found[f"{name}.{number}.{part}"] = tensor.requires_grad_()
        return found


STRATEGY = Ucf
