"""Rows of crops on the device: what their headers say, and their pixels as networks take them.

Legend: n pictures, h height, w width, c colour.
"""

import torch
from torch import Tensor

from extract.people.person_crops import HEADER


def headers(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of rows in bytes: whether there is a crop, whose it is, and (…, 5) its box and score."""
    head = rows[..., : HEADER.itemsize].contiguous()
    whole = head.view(torch.int32)
    return whole[..., 0] > 0, whole[..., 1], head.view(torch.float32)[..., 2:7]


def pixels_of(rows_nr: Tensor, size: int) -> Tensor:
    """(n, h, w, c) in bytes."""
    return rows_nr[:, HEADER.itemsize :].reshape(-1, size, size, 3)


def normalised(pixels_nhwc: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(n, c, h, w)"""
    return (pixels_nhwc.permute(0, 3, 1, 2).float() / 255 - mean) / std
