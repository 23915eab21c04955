"""What sits on a network's pooled vectors in training: a fusion head, or a linear one.

Each learns with the network and becomes a head of a bundle. Vectors of other networks stand beside
the network's own, as they are cached. Parameters have the head's names, with `/` for dots.
Legend: b samples, f frames, d channels, c classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from heads.finetuning.processes import Processes, SharedStatistics
from heads.head import Head
from heads.parts.arrays import mean_of
from heads.parts.fusion_net import BatchStatistics, Layout, logits
from heads.parts.pooled import Standard
from heads.parts.present import PRESENT, is_mask, present_key
from heads.zoo.fusion import Fusion, FusionConfig, FusionModel
from heads.zoo.linear import Linear, LinearConfig


class Readout(nn.Module, ABC):
    """Vectors in, logits out."""

    width = 0
    """Columns that dropout may take; 0: there is none."""
    batch_statistics = False
    """Whether in training a sample's logits depend on the others of its batch."""

    @abstractmethod
    def forward(
        self, vectors: Mapping[str, Tensor], beside_bd: Tensor, drop_bd: Tensor | None = None
    ) -> Tensor:
        """The network's vectors by name, and the cached ones side by side → (b, c)."""

    def buffers_that_learn(self) -> dict[str, Tensor]:
        """What training changes beside parameters."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Its tensors under the head's names, live."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name.replace("/", "."): tensor for name, tensor in named}

    @abstractmethod
    def head(self, tensors: dict[str, Tensor], classes: Sequence[str]) -> Head:
        """The same as a head of a bundle; `tensors` are those of `state`, whole."""


class FusionReadout(Readout):
    """The fusion head on a video transformer's vectors and cached depth."""

    def __init__(
        self,
        config: FusionConfig,
        layout: Layout,
        state: Mapping[str, Tensor],
        processes: Processes | None = None,
    ) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.batch_statistics = layout.down_norm == "bn" and layout.width > 0
        for name, tensor in state.items():
            inner = name.replace(".", "/")
            if "running" in name:
                self.register_buffer(inner, tensor.clone())
            else:
                learns = name != "alpha" or (bool(layout.depth) and layout.alpha != "fixed")
                parameter = nn.Parameter(tensor.detach().clone(), requires_grad=learns)
                self.register_parameter(inner, parameter)
        several = processes is not None and processes.count > 1
        self._statistics = SharedStatistics if several else BatchStatistics

    def forward(
        self, vectors: Mapping[str, Tensor], beside_bd: Tensor, drop_bd: Tensor | None = None
    ) -> Tensor:
        del drop_bd
        names = ("cls", "avg", "attn")[2 - self.layout.pooled if self.layout.width else 2 :]
        columns = [vectors[name].float() for name in names]
        x = torch.cat([*columns, beside_bd] if self.layout.depth else columns, -1)
        state = self.state()
        statistics = self._statistics(state) if self.training else None
        return logits(state, x, self.layout, statistics)

    def buffers_that_learn(self) -> dict[str, Tensor]:
        return dict(self.named_buffers())

    def head(self, tensors: dict[str, Tensor], classes: Sequence[str]) -> Fusion:
        found = Fusion(self.config, classes)
        found.model = FusionModel(self.config, self.layout, tensors)
        return found


class LinearReadout(Readout):
    """A linear head. With one row it gives the logit of `forged`, against 0 for the other class:
    its cross-entropy is binary cross-entropy with logits."""

    mean: Tensor
    scale: Tensor
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(
        self,
        config: LinearConfig,
        columns: Mapping[str, int | None],
        state: Mapping[str, Tensor],
        forged: int | None = None,
    ) -> None:
        """`columns`: key → its width where it is cached, None where the network makes it."""
        super().__init__()
        self.config, self.forged = config, forged
        self.columns = dict(columns)
        self.weight = nn.Parameter(state["weight"].detach().clone())
        self.bias = nn.Parameter(state["bias"].detach().clone())
        for name in ("mean", "scale"):
            self.register_buffer(name, state[name].clone())
        self.width = len(self.mean)

    def forward(
        self, vectors: Mapping[str, Tensor], beside_bd: Tensor, drop_bd: Tensor | None = None
    ) -> Tensor:
        x_bd = Standard(mean=self.mean, scale=self.scale)(self._joined(vectors, beside_bd))
        if drop_bd is not None:
            x_bd = x_bd * drop_bd
        found = x_bd @ self.weight.mT + self.bias
        if self.forged is None:
            return found
        zero = torch.zeros_like(found)
        return torch.cat([found, zero] if self.forged == 0 else [zero, found], -1)

    def head(self, tensors: dict[str, Tensor], classes: Sequence[str]) -> Linear:
        found = Linear(self.config, classes)
        weight, bias = tensors["weight"], tensors["bias"]
        if self.forged is not None:
            rows = (weight, torch.zeros_like(weight)), (bias, torch.zeros_like(bias))
            weight, bias = (torch.cat(two if self.forged == 0 else two[::-1]) for two in rows)
        found.begin_with(Standard(mean=tensors["mean"], scale=tensors["scale"]), weight, bias)
        return found

    def _joined(self, vectors: Mapping[str, Tensor], beside_bd: Tensor) -> Tensor:
        """Every key's vector, in the order of the keys; of several frames their mean."""
        parts, start = [], 0
        for key, width in self.columns.items():
            if width is not None:
                parts.append(beside_bd[:, start : start + width])
                start += width
            elif not is_mask(key):
                own = vectors[key.partition("/")[2]].to(self.mean.dtype)
                masked = present_key(key) in self.columns
                parts.append(_frames_mean(own, vectors[PRESENT] if masked else None))
        return torch.cat(parts, -1)


def reads_only(columns: Mapping[str, int | None], vector: str) -> bool:
    """Whether a linear head is on one vector of the network and on nothing else."""
    own = [key.partition("/")[2] for key, width in columns.items() if width is None]
    return len(own) == len(columns) and [name for name in own if name != PRESENT] == [vector]


def one_row(weight: Tensor, bias: Tensor, real: int) -> tuple[Tensor, Tensor]:
    """A head of two classes as the one logit of the class that is not `real`."""
    other = 1 - real
    return weight[other : other + 1] - weight[real : real + 1], bias[other : other + 1] - bias[
        real : real + 1
    ]


def unstandardised(standard: Standard, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The same linear function of vectors as they are."""
    plain = weight * standard.scale
    return plain, bias - plain @ standard.mean


def with_arrays(config: LinearConfig, keys: Sequence[str]) -> LinearConfig:
    """On these arrays, whatever the default ones are."""
    return replace(config, arrays=",".join(keys))


def _frames_mean(vectors: Tensor, present_bf: Tensor | None) -> Tensor:
    if vectors.ndim == 2:
        return vectors
    return mean_of(vectors[:, None], None if present_bf is None else present_bf[:, None])[:, 0]
