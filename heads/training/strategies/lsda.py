"""LSDA (CVPR 2024) on cached vectors: generated videos are augmented where their features lie.

A copy of a generated sample is moved inside its own generator (towards the example farthest from
the generator's mean, away from that mean, by noise, by the difference of two others), or mixed with
one of another generator. The copies are further samples of the same class: real ones are not
touched, and generated ones weigh no more together than before.

The released code gives the copies to a student through an encoder for each generator and a fusion
of both; on frozen features that target collapses, so the head is the student and learns from the
copies themselves. Classes never mix: inside a generator, samples of one class are the members.
Legend: n samples, d columns.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.errors import BadSetting
from heads.training.model import Batch
from heads.training.strategy import Lesson, Step, Strategy

TOWARDS, AWAY, NOISE, DIFFERENCE = range(4)
"""The four ways, in the released code's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LsdaOptions:
    """How much is made up."""

    share: float = 1.0
    """Copies for each generated sample, 0 to 1; 0: plain training."""
    mix: float = 0.5
    """Share of the copies that are mixed with another's; the others stay inside their generator."""

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.mix <= 1):
            raise BadSetting(f"share={self.share:g}, mix={self.mix:g}: give 0 to 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What chance decides about samples."""

    way: Tensor
    """(n) TOWARDS, AWAY, NOISE or DIFFERENCE."""
    length: Tensor
    """(n) how far, 0 to 1."""
    noise_kd: Tensor
    """Of those k whose way is NOISE."""
    first: Tensor
    second: Tensor
    """(n) rows whose difference is added."""


def augmented(z_nd: Tensor, cells: Tensor, draws: Draws, scale_d: Tensor | None = None) -> Tensor:
    """Each sample moved in the way that was drawn for it, among those of its cell (n)."""
    mean_nd, hard = centres(z_nd, cells, scale_d)
    towards, away, noise, difference = ((draws.way == way).nonzero()[:, 0] for way in range(4))
    step_nd = torch.empty_like(z_nd)
    step_nd[towards] = z_nd[hard[towards]] - z_nd[towards]
    step_nd[away] = z_nd[away] - mean_nd[away]
    step_nd[noise] = draws.noise_kd
    step_nd[difference] = z_nd[draws.first[difference]] - z_nd[draws.second[difference]]
    return z_nd + draws.length[:, None] * step_nd


def centres(
    z_nd: Tensor, cells: Tensor, scale_d: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The mean of each sample's cell (n, d), and the row of the member farthest from it (n), in
    columns that are divided by their scale."""
    _, cell = torch.unique(cells, return_inverse=True)
    counts = torch.bincount(cell)
    sums = z_nd.new_zeros(len(counts), z_nd.shape[1]).index_add(0, cell, z_nd)
    mean_nd = (sums / counts[:, None])[cell]
    apart_nd = z_nd - mean_nd if scale_d is None else (z_nd - mean_nd) / scale_d
    order = apart_nd.square().sum(1).argsort(descending=True, stable=True)
    places = torch.arange(len(cell), device=cell.device)
    first = torch.full_like(counts, len(cell))
    first = first.scatter_reduce(0, cell[order], places, "amin")
    return mean_nd, order[first][cell]


def mixed(z_nd: Tensor, partners_nd: Tensor, share: Tensor) -> Tensor:
    """`share` (n) of each sample, the rest of its partner."""
    return torch.lerp(partners_nd, z_nd, share[:, None])


class Lsda(Strategy):
    """See the module."""

    name = "lsda"
    Options = LsdaOptions
    changes_vectors = True
    fewest_generators = 2
    takes_mixup = False
    options: LsdaOptions

    def __init__(self, options: LsdaOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        flat = self.samples.x.flatten(0, 1)
        self._scale = flat.std(0, correction=0).clamp_min(1e-6)

    def batch(self, step: Step) -> Step:
        old, told = step.batch, step.told
        chosen = self._chosen(old)
        if not len(chosen):
            return step
        rows = self.tensor(chosen)
        x = torch.cat([old.x, self._copies(old.x[rows], old.rows[chosen])])
        batch = replace(
            old, x=x, keep=None if old.keep is None else torch.cat([old.keep, old.keep[rows]]),
            rows=np.concatenate([old.rows, old.rows[chosen]]),
            views=np.concatenate([old.views, old.views[chosen]]),
        )  # fmt: skip
        both = told.take(self.tensor(np.concatenate([np.arange(len(old.rows)), chosen])))
        # A sample and its copy share what it weighed; the mean over more rows stays what it was.
        share = torch.ones(len(both.weights))
        share[torch.from_numpy(chosen)] = share[len(old.rows) :] = 0.5
        share *= len(both.weights) / len(old.rows)
        return Step(batch=batch, told=replace(both, weights=both.weights * share.to(x.device)))

    def _chosen(self, batch: Batch) -> NDArray[np.intp]:
        """Rows of the generated samples that get a copy."""
        drawn = self.random.random(len(batch.rows)) < self.options.share
        return np.flatnonzero(drawn & (self.domains[batch.rows] > 0))

    def _copies(self, z_nd: Tensor, videos: NDArray[np.int64]) -> Tensor:
        """Of samples of these videos."""
        domains, targets = self.domains[videos], self.targets[videos]
        between = self.random.random(len(videos)) < self.options.mix
        partners = self.tensor(self.among(targets)[between])
        mixes, inside = self.tensor(np.flatnonzero(between)), np.flatnonzero(~between)
        copies = torch.empty_like(z_nd)
        alpha = self.random.uniform(0.5, 2, len(mixes))
        share = self.tensor(self.random.beta(alpha, alpha).astype(np.float32))
        copies[mixes] = mixed(z_nd[mixes], z_nd[partners], share)
        if len(inside):
            cells = (domains * len(self.samples.classes) + targets)[inside]
            own_nd = z_nd[self.tensor(inside)]
            found = augmented(own_nd, self.tensor(cells), self._draws(cells), self._scale)
            copies[self.tensor(inside)] = found
        return copies

    def _draws(self, cells: NDArray[np.int64]) -> Draws:
        way = self.random.integers(0, 4, len(cells))
        noisy = int((way == NOISE).sum())
        sigma = self.tensor(self.random.random((noisy, 1), np.float32))
        return Draws(
            way=self.tensor(way),
            length=self.tensor(self.random.random(len(cells), np.float32)),
            noise_kd=sigma * self.normal(noisy, len(self._scale)) * self._scale,
            first=self.tensor(self.among(cells)), second=self.tensor(self.among(cells)),
        )  # fmt: skip


STRATEGY = Lsda
