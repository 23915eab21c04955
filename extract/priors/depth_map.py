"""Depth Pro (Bochkovskii et al. 2024) in full: a depth map of each picture.

The network is Hugging Face's, out of a folder as `save_pretrained` or a download of
`apple/DepthPro-hf` leaves it; nothing is downloaded here. Its map is the inverse of depth, up to
a factor that follows from the field of view. Depth distortion does not ask for that factor, so the
field of view is not estimated.

This is the whole network, 36 passes of a transformer for each picture; the branch `depthpro` needs
two, for other numbers. Apple's own `depth_pro.pt` is not read here.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.errors import BadWeights
from extract.networks.hugging_face import folder_config, loaded, require_transformers

if TYPE_CHECKING:
    from transformers import DepthProForDepthEstimation

_LEAST, _MOST = 1e-2, 1e4
"""Of the inverse. Depth Pro's own code has 1e-4; but what is farther than some hundred metres has
an inverse of next to nothing, whose logarithm is noise."""
_KIND = "depth_pro"


class DepthMap(nn.Module):
    """Pictures of any size → their depth, up to a factor."""

    def __init__(self, network: "DepthProForDepthEstimation") -> None:
        super().__init__()
        self.network = network
        config = network.config
        self.size = round(config.patch_size / min(config.scaled_images_ratios))
        """The network's own: 1536 for the published one."""

    def forward(self, pictures_pchw: Tensor) -> Tensor:
        """In 0…255 → (p, h, w), resized as in Depth Pro's own code.

        Equal pictures are looked at once: short videos have frames in several pairs.
        """
        distinct, which = torch.unique(pictures_pchw.flatten(1), dim=0, return_inverse=True)
        images = distinct.unflatten(1, pictures_pchw.shape[1:])
        return torch.cat([self._one(image[None]) for image in images])[which]

    def _one(self, picture_1chw: Tensor) -> Tensor:
        square = functional.interpolate(
            picture_1chw / 127.5 - 1, size=(self.size, self.size), mode="bilinear"
        )
        inverse: Tensor = self.network(pixel_values=square).predicted_depth.float()
        size = picture_1chw.shape[-2:]
        fitted = functional.interpolate(inverse[:, None], size=size, mode="bilinear")[:, 0]
        return 1 / fitted.clamp(_LEAST, _MOST)


def read(folder: Path) -> DepthMap:
    """The network out of a folder. Weights are safetensors; every one of them must be there."""
    require_transformers("Depth maps")
    wanted = (
        "give a folder with Hugging Face's DepthPro (config.json, model.safetensors), such as a "
        "download of apple/DepthPro-hf"
    )
    kind = folder_config(folder, wanted).get("model_type")
    if kind != _KIND:
        raise BadWeights(f"{folder} holds a {kind!r}, not {_KIND!r}; {wanted}.")
    network, _ = loaded(folder, "DepthProForDepthEstimation", "Depth Pro", use_fov_model=False)
    return DepthMap(network)
