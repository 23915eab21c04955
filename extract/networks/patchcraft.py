"""PatchCraft (Zhong et al., arXiv 2311.12397): how flat and busy places of a frame differ.

Both pictures go through the kernels of the rich model, each colour by itself, and one layer; their
difference goes through a small network. Names are the released checkpoint's. What clips the
kernels' responses is switched off there, and so here.
Legend: b frames, c channels, h height, w width.
"""

from torch import Tensor, nn
from torch.nn import functional

from extract.networks.frame_network import CLS, LOGIT, FrameNetwork
from extract.networks.rich_kernels import rich_kernels
from extract.networks.weights import State, without_prefix

_LIMIT = 5.0
_GROUPS = {"group2": 4, "group3": 2, "group4": 2, "group5": 2}
"""How many layers each has; all but the last halve the map."""


class Kernels(nn.Module):
    """The rich model's, which are not learnt."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", rich_kernels()[:, None])


class RichFilter(nn.Module):
    """30 maps of every colour, one colour after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.hpf = Kernels()

    def forward(self, x_bchw: Tensor) -> Tensor:
        each_n1hw = x_bchw.flatten(0, 1)[:, None]
        maps = functional.conv2d(each_n1hw, self.hpf.weight, padding=2)
        return maps.reshape(len(x_bchw), -1, *maps.shape[-2:])


class PatchCraft(FrameNetwork):
    """Pictures whose upper half is the flattest places, the lower the busiest; above 0 is
    generated."""

    last = "fc2"

    def __init__(self, width: int = 32) -> None:
        super().__init__({"width": width})
        self.group1 = RichFilter()
        self.group1_b = nn.Sequential(
            nn.Conv2d(90, width, 3, padding=1), nn.BatchNorm2d(width), nn.Hardtanh(-_LIMIT, _LIMIT)
        )
        for name, layers in _GROUPS.items():
            parts: list[nn.Module] = []
            for _ in range(layers):
                parts += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            self.add_module(name, nn.Sequential(*parts))
        self.fc2 = nn.Linear(width, 1)

    def forward(self, images_bchw: Tensor) -> dict[str, Tensor]:
        poor, rich = (self.group1_b(self.group1(half)) for half in images_bchw.chunk(2, -2))
        x_bchw = poor - rich
        for name in _GROUPS:
            x_bchw = self.get_submodule(name)(x_bchw)
            if name != "group5":
                x_bchw = functional.avg_pool2d(x_bchw, 3, stride=2, padding=1)
        pooled_bc = x_bchw.mean((2, 3))
        return {CLS: pooled_bc, LOGIT: self.fc2(pooled_bc)}

    def layer_of(self, name: str) -> int:
        """0 what both pictures go through, then a group each, then the last layer."""
        first = name.partition(".")[0]
        groups = list(_GROUPS)
        if first in groups:
            return groups.index(first) + 1
        return len(groups) + 1 if first == "fc2" else 0


def released_names(state: State) -> State:
    """Of `RPTC.pth`, whose names begin with `module.`."""
    return without_prefix(state, ("module.",))
