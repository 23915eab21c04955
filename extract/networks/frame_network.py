"""What every detector of single frames gives, whoever made it."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from extract.networks.weights import seeded

CLS, LOGIT = "cls", "logit"


class FrameNetwork(nn.Module):
    """Normalised pictures → named vectors, one row each."""

    last = ""
    """The name of the linear layer that judges; empty: there is none to train."""
    generated = 0
    """The row of it that is larger for generated pictures."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        """What is said of it in fingerprints, beside the weights."""
        super().__init__()
        self.architecture = architecture

    @abstractmethod
    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        """`cls` (b, d), the vector that the last layer judges, and its `logit` (b, k)."""

    def layer_of(self, name: str) -> int:
        """How deep a parameter lies, for rates by layer: 0 is the stem, the largest what judges."""
        raise NotImplementedError(f"{type(self).__name__} has no layers that {name} could be of.")

    def weights(self) -> dict[str, Tensor]:
        """All tensors, as they are read from a file."""
        return self.state_dict()

    @property
    def layers(self) -> int:
        return 1 + max(self.layer_of(name) for name, _ in self.named_parameters())


def drawn(network: nn.Module, seed: int) -> None:
    """Random weights, for tests: see `weights.seeded`. Norms leave what they get as it is."""
    seeded(network, seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.fill_(1)
