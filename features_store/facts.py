"""Facts about video files that say nothing of the picture: codec, size, rate, sound.

They can give a label away without a look at the video, so `telltale audit` needs them. They are
kept under each protocol like a branch of their own, `container-facts@…`, and written with the
same shards and the same commit rule.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from features_store.chunks import Array
from features_store.errors import UnknownKey
from features_store.schema import ArraySpec, BranchSpec, fingerprint

if TYPE_CHECKING:
    from features_store.store import Store

BRANCH = "container"
NUMBERS = (
    "frames", "fps", "duration", "width", "height", "rotation", "file_bytes", "bit_rate",
    "has_audio",
)  # fmt: skip
"""`bit_rate` is eight times `file_bytes` by `duration` in seconds."""
TEXTS = ("codec", "container", "pixel_format")
_TEXT_BYTES = 32

Fact = float | str
Facts = Mapping[str, Fact]


def spec() -> BranchSpec:
    """The same for every protocol and every video."""
    decides = {"numbers": list(NUMBERS), "texts": list(TEXTS), "revision": 1}
    return BranchSpec(
        name=BRANCH,
        preset="facts",
        fingerprint=fingerprint(decides),
        arrays={
            "numbers": ArraySpec(shape=(len(NUMBERS),), dtype="float64"),
            "texts": ArraySpec(shape=(len(TEXTS), _TEXT_BYTES), dtype="uint8"),
        },
        provenance=decides,
    )


def encode(facts: Facts) -> dict[str, Array]:
    """One video's facts as a row of each array; what is not known is NaN or empty."""
    numbers = np.array([float(facts.get(name, math.nan)) for name in NUMBERS], np.float64)
    texts = np.zeros((len(TEXTS), _TEXT_BYTES), np.uint8)
    for row, name in enumerate(TEXTS):
        text = str(facts.get(name, "")).encode(errors="replace")[:_TEXT_BYTES]
        texts[row, : len(text)] = np.frombuffer(text, np.uint8)
    return {"numbers": numbers, "texts": texts}


def read(store: "Store", protocol: str | None = None) -> dict[str, Array]:
    """Every fact as a column over all videos; NaN or empty where a video failed or is missing.

    Facts do not depend on the protocol: without one, the first that has any is read.
    """
    for name in [protocol] if protocol else store.protocols():
        if any(group.startswith(f"{BRANCH}-") for group in store.branches(name)):
            return _read(store, name)
    raise UnknownKey(
        f"{store.place.name} holds no facts about its files; `telltale extract` records them."
    )


def _read(store: "Store", protocol: str) -> dict[str, Array]:
    branch = store.open_branch(protocol, BRANCH)
    numbers = branch.over_all_videos("numbers", math.nan)
    texts = branch.over_all_videos("texts")
    columns: dict[str, Array] = dict(zip(NUMBERS, numbers.T, strict=True))
    words = np.ascontiguousarray(texts).view(f"S{_TEXT_BYTES}")[..., 0]
    for column, name in enumerate(TEXTS):
        decoded = [word.decode(errors="replace") for word in words[:, column].tolist()]
        columns[name] = np.array(decoded, np.dtypes.StringDType())
    return columns
