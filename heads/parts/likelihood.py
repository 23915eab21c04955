"""STALL's two Gaussians of real videos: one of frames, one of the directions of steps.

All in float64: in float32 a log-likelihood moved by about a hundred when only the shape of a batch
changed. Still videos have no step that could be unlikely; as released they count as real as can be,
and `steps` says which they are. Legend: n videos, t frames, d channels, k kept columns.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_EPS = 1e-5
_SEED = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Where rows lie and how to whiten them."""

    mean_d: Tensor
    whitening_dk: Tensor

    @staticmethod
    def of(rows: Tensor) -> "Gaussian":
        """Fitted to rows (m, d); columns of no variance are left out."""
        rows = rows.double()
        mean_d = rows.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(rows.T).reshape(rows.shape[1], -1))
        kept = min(len(rows) - 1, rows.shape[1])
        values, vectors = values.flip(0)[:kept], vectors.flip(1)[:, :kept]
        positive = values > 0
        scale = (values[positive] + _EPS).rsqrt()
        return Gaussian(mean_d=mean_d, whitening_dk=vectors[:, positive] * scale)

    def log_likelihood(self, rows: Tensor) -> Tensor:
        """Of rows (…, d), counted over the kept columns."""
        white = (rows.double() - self.mean_d) @ self.whitening_dk
        constant = self.whitening_dk.shape[1] * math.log(2 * math.pi)
        return -0.5 * (constant + white.square().sum(-1))


def unit_steps(vectors_ntd: Tensor) -> tuple[Tensor, Tensor]:
    """Directions of the steps (n, t - 1, d), and which of them are exactly zero."""
    steps = vectors_ntd[:, 1:] - vectors_ntd[:, :-1]
    norms = steps.norm(dim=-1, keepdim=True)
    still = norms.squeeze(-1) == 0
    return steps / norms.where(norms > 0, 1), still


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihoods:
    """What is known of real videos, and how another one is scored by it."""

    frames: Gaussian
    steps: Gaussian
    best_frames: Tensor
    """Sorted, of the real videos: the likelihood of each one's most likely frame."""
    worst_steps: Tensor
    """Sorted: that of each one's least likely step."""

    @staticmethod
    def of(vectors_ntd: Tensor) -> "Likelihoods":
        """Fitted to real videos: one frame of each, all steps of each."""
        vectors = vectors_ntd.double()
        count, frames = vectors.shape[:2]
        chosen = np.random.RandomState(_SEED).randint(0, frames, size=count)
        of_frames = Gaussian.of(vectors[torch.arange(count), torch.from_numpy(chosen)])
        directions, _ = unit_steps(vectors)
        of_steps = Gaussian.of(directions.flatten(0, 1))
        return Likelihoods(
            frames=of_frames,
            steps=of_steps,
            best_frames=of_frames.log_likelihood(vectors).amax(-1).sort().values,
            worst_steps=of_steps.log_likelihood(directions).amin(-1).sort().values,
        )

    def score(self, vectors_ntd: Tensor) -> Tensor:
        """(n): the mean of both percentiles among the real videos; larger is more real."""
        frames, steps = self.parts(vectors_ntd)
        return (
            _percentile(frames.amax(-1), self.best_frames)
            + _percentile(steps.amin(-1), self.worst_steps)
        ) / 2

    def parts(self, vectors_ntd: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihoods of every frame and of every step; of no movement at all, infinity."""
        vectors = vectors_ntd.double()
        directions, still = unit_steps(vectors)
        steps = self.steps.log_likelihood(directions).masked_fill(still, math.inf)
        return self.frames.log_likelihood(vectors), steps


def _percentile(scores: Tensor, reals: Tensor) -> Tensor:
    return torch.searchsorted(reals, scores.contiguous(), right=True) / len(reals)
