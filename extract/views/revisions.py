"""How often the pixels of views have changed: raise a part's number when its pixels do.

The numbers go into a store's protocol, each for the parts that the protocol uses, and are compared
before a store is gone on with, so that old and new pixels never mix under one name. A store that
says nothing of a part was made by its first revision.
`tests/data/make_pixels.py` notices pixels that change without a new number.
"""

from collections.abc import Mapping
from typing import Any

FIRST = 1
REVISIONS = {
    # Which frames are taken, resizing and cropping: protocol.py, transforms.py.
    "views": 1,
    # RandAugment, the random crop, erasing: augment.py.
    "augmentation": 1,
    # Which frames those protocols take: sampling.py, rates.py.
    "frames": 1,
    "windows": 1,
    # damage.py, perturb.py, training_damage.py.
    "canonical": 1,
    "blur": 1,
    "jpeg": 1,
    "resize": 1,
    "h264crf": 2,  # since 2, narrow frames go without x264's macroblock tree
    "rate": 1,
    "letterbox": 1,
    "screen": 1,
    "mixed": 1,
    "blurjpeg": 1,
    # clip_changes.py, blend.py.
    "drop": 1,
    "repeat": 1,
    "blend": 1,
    # forgeries.py, forging.py.
    "forged": 1,
}


def with_revisions(details: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A store's details of a protocol, with the revisions that go without saying there."""
    known = details.get("revisions", {})
    parts = [*known, *asked.get("revisions", {})]
    return {**details, "revisions": {part: known.get(part, FIRST) for part in parts}}
