"""RAFT (Teed & Deng 2020), the large one: optical flow from correlations of all pairs of pixels.

Both pictures become features at an eighth of their size. Every feature of one is multiplied by
every one of the other, at four scales; a recurrent network looks up the surroundings of where each
pixel is believed to be, and corrects the belief, again and again. The last one is enlarged by
weighted means of neighbours. Loads the authors' `raft-things.pth` and its siblings, and
torchvision's `raft_large`.
Legend: p pictures, c channels, h w at an eighth of the size.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import weights
from extract.networks.places import pixels, sample

STRIDE = 8
LEVELS = 4
RADIUS = 4
SMALLEST = STRIDE * 2 ** (LEVELS - 1)
"""Pixels of a side: the coarsest scale has one at least."""
ITERATIONS = 20
_AROUND = (2 * RADIUS + 1) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Channels; all that tells two variants apart."""

    stages: tuple[int, int, int]
    """Of the encoders' residual blocks."""
    features: int
    hidden: int
    """What the recurrent network remembers of each pixel."""
    context: int
    correlations: tuple[int, int]
    flows: tuple[int, int]
    motion: int
    heads: int


LARGE = Widths(
    stages=(64, 96, 128), features=256, hidden=128, context=128, correlations=(256, 192),
    flows=(128, 64), motion=128, heads=256,
)  # fmt: skip
TINY = Widths(
    stages=(8, 12, 16), features=16, hidden=8, context=8, correlations=(16, 12), flows=(8, 4),
    motion=8, heads=16,
)  # fmt: skip

Norm = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """Two convolutions beside a way round them."""

    def __init__(self, width: int, out: int, norm: Norm, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride=stride, padding=1)
        self.norm1 = norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm2 = norm(out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(width, out, 1, stride=stride), norm(out))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x_pchw: Tensor) -> Tensor:
        inner = self.norm1(self.conv1(x_pchw)).relu()
        inner = self.norm2(self.conv2(inner)).relu()
        joined: Tensor = self.downsample(x_pchw) + inner
        return joined.relu()


class Encoder(nn.Module):
    """Pictures in -1…1 → features at an eighth of the size."""

    def __init__(self, stages: tuple[int, int, int], out: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stages[0], 7, stride=2, padding=3)
        self.norm1 = norm(stages[0])
        self.layer1 = _stage(stages[0], stages[0], norm, stride=1)
        self.layer2 = _stage(stages[0], stages[1], norm, stride=2)
        self.layer3 = _stage(stages[1], stages[2], norm, stride=2)
        self.conv2 = nn.Conv2d(stages[2], out, 1)

    def forward(self, pictures_pchw: Tensor) -> Tensor:
        x_pchw = self.norm1(self.conv1(pictures_pchw)).relu()
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x_pchw))))
        return features


def _stage(width: int, out: int, norm: Norm, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(width, out, norm, stride), ResidualBlock(out, out, norm, stride=1)
    )


class MotionEncoder(nn.Module):
    """Correlations around where a pixel is believed to be, and the belief itself."""

    def __init__(self, a: Widths) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * _AROUND, a.correlations[0], 1)
        self.convc2 = nn.Conv2d(*a.correlations, 3, padding=1)
        self.convf1 = nn.Conv2d(2, a.flows[0], 7, padding=3)
        self.convf2 = nn.Conv2d(*a.flows, 3, padding=1)
        self.conv = nn.Conv2d(a.correlations[1] + a.flows[1], a.motion - 2, 3, padding=1)

    def forward(self, flow_p2hw: Tensor, found_pchw: Tensor) -> Tensor:
        found = self.convc2(self.convc1(found_pchw).relu()).relu()
        flow = self.convf2(self.convf1(flow_p2hw).relu()).relu()
        joined = self.conv(torch.cat([found, flow], 1)).relu()
        return torch.cat([joined, flow_p2hw], 1)


class SepConvGRU(nn.Module):
    """A gated recurrent unit whose convolutions go along rows, then along columns."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        for name in ("convz", "convr", "convq"):
            row = nn.Conv2d(hidden + inputs, hidden, (1, 5), padding=(0, 2))
            column = nn.Conv2d(hidden + inputs, hidden, (5, 1), padding=(2, 0))
            self.add_module(f"{name}1", row)
            self.add_module(f"{name}2", column)

    def forward(self, state_pchw: Tensor, inputs_pchw: Tensor) -> Tensor:
        for way in "12":
            update, reset, new = (
                self.get_submodule(f"{name}{way}") for name in ("convz", "convr", "convq")
            )
            both = torch.cat([state_pchw, inputs_pchw], 1)
            share = update(both).sigmoid()
            kept = reset(both).sigmoid() * state_pchw
            proposed = new(torch.cat([kept, inputs_pchw], 1)).tanh()
            state_pchw = (1 - share) * state_pchw + share * proposed
        return state_pchw


class FlowHead(nn.Module):
    """The correction of the flow that a state proposes."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(hidden, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, state_pchw: Tensor) -> Tensor:
        correction: Tensor = self.conv2(self.conv1(state_pchw).relu())
        return correction


class UpdateBlock(nn.Module):
    """One step of the recurrent network."""

    def __init__(self, a: Widths) -> None:
        super().__init__()
        self.encoder = MotionEncoder(a)
        self.gru = SepConvGRU(a.hidden, a.context + a.motion)
        self.flow_head = FlowHead(a.hidden, a.heads)
        self.mask = nn.Sequential(
            nn.Conv2d(a.hidden, a.heads, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(a.heads, 9 * STRIDE**2, 1),
        )

    def forward(self, state: Tensor, context: Tensor, flow: Tensor, found: Tensor) -> Tensor:
        new: Tensor = self.gru(state, torch.cat([context, self.encoder(flow, found)], 1))
        return new


class Raft(nn.Module):
    """Flow between pictures, both ways."""

    def __init__(self, a: Widths, iterations: int = ITERATIONS) -> None:
        super().__init__()
        self.hidden = a.hidden
        self.iterations = iterations
        self.fnet = Encoder(a.stages, a.features, nn.InstanceNorm2d)
        self.cnet = Encoder(a.stages, a.hidden + a.context, nn.BatchNorm2d)
        self.update_block = UpdateBlock(a)

    def forward(self, first_pchw: Tensor, second_pchw: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures in 0…255, of sides that divide by 8 → flow there and back, in pixels."""
        pictures = torch.cat([first_pchw, second_pchw]) * (2 / 255) - 1
        features, context = self.fnet(pictures), self.cnet(pictures)
        there, back = features.chunk(2)
        flow_p2hw = self._follow(features, torch.cat([back, there]), context)
        first, second = flow_p2hw.chunk(2)
        return first, second

    def _follow(self, from_pchw: Tensor, to_pchw: Tensor, context_pchw: Tensor) -> Tensor:
        scales = correlations(from_pchw, to_pchw)
        state = context_pchw[:, : self.hidden].tanh()
        context = context_pchw[:, self.hidden :].relu()
        start = pixels(from_pchw)
        flow = torch.zeros_like(from_pchw[:, :2])
        for _ in range(self.iterations):
            found = look_up(scales, start + flow)
            state = self.update_block(state, context, flow, found)
            flow = flow + self.update_block.flow_head(state)
        return enlarged(flow, 0.25 * self.update_block.mask(state))


def correlations(from_pchw: Tensor, to_pchw: Tensor) -> list[Tensor]:
    """Every feature of one picture with every one of the other (p·h·w, 1, h, w), at four scales."""
    count, width, height, across = from_pchw.shape
    products = from_pchw.flatten(2).transpose(1, 2) @ to_pchw.flatten(2)
    finest = (products / width**0.5).reshape(count * height * across, 1, height, across)
    scales = [finest]
    while len(scales) < LEVELS:
        scales.append(functional.avg_pool2d(scales[-1], 2))
    return scales


def look_up(scales: list[Tensor], places_p2hw: Tensor) -> Tensor:
    """Correlations around places, scale by scale, column by column (p, 4·81, h, w)."""
    count, _, height, width = places_p2hw.shape
    steps = torch.arange(-RADIUS, RADIUS + 1, device=places_p2hw.device, dtype=torch.float32)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
    centres = places_p2hw.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = [
        sample(scale, centres / 2**level + around, padding="zeros")
        .reshape(count, height, width, _AROUND)
        for level, scale in enumerate(scales)
    ]  # fmt: skip
    return torch.cat(found, -1).permute(0, 3, 1, 2)


def enlarged(flow_p2hw: Tensor, mask_pchw: Tensor) -> Tensor:
    """Eight times the size: each new pixel is a weighted mean of nine old ones."""
    count, _, height, width = flow_p2hw.shape
    weight = mask_pchw.reshape(count, 1, 9, STRIDE, STRIDE, height, width).softmax(2)
    around = functional.unfold(STRIDE * flow_p2hw, 3, padding=1)
    around = around.reshape(count, 2, 9, 1, 1, height, width)
    fine = (weight * around).sum(2).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(count, 2, STRIDE * height, STRIDE * width)


_TWICE = re.compile(r"cnet\..*\.norm3\..*")
"""The authors' blocks have this one under `downsample.1` too."""
_TORCHVISION = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^feature_encoder\.", "fnet."),
        (r"^context_encoder\.", "cnet."),
        (r"^(.net)\.convnormrelu\.0\.", r"\1.conv1."),
        (r"^(.net)\.convnormrelu\.1\.", r"\1.norm1."),
        (r"^(.net)\.conv\.", r"\1.conv2."),
        (r"\.convnormrelu([12])\.0\.", r".conv\1."),
        (r"\.convnormrelu([12])\.1\.", r".norm\1."),
        (r"\.motion_encoder\.conv(c|f)(?:orr|low)([12])\.0\.", r".encoder.conv\1\2."),
        (r"\.motion_encoder\.conv\.0\.", r".encoder.conv."),
        (r"\.recurrent_block\.convgru([12])\.(conv[zrq])\.", r".gru.\2\1."),
        (r"^mask_predictor\.convrelu\.0\.", "update_block.mask.0."),
        (r"^mask_predictor\.conv\.", "update_block.mask.2."),
    )
)


def from_state(state: Mapping[str, Tensor], iterations: int = ITERATIONS) -> Raft:
    """The large network with the authors' weights, or torchvision's."""
    state = weights.without_prefix(state, ("module.",))
    ours: weights.State = {}
    for original, value in state.items():
        key = original
        for pattern, replacement in _TORCHVISION:
            key = pattern.sub(replacement, key)
        if not _TWICE.fullmatch(key):
            ours[key] = value
    model = Raft(LARGE, iterations)
    hint = " Give raft-things.pth of the authors, or raft_large of torchvision; not a small one."
    weights.fill(model, ours, model="RAFT (large)", hint=hint)
    return model.eval()


def read(path: Path, iterations: int = ITERATIONS) -> Raft:
    return from_state(weights.read_state(path), iterations)


def tiny(iterations: int = ITERATIONS) -> Raft:
    """Random numbers, the same everywhere: for tests."""
    model = Raft(TINY, iterations)
    weights.seeded(model, seed=3)
    return model.eval()
