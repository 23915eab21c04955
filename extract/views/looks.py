"""Single frames as image encoders take them: cut, resized, cropped, still in bytes.

A look says how. Encoders come with their own, detectors that feed them otherwise have theirs by
name in `LOOKS`. A decode worker calls `look_at`: no torch. A row of its result is a frame's bytes
behind one byte that says whether the video has that frame. Where a detector resizes in floating
point, pixels are rounded to bytes here. Legend: h height, w width, c colour, v views, f frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract.errors import BadSetting
from extract.views.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Frames,
    allowed_size,
    view_frames,
)  # fmt: skip
from extract.views.view import View

Picture = NDArray[np.uint8]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
LOOK_AT = "extract.views.looks:look_at"
"""What a decode worker calls."""
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos", "opencv", "area"]
"""Pillow's, antialiased; OpenCV's: `opencv` is bilinear without antialiasing, `area` averages."""
_PILLOW = {
    "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
}  # fmt: skip
_OPENCV = {"opencv": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}
_LATER = ("contrast", "small")
"""Settings that there were not when looks were first hashed: said only where they say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a frame becomes an encoder's input."""

    height: int = 224
    width: int = 224
    """Of the input."""
    resize: Literal["short", "whole", "none"] = "short"
    """The short side to `short`; the whole frame to the input's size, whatever its shape; or not at
    all."""
    short: int = 224
    """What the short side becomes before the crop."""
    resample: Resample = "bicubic"
    crop: Literal["even", "down", "block"] = "even"
    """An odd pixel beside the middle crop: half to even, as torchvision has it, or always down;
    or down to an even number, so that blocks of 2 x 2 pixels stay whole."""
    small: Literal["black", "tiled"] = "black"
    """What is around a frame that is smaller than the crop: nothing, or itself again."""
    cut: float = 0.0
    """Share that is cut from both ends of the longer side first (of a square's top and bottom)."""
    bgr: bool = False
    """Blue first, as pictures that OpenCV reads and nobody converts."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    """Of the input's three channels in their order, for pixels in 0…1."""
    contrast: float = 0.0
    """Frames whose levels (0 to 255) deviate by less show nothing, black ones say; they are left
    out, as if the video did not have them."""

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.short)
        if not all(1 <= size <= 2048 for size in sizes) or not 0 <= self.cut < 0.5:
            raise BadSetting(
                f"A look of {self.height}x{self.width} behind {self.short} with {self.cut:g} cut "
                f"off: give sizes of 1 to 2048, and 0 or more but less than one half."
            )

    @property
    def row(self) -> int:
        """Bytes of a frame: whether it is there, then its pixels."""
        return 1 + self.height * self.width * 3

    def plain(self) -> dict[str, Any]:
        """For a fingerprint, and on its way to a worker."""
        found = asdict(self)
        for each in fields(self):
            if each.name in _LATER and found[each.name] == each.default:
                del found[each.name]
        return found


LOOKS: Mapping[str, Look] = {
    "short": Look(),
    "whole": Look(resize="whole"),
    "d3": Look(resize="whole", resample="opencv", cut=0.1, bgr=True),
    "demamba": Look(resize="whole", resample="opencv", cut=0.1),
    "stall": Look(resize="whole", resample="bilinear"),
    "restrav": Look(resize="whole", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    "unifd": Look(resize="none", mean=CLIP_MEAN, std=CLIP_STD),
    "visible": Look(contrast=3.0),
    "half": Look(mean=_HALF, std=_HALF),
    "npr": Look(resize="none", crop="block", small="tiled"),
    "npr-squashed": Look(height=256, width=256, resize="whole", resample="bilinear"),
    "f3net": Look(resize="none", crop="down", small="tiled", mean=_HALF, std=_HALF),
    "f3net-faces": Look(resize="whole", mean=_HALF, std=_HALF),
    "genconvit": Look(resize="whole", resample="area"),
    "cnndet": Look(resize="none"),
    "cnndet-256": Look(short=256, resample="bilinear"),
}
"""By name: two plain ones, those of detectors, L3DE's (`half`), and one that leaves out frames
without anything in them."""


def look_at(frames: Frames, views: Sequence[View], **look: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """(v, f, 1 + h w c): every view's frames, those that are there first. Where frames are missing,
    zeros."""
    how = Look(**look)

    def shown(frame_hwc: Picture, number: int) -> Picture | None:
        del number
        seen = looked(frame_hwc, how)
        return None if how.contrast and seen.std() < how.contrast else seen

    return rows_of(frames, views, how.row, shown)


def rows_of(
    frames: Frames,
    views: Sequence[View],
    size: int,
    shown: Callable[[Picture, int], Picture | None],
) -> NDArray[np.uint8]:
    """(v, f, size) of whatever pictures: `shown` makes one of a frame and its number in the video,
    or leaves it out. What views share is made once."""
    rows = np.zeros((len(views), len(views[0].frames), size), np.uint8)
    done: dict[int, Picture | None] = {}
    for row, view in zip(rows, views, strict=True):
        there = view.frames[: len(view.frames) - view.missing]
        pictures = view_frames(frames, view) if view.changed else []
        place = 0
        for position, number in enumerate(there):
            if pictures:
                seen = shown(pictures[position], number)
            elif number in done:
                seen = done[number]
            else:
                seen = done[number] = shown(frames[number], number)
            if seen is None:
                continue
            row[place, 0] = 1
            row[place, 1:] = seen.reshape(-1)
            place += 1
    return rows


def looked(frame_hwc: Picture, look: Look) -> Picture:
    """One frame (h, w, 3) as the look has it."""
    if look.cut:
        frame_hwc = _cut(frame_hwc, look.cut)
    if look.resize == "whole":
        frame_hwc = _resized(frame_hwc, look.height, look.width, look.resample)
    elif look.resize == "short":
        height, width = frame_hwc.shape[:2]
        size = allowed_size(height, width, look.short)
        frame_hwc = _resized(frame_hwc, *size, look.resample)
    frame_hwc = _middle(frame_hwc, look)
    return frame_hwc[..., ::-1] if look.bgr else frame_hwc


_START: Mapping[str, Callable[[int], int]] = {
    "even": lambda over: round(over / 2),
    "down": lambda over: over // 2,
    "block": lambda over: over // 4 * 2,
}
"""Where the middle begins, with so many pixels beside it."""


def _cut(frame_hwc: Picture, share: float) -> Picture:
    height, width = frame_hwc.shape[:2]
    if width > height:
        off = int(width * share)
        return frame_hwc[:, off : width - off]
    off = int(height * share)
    return frame_hwc[off : height - off]


def _resized(frame_hwc: Picture, height: int, width: int, resample: Resample) -> Picture:
    if frame_hwc.shape[:2] == (height, width):
        return frame_hwc
    if resample in _OPENCV:
        whole = np.ascontiguousarray(frame_hwc)
        small = cv2.resize(whole, (width, height), interpolation=_OPENCV[resample])
        return np.asarray(small, np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(frame_hwc))
    return np.asarray(picture.resize((width, height), _PILLOW[resample]))


def _middle(frame_hwc: Picture, look: Look) -> Picture:
    """The middle, with black around it where the frame is smaller, or tiles of it."""
    if look.small == "tiled":
        height, width = frame_hwc.shape[:2]
        frame_hwc = np.tile(frame_hwc, (-(-look.height // height), -(-look.width // width), 1))
    over = [
        size - wanted
        for size, wanted in zip(frame_hwc.shape, (look.height, look.width), strict=False)
    ]
    if min(over) < 0:
        around = [(max(0, -o) // 2, (max(0, -o) + 1) // 2) for o in over]
        frame_hwc = np.pad(frame_hwc, (*around, (0, 0)))
        over = [max(0, o) for o in over]
    top, left = (_START[look.crop](o) for o in over)
    return frame_hwc[top : top + look.height, left : left + look.width]
