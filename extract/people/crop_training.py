"""The network of one kind of crop in training, on pictures that are such crops already.

Legend: b views, f frames, n pictures, s a slot's bytes, c colour, h height, w width, d channels.
"""

import torch
from torch import Tensor

from extract.networks.simmim import NOT_DECAYED, SimMim
from extract.people.crop_rows import headers, normalised, pixels_of
from extract.people.person_crops import CropPlan
from extract.trainable import OwnHead, Trainable

VECTOR, PRESENT = "vector", "present"


class CropTraining(Trainable):
    """Layer 0 is the embedding, then the blocks, then the last norm; each frame by itself."""

    pooled = (VECTOR,)
    not_decayed = NOT_DECAYED

    def __init__(self, model: SimMim, plan: CropPlan, abnormal: int) -> None:
        assert plan.only is not None
        self.model: SimMim = model
        self.blocks = tuple(model.blocks)
        self.paths = len(self.blocks)
        self.layers = self.paths + 2
        self.own_head = OwnHead(
            vector=VECTOR, weight="head.weight", bias="head.bias", forged=abnormal
        )
        self._slot, self._size = plan.only, plan.size
        look = plan.look
        self._mean, self._std = (torch.tensor(x).view(3, 1, 1) for x in (look.mean, look.std))

    def layer_of(self, name: str) -> int:
        return self.model.layer_of(name)

    def enter(self, rows: Tensor, layer: int) -> Tensor:
        """(b, f, c, h, w); a frame that is not there is all zeros, as no picture is."""
        del layer
        rows_bfs = rows[:, :, 0, self._slot]
        there_bf = headers(rows_bfs)[0]
        pixels = pixels_of(rows_bfs.flatten(0, 1), self._size)
        mean, std = (x.to(rows.device) for x in (self._mean, self._std))
        pictures = normalised(pixels, mean, std) * there_bf.flatten()[:, None, None, None]
        return pictures.reshape(*there_bf.shape, *pictures.shape[1:])

    def vectors(self, x: Tensor, layer: int, keep: Tensor | None = None) -> dict[str, Tensor]:
        del layer
        there_bf = x.detach().flatten(2).any(-1)
        there_n = there_bf.flatten()
        looked_at = there_n if bool(there_n.any()) else torch.ones_like(there_n)
        if keep is not None:  # a view's frames skip together
            keep = keep.repeat_interleave(there_bf.shape[1], -1)[..., looked_at]
        found_nd = self.model.feature(x.flatten(0, 1)[looked_at], keep).float()
        whole_nd = found_nd.new_zeros(len(there_n), found_nd.shape[-1])
        whole_nd[looked_at] = found_nd
        vector_bfd = (whole_nd * there_n[:, None]).reshape(*there_bf.shape, -1)
        return {VECTOR: vector_bfd, PRESENT: there_bf.to(torch.uint8)}
