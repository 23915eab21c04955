"""What every image encoder gives, whoever made it.

Legend: b images, p patches, c channels, h w height and width, d channels of the encoder.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from extract.views.looks import Look

CLS, TOKENS, EMBEDDING, PROJECTED = "cls", "tokens", "embedding", "tokens-projected"


class Encoder(nn.Module):
    """A frozen network for single images, or for images in groups that know of each other."""

    look: Look
    """How it is fed, unless a detector feeds it otherwise."""
    group = 1
    """How many images are looked at together."""
    architecture: Mapping[str, Any]
    """For the fingerprint, beside the weights."""
    source: str
    """Where its numbers are from."""

    @abstractmethod
    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        """Normalised images → `cls` (b, d) and `tokens` (b, p, d), of the patches alone; where the
        encoder has a space for captions, `embedding` and `tokens-projected` in it."""

    layers = 0
    """How many layers it names, to be trained; 0: it stays frozen."""

    def layer_of(self, name: str) -> int:
        """Of a parameter, where the encoder names layers: 0 sees the pixels."""
        raise NotImplementedError(name)

    def weights(self) -> dict[str, Tensor]:
        """All tensors, as they are read from a file."""
        return self.state_dict()

    @torch.no_grad()
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Output → its shape for one image."""
        images = torch.zeros(self.group, 3, self.look.height, self.look.width)
        return {name: tuple(found.shape[1:]) for name, found in self.eval()(images).items()}
