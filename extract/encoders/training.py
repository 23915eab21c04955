"""An image encoder, or a detector of single frames, in training: each frame by itself.

Legend: b views, f frames, c channels, h height, w width, d channels of the encoder.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from extract.encoders.branch_parts import PRESENT, Pictures
from extract.encoders.encoder import CLS, Encoder
from extract.networks.frame_network import FrameNetwork
from extract.trainable import OwnHead, Trainable


class EncoderTraining(Trainable):
    """Of an encoder that names its layers."""

    def __init__(self, model: Encoder | FrameNetwork, pictures: Pictures) -> None:
        self.model: Encoder | FrameNetwork = model
        self.layers = model.layers
        self.pooled = (CLS,)
        self._pictures = pictures

    def layer_of(self, name: str) -> int:
        return self.model.layer_of(name)

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        """(b, f, c, h, w); a frame that the video does not have is all zeros, as no picture is."""
        del layer
        return self._pictures(rows)[1]

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        del layer, keep
        present_bf = x.detach().flatten(2).any(-1)
        cls_nd: Tensor = self.model(x.flatten(0, 1))[CLS].float()
        found = cls_nd.reshape(*present_bf.shape, -1)
        return {CLS: found, PRESENT: present_bf.to(torch.uint8)}

    def weights(self) -> Mapping[str, Tensor]:
        return self.model.weights()


class DetectorTraining(EncoderTraining):
    """Of a detector, whose own last layer may judge."""

    def __init__(self, model: FrameNetwork, pictures: Pictures) -> None:
        super().__init__(model, pictures)
        self.own_head = OwnHead(
            vector=CLS,
            weight=f"{model.last}.weight",
            bias=f"{model.last}.bias",
            forged=model.generated,
        )
