"""GM-DF (2024) on cached vectors: domains are generators, and unseen ones must be served too.

- Domains have a scale and a shift of the last hidden layer, made from a short vector of each; what
  is judged and kept has the mean vector's, so nothing is asked of an unseen video.
- Each step draws two groups of generators, adapts the head on one of them, and takes the gradient
  of the other's loss there (first-order meta-learning).
- Generators' means in the last hidden layer are drawn together (a domain alignment loss).

Sure, by the abstract: domain experts, domain-aware meta-learning, an alignment loss. Known only
from a re-implementation by others: a normalisation conditioned on a vector of the domain, a
first-order inner step. Inferred here: where they stand in a small head, every weight, and alignment
by means. Prompts and masked images need a text encoder and pixels and are left out. Real videos
belong to every generator: each is given one at random at every step, since a domain of their own
would give the label away.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.errors import BadSetting
from heads.training.strategy import Lesson, Step, Strategy, activations, first_look

_SIZE = 16
"""Numbers that say which domain it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GmdfOptions:
    """What there is of each part; without all three it is plain training."""

    experts: bool = True
    """Domains have a scale and a shift of their own."""
    inner: float = 0.01
    """The rate of the step on the first group; 0: no groups."""
    align: float = 0.05
    """Weight of the alignment."""

    def __post_init__(self) -> None:
        if not (0 <= self.inner <= 1 and 0 <= self.align <= 100):
            raise BadSetting(
                f"inner={self.inner:g}, align={self.align:g}: give 0 to 1, and 0 to 100."
            )


class Gmdf(Strategy):
    """See the module."""

    name = "gmdf"
    Options = GmdfOptions
    hidden_layers = 1
    fewest_generators = 2
    takes_mixup = False
    options: GmdfOptions

    def __init__(self, options: GmdfOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        self._count = int(self.domains.max())
        with torch.no_grad():
            *_, hidden, _ = activations(self.model, first_look(self.samples))
        self._vectors = self.normal(self._count, _SIZE).requires_grad_()
        self._turn = torch.zeros(_SIZE, 2 * hidden.shape[-1], device=hidden.device)
        self._turn.requires_grad_()

    def parameters(self) -> Sequence[Tensor]:
        return [self._vectors, self._turn] if self.options.experts else []

    def gradient(self, step: Step) -> Tensor:
        groups = self._groups(step) if self.options.inner else ()
        if len(groups) < 2:
            return super().gradient(step)
        first, second = (self._part(step, rows) for rows in groups)
        weights = [each for group in self.model.parameters() for each in group]
        moves = torch.autograd.grad(self.loss(first), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, moves, alpha=-self.options.inner)
        found = super().gradient(second)
        with torch.no_grad():
            torch._foreach_add_(weights, moves, alpha=self.options.inner)
        return found

    def loss(self, step: Step) -> Tensor:
        if not self.options.experts and not self.options.align:
            return super().loss(step)
        *_, hidden, logits = activations(self.model, step.batch)
        domains = self.domains[step.batch.rows]
        if self.options.experts:
            drawn = self.random.integers(0, self._count, len(domains))
            own = self.tensor(np.where(domains > 0, domains - 1, drawn))
            scale, shift = (self._vectors @ self._turn)[own].chunk(2, -1)
            logits = self.model.stages(step.batch)[-1](hidden * (1 + scale) + shift)
        total = self.combined(logits, step)
        return total + self.options.align * self._apart(hidden, domains)

    @contextmanager
    def judged(self) -> Iterator[None]:
        if not self.options.experts:
            yield
            return
        weight, bias = self.model.classifier()
        here = weight.detach().clone(), bias.detach().clone()
        with torch.no_grad():
            scale, shift = (self._vectors.mean(0) @ self._turn).chunk(2)
            bias.add_(weight @ shift)
            weight.mul_(1 + scale)
        try:
            yield
        finally:
            with torch.no_grad():
                weight.copy_(here[0])
                bias.copy_(here[1])

    def _apart(self, hidden: Tensor, domains: NDArray[np.int64]) -> Tensor:
        """The mean square distance of generators' means from their own mean, by the spread."""
        there = np.unique(domains[domains > 0])
        if not self.options.align or len(there) < 2:
            return hidden.new_zeros(())
        shares = (domains == there[:, None]).astype(np.float32)
        means = self.tensor(shares / shares.sum(1, keepdims=True)) @ hidden
        spread = hidden.detach().var(0, correction=0).mean().clamp_min(1e-6)
        return (means - means.mean(0)).square().mean() / spread

    def _groups(self, step: Step) -> tuple[NDArray[np.intp], ...]:
        """Rows of two groups of generators, each with half of the real ones; nothing where a group
        would be left without."""
        domains = self.domains[step.batch.rows]
        first = self.random.permutation(self._count)[: self._count // 2] + 1
        in_first = np.isin(domains, first)
        in_first[domains == 0] = self.random.random(int((domains == 0).sum())) < 0.5
        rows = tuple(np.flatnonzero(side) for side in (in_first, ~in_first))
        whole = all(len(each) > 1 and (domains[each] > 0).any() for each in rows)
        return rows if whole else ()

    def _part(self, step: Step, rows: NDArray[np.intp]) -> Step:
        old, index = step.batch, self.tensor(rows)
        keep = None if old.keep is None else old.keep[index]
        batch = replace(old, x=old.x[index], rows=old.rows[rows], views=old.views[rows], keep=keep)
        return Step(batch=batch, told=step.told.take(index))


STRATEGY = Gmdf
