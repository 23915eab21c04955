"""AltFreezing's 3D ResNet-50 (Wang et al. 2023, after FTCN and SlowFast): clip → vector and logit.

Kernels are over space alone (1x3x3), over time alone (3x1x1) or neither (the stem's 5x7x7 and all
1x1x1), which is what lets a training freeze one kind and then the other: `kind_of` tells which is
which. Names are the official ones: a released checkpoint loads as it stands or is refused.
Legend: n clips, c channels, t frames, h height, w width, p places of the sliding last pool.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.networks import weights

Kind = Literal["spatial", "temporal", "both"]

WIDTH = 64
FRAMES = 32
IMAGE = 224
_TEMPORAL = {"s2": (3, 3, 3), "s3": (3, 1, 3, 1), "s4": (3, 1, 3, 1, 3, 1), "s5": (1, 3, 1)}
"""Stage → the temporal kernel of each block's first convolution."""
_FIRST_STRIDED = "s3"
_EXPANSION = 4
_SHRINK_T, _SHRINK_HW = 2, 32
_DROPOUT = 0.5
_PREFIXES = ("module.", "network.")


class Stem(nn.Module):
    """The first convolution; after its pool the picture is a quarter as wide, time is whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, width, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False)
        self.bn = nn.BatchNorm3d(width)

    def forward(self, x_ncthw: Tensor) -> Tensor:
        seen = functional.relu(self.bn(self.conv(x_ncthw)))
        return functional.max_pool3d(seen, (1, 3, 3), (1, 2, 2), (0, 1, 1))


class Bottleneck(nn.Module):
    """Over time, over the picture, and back to the full width: what a block adds to its input."""

    def __init__(self, into: int, inner: int, out: int, temporal: int, stride: int) -> None:
        super().__init__()
        middle = temporal // 2
        self.a = nn.Conv3d(into, inner, (temporal, 1, 1), 1, (middle, 0, 0), bias=False)
        self.a_bn = nn.BatchNorm3d(inner)
        self.b = nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.b_bn = nn.BatchNorm3d(inner)
        self.c = nn.Conv3d(inner, out, 1, bias=False)
        self.c_bn = nn.BatchNorm3d(out)

    def forward(self, x_ncthw: Tensor) -> Tensor:
        x_ncthw = functional.relu(self.a_bn(self.a(x_ncthw)))
        x_ncthw = functional.relu(self.b_bn(self.b(x_ncthw)))
        found: Tensor = self.c_bn(self.c(x_ncthw))
        return found


class Block(nn.Module):
    """A bottleneck and its shortcut, which is a convolution where the shape changes."""

    def __init__(self, into: int, inner: int, out: int, temporal: int, stride: int) -> None:
        super().__init__()
        self.reshapes = into != out
        if self.reshapes:
            self.branch1 = nn.Conv3d(into, out, 1, (1, stride, stride), bias=False)
            self.branch1_bn = nn.BatchNorm3d(out)
        self.branch2 = Bottleneck(into, inner, out, temporal, stride)

    def forward(self, x_ncthw: Tensor) -> Tensor:
        kept = self.branch1_bn(self.branch1(x_ncthw)) if self.reshapes else x_ncthw
        return functional.relu(kept + self.branch2(x_ncthw))


class Head(nn.Module):
    """One logit for each place; the larger, the more forged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, 1)


class ResNet3d(nn.Module):
    """The whole network. Clips longer or larger than it was made for get a logit at each place
    where the last pool fits; smaller ones are an error."""

    def __init__(self, *, width: int = WIDTH, frames: int = FRAMES, image: int = IMAGE) -> None:
        super().__init__()
        self.frames, self.image = frames, image
        self.channels = width * _EXPANSION * 2 ** (len(_TEMPORAL) - 1)
        parts: dict[str, nn.Module] = {"s1": _named("pathway0_stem", Stem(width))}
        into = width
        for number, (stage, kernels) in enumerate(_TEMPORAL.items()):
            inner = width * 2**number
            blocks = nn.Module()
            for index, temporal in enumerate(kernels):
                stride = 2 if index == 0 and stage >= _FIRST_STRIDED else 1
                out = inner * _EXPANSION
                blocks.add_module(f"pathway0_res{index}", Block(into, inner, out, temporal, stride))
                into = out
            parts[stage] = blocks
        parts["head"] = Head(into)
        self.resnet = nn.ModuleDict(parts)

    def stages(self, clips_ncthw: Tensor) -> dict[str, Tensor]:
        """What every stage gives, by its name; the last one is `s5`."""
        found = {"s1": _through(self.resnet["s1"], clips_ncthw)}
        found["s2"] = _through(self.resnet["s2"], found["s1"])
        found["pool"] = functional.max_pool3d(found["s2"], (2, 1, 1), (2, 1, 1))
        found["s3"] = _through(self.resnet["s3"], found["pool"])
        found["s4"] = _through(self.resnet["s4"], found["s3"])
        found["s5"] = _through(self.resnet["s5"], found["s4"])
        return found

    def vectors(self, clips_ncthw: Tensor) -> Tensor:
        """(n, p, c): the average over the head's window at every place, in the order of t, h, w."""
        side = self.image // _SHRINK_HW
        window = (self.frames // _SHRINK_T, side, side)
        pooled = functional.avg_pool3d(self.stages(clips_ncthw)["s5"], window, stride=1)
        return pooled.flatten(2).transpose(1, 2)

    def logits(self, vectors_npc: Tensor) -> Tensor:
        """(n, p). In training, half of the vector's numbers are left out."""
        kept = functional.dropout(vectors_npc, _DROPOUT, training=self.training)
        head = self.resnet["head"]
        assert isinstance(head, Head)
        found: Tensor = head.projection(kept)
        return found[..., 0]

    def forward(self, clips_ncthw: Tensor) -> Tensor:
        return self.logits(self.vectors(clips_ncthw))

    @property
    def depth(self) -> int:
        """The head's layer."""
        return 1 + sum(len(kernels) for kernels in _TEMPORAL.values())

    def layer_of(self, name: str) -> int:
        """How far from the input a parameter is: 0 the stem, then one layer a block, then the
        head."""
        _, stage, place, *_ = name.split(".")
        if stage == "s1":
            return 0
        if stage == "head":
            return self.depth
        before = sum(len(kernels) for other, kernels in _TEMPORAL.items() if other < stage)
        return 1 + before + int(place.removeprefix("pathway0_res"))

    def kind_of(self, name: str) -> Kind:
        """Which kernels are over space alone, which over time alone; `both` is never frozen."""
        if name.endswith(".branch2.b.weight"):
            return "spatial"
        if name.endswith(".branch2.a.weight"):
            kernel = self.get_parameter(name).shape[2]
            return "temporal" if kernel > 1 else "both"
        return "both"

    def initialise(self, seed: int) -> None:
        """Numbers to train from, as the released code draws them: each block starts as nothing but
        its shortcut, since the last BatchNorm's weight in it is 0."""
        generator = torch.Generator().manual_seed(seed)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu", generator=generator
                )
            elif isinstance(module, nn.BatchNorm3d):
                nn.init.constant_(module.weight, 0.0 if name.endswith("c_bn") else 1.0)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01, generator=generator)
                nn.init.zeros_(module.bias)


def from_state(
    state: weights.State, *, frames: int = FRAMES, image: int = IMAGE, width: int = WIDTH
) -> ResNet3d:
    """The network with the tensors of an official checkpoint; anything else is refused."""
    with weights.unfilled():
        model = ResNet3d(width=width, frames=frames, image=image)
    weights.fill(model, official_names(state), model="AltFreezing's 3D ResNet-50")
    return model.eval()


def official_names(state: weights.State) -> weights.State:
    """Without what wrappers put before the names: `module.`, then `network.`."""
    for prefix in _PREFIXES:
        state = weights.without_prefix(state, (prefix,))
    return {
        key: weights.float32(value) if value.is_floating_point() else value
        for key, value in state.items()
    }


def random(seed: int, *, width: int = WIDTH, frames: int = FRAMES, image: int = IMAGE) -> ResNet3d:
    """With random numbers in every tensor, for trying things out."""
    model = ResNet3d(width=width, frames=frames, image=image)
    weights.seeded(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bn." in name and name.endswith("weight"):
                parameter.fill_(1)
    return model.eval()


def _named(name: str, module: nn.Module) -> nn.Module:
    outer = nn.Module()
    outer.add_module(name, module)
    return outer


def _through(stage: nn.Module, x_ncthw: Tensor) -> Tensor:
    for part in stage.children():
        x_ncthw = part(x_ncthw)
    return x_ncthw
