"""Swin (Liu et al., ICCV 2021), with timm's names: attention inside windows that shift by halves.

Legend: b images, c channels, h height, w width, n windows, t places of a window, k classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from extract.networks.convnext import Mlp

_FAR = -100.0
"""What is added where two places of a window are not neighbours in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinConfig:
    """Its tiny form as it stands; pictures are of one size."""

    size: int = 224
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    width: int = 96
    window: int = 7
    classes: int = 1000


class WindowAttention(nn.Module):
    """Every place of a window with every other, and how far apart they are."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        steps = 2 * window - 1
        self.relative_position_bias_table = nn.Parameter(torch.zeros(steps**2, heads))
        places = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij"))
        apart = places.flatten(1)[:, :, None] - places.flatten(1)[:, None] + window - 1
        self.register_buffer("relative_position_index", apart[0] * steps + apart[1])

    def forward(self, x_ntc: Tensor, mask_ntt: Tensor | None) -> Tensor:
        windows, places, width = x_ntc.shape
        shape = (windows, places, 3, self.heads, width // self.heads)
        query, key, value = self.qkv(x_ntc).reshape(shape).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        scores = scores + self.relative_position_bias_table[self.relative_position_index].permute(
            2, 0, 1
        )
        if mask_ntt is not None:
            scores = scores + mask_ntt.repeat(windows // len(mask_ntt), 1, 1)[:, None]
        seen: Tensor = scores.softmax(-1) @ value
        found: Tensor = self.proj(seen.transpose(1, 2).reshape(windows, places, width))
        return found


class Block(nn.Module):
    """Attention in windows, then each place by itself."""

    attn_mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = min(window, side), shift if side > window else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.register_buffer("attn_mask", self._mask(side) if self.shift else None)

    def _mask(self, side: int) -> Tensor:
        """(n, t, t): a shifted window at the edge holds parts of the picture that are far apart."""
        ends = torch.arange(side)
        parts = (ends >= side - self.window).int() + (ends >= side - self.shift).int()
        named = (3 * parts[:, None] + parts)[None, :, :, None]
        windows_nt = self._windows(named)[..., 0]
        apart = windows_nt[:, :, None] != windows_nt[:, None]
        return apart.float() * _FAR

    def _windows(self, x_bhwc: Tensor) -> Tensor:
        images, height, width, channels = x_bhwc.shape
        side = self.window
        cut = x_bhwc.reshape(images, height // side, side, width // side, side, channels)
        return cut.transpose(2, 3).reshape(-1, side * side, channels)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        images, height, width, channels = x_bhwc.shape
        side = self.window
        turned = self.norm1(x_bhwc).roll((-self.shift, -self.shift), (1, 2))
        seen_ntc = self.attn(self._windows(turned), self.attn_mask)
        put = seen_ntc.reshape(images, height // side, width // side, side, side, channels)
        back = put.transpose(2, 3).reshape(x_bhwc.shape).roll((self.shift, self.shift), (1, 2))
        x_bhwc = x_bhwc + back
        added: Tensor = self.mlp(self.norm2(x_bhwc))
        return x_bhwc + added


class Merging(nn.Module):
    """Four neighbours become one place of twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        four = [x_bhwc[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        found: Tensor = self.reduction(self.norm(torch.cat(four, -1)))
        return found


class Layer(nn.Module):
    """Blocks of one size, every other one with shifted windows; then half as large."""

    def __init__(
        self, width: int, heads: int, depth: int, side: int, window: int, *, merges: bool
    ) -> None:
        super().__init__()
        shifts = [window // 2 if number % 2 else 0 for number in range(depth)]
        self.blocks = nn.Sequential(*(Block(width, heads, side, window, s) for s in shifts))
        self.downsample: nn.Module = Merging(width) if merges else nn.Identity()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        found: Tensor = self.downsample(self.blocks(x_bhwc))
        return found


class PatchEmbed(nn.Module):
    """4 x 4 pixels become a place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, images_bchw: Tensor) -> Tensor:
        found: Tensor = self.norm(self.proj(images_bchw).permute(0, 2, 3, 1))
        return found


class Swin(nn.Module):
    """Pictures of the config's size → a number for each class (b, k)."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.size = config.size
        self.patch_embed = PatchEmbed(config.width)
        layers = []
        for number, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            width, side = config.width * 2**number, config.size // 4 // 2**number
            merges = number < len(config.depths) - 1
            layers.append(Layer(width, heads, depth, side, config.window, merges=merges))
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.classes)

    def forward(self, images_bchw: Tensor) -> Tensor:
        places_bhwc = self.norm(self.layers(self.patch_embed(images_bchw)))
        found: Tensor = self.head(places_bhwc.mean((1, 2)))
        return found
