"""Makes `pixels.json`: hashes of the pixels of some views of every kind, and their revisions.

    python -m tests.data.make_pixels

Where pixels changed, raise the part's number in `extract/views/revisions.py` first: without it,
stores mix old and new pixels under one name, and this refuses to write them down.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from extract.decoding.frames import read_frames
from extract.views.protocol import Protocol
from extract.views.transforms import view_clips
from tests.test_extract.clips import picture

if TYPE_CHECKING:
    from extract.decoding.video import OpenVideo

FILE = Path(__file__).with_name("pixels.json")
PROTOCOLS = (
    "val", "test-2x3", "train-2", "pairs-4",
    "val+blur3", "val+jpeg50", "val+resize0.7", "val+h264crf28", "val+mixed",
    "val+rate12", "val+letterbox", "val+screen", "val+canonical", "val+canonical+jpeg50",
    "val+blurjpeg0.5",
    "train-2:drop1", "train-2:repeat1", "train-2:blend1", "frames-4@8", "frames-4@all",
    "windows-2x8", "forged-8",
)  # fmt: skip
FRAMES, SIZE = 21, (170, 96)
ADVICE = (
    "the pixels of {} are not what they were. If that is meant, raise the part's number in "
    "extract/views/revisions.py and run `python -m tests.data.make_pixels`; every store says then "
    "which pixels it holds. If OpenCV, NumPy or FFmpeg changed and not the code, do the same: old "
    "and new pixels must not mix."
)


class Pictures:
    """A video that is never encoded: what an open one is to `read_frames`."""

    rate = Fraction(25)

    def read(self, numbers: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        return {number: picture(number, *SIZE) for number in numbers}

    def every_frame(self) -> Iterator[NDArray[np.uint8]]:
        for number in range(FRAMES):
            yield picture(number, *SIZE)


def described(name: str) -> dict[str, Any]:
    """A protocol's revisions, and a hash of its views of a made-up video."""
    protocol = Protocol.parse(name)
    views = protocol.views("made up.mp4", FRAMES, fps=float(Pictures.rate), seed=3)
    frames = read_frames(cast("OpenVideo", Pictures()), views)
    found = hashlib.sha256(json.dumps([view.frames for view in views]).encode())
    if protocol.kind in ("pairs", "frames", "windows"):  # branches crop and resize these
        for number in sorted(frames):
            found.update(frames[number].tobytes())
    else:
        found.update(view_clips(frames, views).tobytes())
    return {"revisions": protocol.revisions, "sha256": found.hexdigest()}


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Protocols whose pixels changed although no revision did."""
    return [
        name
        for name in old
        if name in new
        and old[name]["sha256"] != new[name]["sha256"]
        and old[name]["revisions"] == new[name]["revisions"]
    ]


def main() -> None:
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    new = {name: described(name) for name in PROTOCOLS}
    names = changed(old, new)
    if names:
        sys.exit(ADVICE.format(", ".join(names)))
    FILE.write_text(json.dumps(new, indent=1) + "\n")


if __name__ == "__main__":
    main()
