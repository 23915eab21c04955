"""What the branches `image` and `video` share: pictures on the device, outputs in families.

Legend: b views, f frames or times, c channels, h w height and width, p patches, d channels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from extract.branch import PRESENT as PRESENT
from extract.branch import BranchRequest
from extract.decoding.job import Output
from extract.errors import BadSetting
from extract.views.looks import LOOK_AT, LOOKS, Look
from features_store.schema import ArraySpec, fingerprint

FIELDS, VELOCITY = "tokens:4x4", "velocity"
HUGGING_FACE = "hf"
FIELD = 4

Shapes = Mapping[str, tuple[int, ...]]
Families = tuple[tuple[str, ...], ...]


class Pictures:
    """What decode workers make of a view, and how it becomes what a network takes."""

    def __init__(
        self, look: Look, frames: int, device: torch.device, function: str = LOOK_AT,
        options: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """`function` makes pictures of the look's size, with the look for its options or others."""
        self.look, self.frames = look, frames
        said = look.plain() if options is None else dict(options)
        self.output = Output(
            name=f"{function.rpartition(':')[0].rpartition('.')[2]}-{frames}-"
            f"{fingerprint(said)[:8]}",
            function=function, shape=(frames, look.row), dtype="uint8",
            frames=frames, options=tuple(said.items()),
        )  # fmt: skip
        mean, std = torch.tensor(look.mean), torch.tensor(look.std)
        self._mean, self._std = (x.view(3, 1, 1).to(device) for x in (mean, std))

    def __call__(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames there are (b, f), and normalised pictures (b, f, c, h, w); what is missing
        is mean grey."""
        present_bf = batch[..., 0] > 0
        shape = (*present_bf.shape, self.look.height, self.look.width, 3)
        pixels = batch[..., 1:].reshape(shape).permute(0, 1, 4, 2, 3)
        mean, std = (x.to(batch.device) for x in (self._mean, self._std))
        normal = (pixels.float() / 255 - mean) / std
        return present_bf, normal * present_bf[..., None, None, None]

    def example(self, count: int, device: torch.device) -> Tensor:
        """Noise; every frame is there."""
        shape = (count, self.frames, self.look.row)
        rows = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        rows[..., 0] = 1
        return rows


def named_look(request: BranchRequest) -> Look | None:
    """The look that was asked for by name; none: the encoder's own."""
    if "look" not in request.options:
        return None
    return LOOKS[request.option("look", "short", tuple(LOOKS))]


def wanted_outputs(
    request: BranchRequest, shapes: Shapes, families: Families, small: Sequence[str]
) -> tuple[dict[str, ArraySpec], Families, tuple[str, ...]]:
    """What is stored of a view, what of it is kept together, and what was asked for by name.

    The first family always is; of the others, those of which something is asked for. `small` arrays
    are stored in half precision unless asked otherwise.
    """
    asked = request.options.get("outputs", families[0][0]).split(",")
    unknown = [name for name in asked if name not in shapes]
    if unknown or len(set(asked)) != len(asked):
        raise BadSetting(
            f"{request.name} outputs {', '.join(asked)}: give each of these at most once: "
            f"{', '.join(shapes)}."
        )
    whole = tuple(
        tuple(name for name in family if name in shapes)
        for index, family in enumerate(families)
        if index == 0 or set(family) & set(asked)
    )
    plain, half = (
        request.option("dtype", default, ("float16", "float32"))
        for default in ("float32", "float16")
    )
    types = {PRESENT: "uint8", **dict.fromkeys(small, half)}
    outputs = {
        name: ArraySpec(shape=shapes[name], dtype=types.get(name, plain))
        for family in whole
        for name in family
    }
    return outputs, whole, tuple(asked) if "outputs" in request.options else ()


def velocity(tokens_bfpd: Tensor) -> Tensor:
    """(b, f - 1, d): how much each channel changes, the mean of the patches."""
    return (tokens_bfpd[:, 1:] - tokens_bfpd[:, :-1]).abs().mean(2)


def fields(tokens_bfpd: Tensor) -> Tensor:
    """(b, f, 16, d): tokens averaged to a grid of 4 x 4."""
    views, frames, patches, width = tokens_bfpd.shape
    side = math.isqrt(patches)
    grid = tokens_bfpd.flatten(0, 1).transpose(1, 2).reshape(-1, width, side, side)
    small = functional.adaptive_avg_pool2d(grid, FIELD).flatten(2).transpose(1, 2)
    return small.reshape(views, frames, FIELD**2, width)
