"""The 30 high-pass kernels of the spatial rich model (Fridrich and Kodovsky 2012) that PatchCraft
uses, 5 x 5, in the order of its checkpoint."""

import torch
from torch import Tensor

_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Row and column steps to the centre's neighbours."""
_CLOCKWISE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_THREE = ((-1, 2, -1), (2, -4, 2), (-1, 2, -1))
_FIVE = (
    (-1, 2, -2, 2, -1),
    (2, -6, 8, -6, 2),
    (-2, 8, -12, 8, -2),
    (2, -6, 8, -6, 2),
    (-1, 2, -2, 2, -1),
)


def rich_kernels() -> Tensor:
    """(30, 5, 5): along lines of first, second and third order, at edges, over squares."""
    first = [_line({1: 1, 0: -1}, step) for step in _AROUND]
    second = [_line({1: 1, 0: -2, -1: 1}, step) / 2 for step in _AROUND[:4]]
    third = [_line({2: -1, 1: 3, 0: -3, -1: 1}, step) / 3 for step in _CLOCKWISE]
    three = torch.zeros(5, 5)
    three[1:4, 1:4] = torch.tensor(_THREE)
    five = torch.tensor(_FIVE, dtype=torch.float32)
    squares = [three / 4, five / 12]
    return torch.stack([*first, *second, *third, *_edges(three / 4), *_edges(five / 12), *squares])


def _line(values: dict[int, int], step: tuple[int, int]) -> Tensor:
    """Values at so many steps from the centre."""
    kernel = torch.zeros(5, 5)
    for times, value in values.items():
        kernel[2 + times * step[0], 2 + times * step[1]] = value
    return kernel


def _edges(square: Tensor) -> list[Tensor]:
    """Its upper half, turned clockwise."""
    upper = square.clone()
    upper[3:] = 0
    return [torch.rot90(upper, -quarters) for quarters in range(4)]
