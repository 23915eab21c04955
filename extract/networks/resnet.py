"""Residual networks of bottlenecks (He et al. 2016): ResNet-50 and shorter ones of its kind.

Names are torchvision's, so that ImageNet's and CNNDetection's weights load as they are. Legend:
b images, c channels, h height, w width, d channels of the pooled vector.
"""

from dataclasses import asdict, dataclass

from torch import Tensor, nn
from torch.nn import functional

from extract.networks.frame_network import CLS, LOGIT, FrameNetwork

EXPANSION = 4
"""How much wider a block's result is than its middle."""


class Bottleneck(nn.Module):
    """Narrower, over the neighbourhood, wider; added to what came in."""

    def __init__(self, into: int, middle: int, stride: int) -> None:
        super().__init__()
        out = middle * EXPANSION
        self.conv1 = nn.Conv2d(into, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            shortcut = nn.Conv2d(into, out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x_bchw: Tensor) -> Tensor:
        narrow = functional.relu(self.bn1(self.conv1(x_bchw)))
        narrow = functional.relu(self.bn2(self.conv2(narrow)))
        wide: Tensor = self.bn3(self.conv3(narrow))
        return functional.relu(wide + self.downsample(x_bchw))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig:
    """How many blocks, how wide, and how it begins."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Of each stage; every stage but the first halves the map and doubles the width."""
    width: int = 64
    """Of the stem, and of the middle of the first stage's blocks."""
    stem: int = 7
    """Side of the first convolution."""


class ResNet(FrameNetwork):
    """Pictures of any size → the mean of the last map, and one number from it.

    With the last layer `fc` it is CNNDetection's detector (Wang et al., CVPR 2020, arXiv
    1912.11035): above 0 is generated.
    """

    def __init__(self, config: ResNetConfig, last: str = "fc") -> None:
        super().__init__(asdict(config))
        self.last = last
        width, side = config.width, config.stem
        self.conv1 = nn.Conv2d(3, width, side, stride=2, padding=side // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = [f"layer{number + 1}" for number in range(len(config.blocks))]
        into = width
        for number, (name, count) in enumerate(zip(self.stages, config.blocks, strict=True)):
            blocks = []
            for block in range(count):
                stride = 2 if number and not block else 1
                blocks.append(Bottleneck(into, width * 2**number, stride))
                into = width * 2**number * EXPANSION
            self.add_module(name, nn.Sequential(*blocks))
        self.add_module(last, nn.Linear(into, 1))

    def pooled(self, images_bchw: Tensor) -> Tensor:
        """(b, d)."""
        x_bchw = functional.relu(self.bn1(self.conv1(images_bchw)))
        x_bchw = functional.max_pool2d(x_bchw, 3, stride=2, padding=1)
        for name in self.stages:
            x_bchw = self.get_submodule(name)(x_bchw)
        return x_bchw.mean((2, 3))

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        pooled_bd = self.pooled(images_bchw)
        return {CLS: pooled_bd, LOGIT: self.get_submodule(self.last)(pooled_bd)}

    def layer_of(self, name: str) -> int:
        """0 the stem, then a stage each, then the last layer."""
        first = name.partition(".")[0]
        if first in self.stages:
            return self.stages.index(first) + 1
        return len(self.stages) + 1 if first == self.last else 0
