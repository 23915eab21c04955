"""Four published scores behind one face, for the head `trajectory`; larger is more *real*.

A score looks at views with equally many frames at a time. What it has to know beforehand it learns
from whole views of the training videos. Legend: n views, t frames, d channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extract.networks import paths
from heads.errors import BadTable
from heads.parts.drawing import drawn
from heads.parts.likelihood import Gaussian, Likelihoods
from heads.parts.straight import StraightMlp, balanced

Views = Mapping[str, Tensor]
"""Array → (n, …), as the branch gives it, with places for all of the protocol's frames."""


class PathScore(ABC):
    """One method's score."""

    arrays: tuple[str, ...]
    """What it reads of the branch."""
    least: int
    """Frames below which there is no score."""
    needs_generated = False
    """Whether it learns from generated videos too."""

    def learn(self, views: Views, real_n: Tensor, seed: int) -> None:
        """From views of which every frame is there."""
        del views, real_n, seed

    @abstractmethod
    def score(self, views: Views, frames: int) -> Tensor:
        """(n): of views whose first `frames` frames are there."""

    def state(self) -> dict[str, Tensor]:
        """What was learnt."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """From what `state` gave."""
        del state


class Unevenness(PathScore):
    """D3."""

    arrays, least = ("cls",), 4

    def __init__(self, distance: str) -> None:
        self._first = paths.lengths if distance == "l2" else paths.similarities

    def score(self, views: Views, frames: int) -> Tensor:
        return paths.unevenness(self._first(views["cls"][:, :frames]))


class Likelihood(PathScore):
    """STALL."""

    arrays, least = ("cls",), 2
    _real: Likelihoods

    def learn(self, views: Views, real_n: Tensor, seed: int) -> None:
        del seed
        if int(real_n.sum()) <= 1:
            raise BadTable(
                f"stall learns from real views of which every frame is there; {int(real_n.sum())} "
                f"are. Give more real videos, or a protocol with fewer frames."
            )
        self._real = Likelihoods.of(views["cls"][real_n])

    def score(self, views: Views, frames: int) -> Tensor:
        return self._real.score(views["cls"][:, :frames])

    def state(self) -> dict[str, Tensor]:
        real = self._real
        return {
            "frames.mean": real.frames.mean_d, "frames.whitening": real.frames.whitening_dk,
            "steps.mean": real.steps.mean_d, "steps.whitening": real.steps.whitening_dk,
            "best_frames": real.best_frames, "worst_steps": real.worst_steps,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Tensor]) -> None:
        frames, steps = (
            Gaussian(mean_d=state[f"{of}.mean"], whitening_dk=state[f"{of}.whitening"])
            for of in ("frames", "steps")
        )
        self._real = Likelihoods(
            frames=frames, steps=steps, best_frames=state["best_frames"],
            worst_steps=state["worst_steps"],
        )  # fmt: skip


class Straightness(PathScore):
    """ReStraV."""

    arrays, least = ("steps", "angles"), 8
    _EPOCHS, _BATCH = 10, 32

    def __init__(self, mlp: Path | None) -> None:
        self.needs_generated = mlp is None
        self._mlp = StraightMlp() if mlp is None else StraightMlp.read(mlp)

    def learn(self, views: Views, real_n: Tensor, seed: int) -> None:
        if self.needs_generated:
            rows = balanced(real_n.numpy(), seed)
            features = self._features(views, views["steps"].shape[1] + 1)[rows]
            self._mlp = drawn(seed, StraightMlp)
            self._mlp.standardise(features)
            self._train(features, real_n[rows].float(), seed)

    def _train(self, features: Tensor, real_n: Tensor, seed: int) -> None:
        """As its authors do it: as many of one kind as of the other, plain Adam."""
        random, optimiser = np.random.default_rng(seed), self._mlp.optimiser()
        for _ in range(self._EPOCHS):
            order = random.permutation(len(features))
            for part in np.array_split(order, -(-len(order) // self._BATCH)):
                optimiser.zero_grad()
                self._mlp.loss(features[part], real_n[part]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    @torch.no_grad()
    def score(self, views: Views, frames: int) -> Tensor:
        logit: Tensor = self._mlp(self._features(views, frames))
        return logit

    def _features(self, views: Views, frames: int) -> Tensor:
        steps, angles = views["steps"][:, : frames - 1], views["angles"][:, : frames - 2]
        return paths.straightness(steps, angles)

    def state(self) -> dict[str, Tensor]:
        return dict(self._mlp.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._mlp = StraightMlp.of(state)


class Patchwork(PathScore):
    """SPLIT, whose own score is larger for generated videos."""

    arrays, least = ("roughness", "incoherence"), 3

    def score(self, views: Views, frames: int) -> Tensor:
        del frames  # the branch left out what is not there
        return -paths.patchwork(views["roughness"], views["incoherence"].squeeze(-1))
