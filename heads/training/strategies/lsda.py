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
from torch import Tensor

from heads.errors import BadSetting
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
    noise_nd: Tensor
    first: Tensor
    second: Tensor
    """(n) rows whose difference is added."""


def augmented(z_nd: Tensor, cells: Tensor, draws: Draws) -> Tensor:
    """Each sample moved in the way that was drawn for it, among those of its cell (n)."""
    mean_nd, hard = centres(z_nd, cells)
    way = draws.way[:, None]
    step_nd = torch.where(
        way == TOWARDS, z_nd[hard] - z_nd,
        torch.where(
            way == AWAY, z_nd - mean_nd,
            torch.where(way == NOISE, draws.noise_nd, z_nd[draws.first] - z_nd[draws.second]),
        ),
    )  # fmt: skip
    return z_nd + draws.length[:, None] * step_nd


def centres(z_nd: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of each sample's cell (n, d), and the row of the member farthest from it (n)."""
    _, cell = torch.unique(cells, return_inverse=True)
    count = int(cell.max()) + 1
    sums = z_nd.new_zeros(count, z_nd.shape[1]).index_add(0, cell, z_nd)
    mean_nd = (sums / torch.bincount(cell, minlength=count)[:, None])[cell]
    order = (z_nd - mean_nd).square().sum(1).argsort(descending=True, stable=True)
    places = torch.arange(len(cell), device=cell.device)
    first = torch.full_like(cell[:1].expand(count), len(cell))
    first = first.scatter_reduce(0, cell[order], places, "amin")
    return mean_nd, order[first][cell]


def mixed(z_nd: Tensor, partners: Tensor, share: Tensor) -> Tensor:
    """`share` (n) of each sample, the rest of its partner."""
    return share[:, None] * z_nd + (1 - share[:, None]) * z_nd[partners]


class Lsda(Strategy):
    """See the module."""

    name = "lsda"
    Options = LsdaOptions
    changes_vectors = True
    fewest_generators = 2
    options: LsdaOptions

    def __init__(self, options: LsdaOptions, lesson: Lesson) -> None:
        super().__init__(options, lesson)
        if self.config.mixup:
            raise BadSetting("Strategy lsda mixes samples itself; leave out mixup.")
        flat = self.samples.x.flatten(0, 1)
        self._mean = flat.mean(0)
        self._scale = flat.std(0, correction=0).clamp_min(1e-6)

    def batch(self, step: Step) -> Step:
        chosen = self._chosen(step)
        if not len(chosen):
            return step
        old, told = step.batch, step.told
        copies = self._mean + self._scale * self._copies(
            (old.x[chosen] - self._mean) / self._scale, told.take(chosen).domains,
            told.targets[chosen],
        )  # fmt: skip
        keep = None if old.keep is None else torch.cat([old.keep, old.keep[chosen]])
        where = chosen.cpu().numpy()
        batch = replace(
            old, x=torch.cat([old.x, copies]), keep=keep,
            rows=np.concatenate([old.rows, old.rows[where]]),
            views=np.concatenate([old.views, old.views[where]]),
        )  # fmt: skip
        doubled = told.joined(told.take(chosen))
        return Step(batch=batch, told=replace(doubled, weights=self._weights(step, chosen)))

    def _chosen(self, step: Step) -> Tensor:
        """Rows of the generated samples that get a copy."""
        rows = step.told.fake.nonzero()[:, 0]
        if self.options.share == 1 or not self.options.share:
            return rows if self.options.share else rows[:0]
        drawn = self.random.random(len(rows)) < self.options.share
        return rows[torch.from_numpy(drawn).to(rows.device)]

    def _weights(self, step: Step, chosen: Tensor) -> Tensor:
        """A sample and its copy share what the sample weighed; the mean over more rows stays what
        it was."""
        before = len(step.told.weights)
        weights = step.told.weights.clone()
        weights[chosen] /= 2
        return torch.cat([weights, weights[chosen]]) * ((before + len(chosen)) / before)

    def _copies(self, z_nd: Tensor, domains: Tensor, targets: Tensor) -> Tensor:
        cells = domains * len(self.samples.classes) + targets
        found = augmented(z_nd, cells, self._draws(z_nd, cells))
        between = mixed(z_nd, self._among(targets), self._uniform_beta(len(z_nd)))
        drawn = torch.from_numpy(self.random.random(len(z_nd)) < self.options.mix)
        return torch.where(drawn.to(z_nd.device)[:, None], between, found)

    def _draws(self, z_nd: Tensor, cells: Tensor) -> Draws:
        count, device = len(z_nd), z_nd.device
        sigma = torch.from_numpy(self.random.random((count, 1), np.float32)).to(device)
        return Draws(
            way=torch.from_numpy(self.random.integers(0, 4, count)).to(device),
            length=torch.from_numpy(self.random.random(count, np.float32)).to(device),
            noise_nd=sigma * self.normal(*z_nd.shape),
            first=self._among(cells), second=self._among(cells),
        )  # fmt: skip

    def _among(self, kinds: Tensor) -> Tensor:
        """For each row another of its kind, by a random permutation inside each kind."""
        shuffled = torch.from_numpy(self.random.permutation(len(kinds))).to(kinds.device)
        by_kind = kinds.argsort(stable=True)
        found = torch.empty_like(by_kind)
        found[by_kind] = shuffled[kinds[shuffled].argsort(stable=True)]
        return found

    def _uniform_beta(self, count: int) -> Tensor:
        alpha = self.random.uniform(0.5, 2, count)
        share = self.random.beta(alpha, alpha).astype(np.float32)
        return torch.from_numpy(share).to(self.samples.x.device)


STRATEGY = Lsda
