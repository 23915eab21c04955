"""A frame on the square canvas that YOLO-World looks at, and its boxes back on the frame.

The long side becomes the canvas's; what is left over is grey, half on each side. As the released
pipeline has it: sizes are truncated, pixels averaged where the frame shrinks (OpenCV's area) and
bilinear where it grows. Legend: h height, w width, c colour, n boxes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 640
GREY = 114


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """Where a frame lies on the canvas."""

    width: int
    height: int
    """Of the frame."""
    side: int = SIDE

    @property
    def ratio(self) -> float:
        return self.side / max(self.width, self.height)

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height on the canvas; a frame that is very narrow keeps a pixel."""
        width, height = int(self.width * self.ratio), int(self.height * self.ratio)
        return max(1, width), max(1, height)

    @property
    def corner(self) -> tuple[int, int]:
        """How much grey there is to its left and above it."""
        width, height = self.resized
        return (self.side - width) // 2, (self.side - height) // 2

    def canvas(self, frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(side, side, c); colours keep their order."""
        size, (left, top) = self.resized, self.corner
        if size != (self.width, self.height):
            how = cv2.INTER_AREA if self.ratio < 1 else cv2.INTER_LINEAR
            frame_hwc = np.asarray(
                cv2.resize(np.ascontiguousarray(frame_hwc), size, interpolation=how), np.uint8
            )
        shape = (self.side, self.side, frame_hwc.shape[2])
        canvas_hwc = np.full(shape, GREY, np.uint8)
        canvas_hwc[top : top + size[1], left : left + size[0]] = frame_hwc
        return canvas_hwc

    def back(self, boxes_n4: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes on the canvas → on the frame, cut to it."""
        left, top = self.corner
        across = self.resized[0] / self.width
        down = self.resized[1] / self.height
        moved = boxes_n4 - np.array([left, top, left, top], np.float32)
        found = moved / np.array([across, down, across, down], np.float32)
        limits = np.array([self.width, self.height, self.width, self.height], np.float32)
        return np.clip(found, np.float32(0), limits)
