"""Clips to begin with: a small one of every container and codec that can be written here."""

import os
from pathlib import Path

from tests.test_extract.clips import write_clip

CODECS = {
    "h264.mp4": ("libx264", {"preset": "ultrafast"}),
    "bframes.mp4": ("libx264", {"preset": "veryfast", "g": "6", "bf": "2"}),
    "hevc.mp4": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "av1.mp4": ("libsvtav1", {"preset": "12"}),
    "mjpeg.mov": ("mjpeg", {"strict": "-1"}),
    "h264.mkv": ("libx264", {"preset": "ultrafast"}),
    "vp8.webm": ("libvpx", {"deadline": "realtime"}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime"}),
    "mpeg4.avi": ("mpeg4", {"g": "4"}),
    "ffv1.avi": ("ffv1", {"g": "4"}),
    "mpeg2.ts": ("mpeg2video", {"g": "4"}),
    "h264.ts": ("libx264", {"preset": "ultrafast"}),
    "mpeg1.mpg": ("mpeg1video", {"g": "4"}),
    "flv1.flv": ("flv", {"g": "4"}),
    "wmv2.asf": ("wmv2", {"g": "4"}),
    "vp8.ivf": ("libvpx", {"deadline": "realtime"}),
    "raw.h264": ("libx264", {"preset": "ultrafast"}),
    "raw.hevc": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "h263.3gp": ("h263", {"g": "4"}),
}
_SIZES = {"h263": (128, 96)}
LARGEST_REAL = 2**20
"""Bytes: larger files take long to decode, and mutations of them hit pictures alone."""


def made_up(folder: Path) -> dict[str, bytes]:
    """Name → content, written into `folder` on the way."""
    os.environ.setdefault("SVT_LOG", "1")  # errors alone
    found = {}
    for name, (codec, options) in CODECS.items():
        size = _SIZES.get(codec, (64, 48))
        path = write_clip(folder / name, frames=12, size=size, codec=codec, options=options)
        found[name] = path.read_bytes()
    return found


def real(folder: Path) -> dict[str, bytes]:
    """Small files of a folder of videos."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".webm", ".mov"))
    return {path.name: path.read_bytes() for path in paths if path.stat().st_size <= LARGEST_REAL}
