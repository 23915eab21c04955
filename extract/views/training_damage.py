"""Blur and JPEG as CNNDetection's training draws them (Wang et al., CVPR 2020).

Its blur writes bytes after each of the two passes, rounding down, so that pictures get darker by
about a grey level; its JPEG is OpenCV's or Pillow's, by chance. h height, w width, c colour.
"""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extract.errors import DamagedVideo

Picture = NDArray[np.uint8]
MOST_BLUR = 3.0
QUALITIES = (30, 100)


def blurred_and_compressed(
    frame_hwc: Picture, probability: float, rng: np.random.Generator
) -> Picture:
    """Each of the two with this probability, by itself."""
    if rng.random() < probability:
        frame_hwc = blur_in_bytes(frame_hwc, rng.uniform(0, MOST_BLUR))
    if rng.random() < probability:
        low, high = QUALITIES
        compress = jpeg_by_opencv if rng.random() < 0.5 else jpeg_by_pillow
        frame_hwc = compress(frame_hwc, int(rng.integers(low, high + 1)))
    return frame_hwc


def blur_in_bytes(frame_hwc: Picture, sigma: float) -> Picture:
    from scipy.ndimage import gaussian_filter  # workers that never blur need not load it

    found = frame_hwc.copy()
    for colour in range(3):
        gaussian_filter(found[..., colour], sigma, output=found[..., colour])
    return found


def jpeg_by_opencv(frame_hwc: Picture, quality: float) -> Picture:
    """4:2:0 chroma, as cameras and web sites write it."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    done, data = cv2.imencode(".jpg", frame_hwc[..., ::-1], options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if decoded is None:
        height, width = frame_hwc.shape[:2]
        raise DamagedVideo(f"a frame of {width}x{height} cannot be written as JPEG")
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8)


def jpeg_by_pillow(frame_hwc: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame_hwc)).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))
