"""Facts about video files that say nothing of the picture: codec, size, rate, sound.

They can give a label away without a look at the video, so `telltale audit` needs them. They are
kept under each protocol like a branch of their own, `container-facts@…`, and written with the
same shards and the same commit rule. Beside them lie hashes of a few frames, by which copies are
found; stores from before there were any go on without.
"""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from features_store.chunks import Array
from features_store.errors import UnknownKey
from features_store.schema import ArraySpec, BranchSpec, Status, fingerprint

if TYPE_CHECKING:
    from features_store.store import Store

BRANCH = "container"
NUMBERS = (
    "frames", "fps", "duration", "width", "height", "rotation", "file_bytes", "bit_rate",
    "has_audio",
)  # fmt: skip
"""`bit_rate` is eight times `file_bytes` by `duration` in seconds."""
TEXTS = ("codec", "container", "pixel_format")
HASHES = 4
"""Frames of which a 64-bit hash is kept; 0 where a frame has nothing in it."""
_TEXT_BYTES = 32

Fact = float | str | tuple[int, ...]
Facts = Mapping[str, Fact]


def spec() -> BranchSpec:
    """The same for every protocol and every video."""
    return _spec({"numbers": list(NUMBERS), "texts": list(TEXTS), "hashes": HASHES, "revision": 2})


def spec_in(store: "Store", protocol: str) -> BranchSpec:
    """What the store has under this protocol: facts of before are gone on with, so that no video
    is decoded again for its hashes alone."""
    before = _spec({"numbers": list(NUMBERS), "texts": list(TEXTS), "revision": 1})
    known = store.branches(protocol) if protocol in store.protocols() else ()
    return before if before.group in known else spec()


def _spec(decides: Mapping[str, object]) -> BranchSpec:
    arrays = {
        "numbers": ArraySpec(shape=(len(NUMBERS),), dtype="float64"),
        "texts": ArraySpec(shape=(len(TEXTS), _TEXT_BYTES), dtype="uint8"),
    }
    if "hashes" in decides:
        arrays["hashes"] = ArraySpec(shape=(HASHES,), dtype="int64")
    return BranchSpec(
        name=BRANCH,
        preset="facts",
        fingerprint=fingerprint(decides),
        arrays=arrays,
        provenance=decides,
    )


def encode(facts: Facts, arrays: Collection[str]) -> dict[str, Array]:
    """One video's facts as a row of each of these arrays; what is not known is NaN or empty."""
    numbers = np.array([_number(facts.get(name, math.nan)) for name in NUMBERS], np.float64)
    texts = np.zeros((len(TEXTS), _TEXT_BYTES), np.uint8)
    for row, name in enumerate(TEXTS):
        text = str(facts.get(name, "")).encode(errors="replace")[:_TEXT_BYTES]
        texts[row, : len(text)] = np.frombuffer(text, np.uint8)
    hashes = np.array(facts.get("hashes") or (0,) * HASHES, np.int64)
    whole: dict[str, Array] = {"numbers": numbers, "texts": texts, "hashes": hashes}
    return {name: whole[name] for name in arrays}


def _number(fact: Fact) -> float:
    return math.nan if isinstance(fact, tuple) else float(fact)


def read(store: "Store", protocol: str | None = None) -> dict[str, Array]:
    """Every fact as a column over all videos, and `hashes`; NaN, empty or 0 where a video failed
    or is missing.

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
    count = store.videos.count
    numbers = np.full((count, len(NUMBERS)), np.nan)
    texts = np.zeros((count, len(TEXTS), _TEXT_BYTES), np.uint8)
    hashes = np.zeros((count, HASHES), np.int64)
    for shard in range(branch.shards):
        content = branch.read_shard(shard)
        rows = branch.rows(shard).start + np.flatnonzero(content.status == Status.OK)
        if len(rows):
            ok = rows - branch.rows(shard).start
            numbers[rows] = content.parts["numbers"][ok]
            texts[rows] = content.parts["texts"][ok]
            if "hashes" in content.parts:
                hashes[rows] = content.parts["hashes"][ok]
    columns: dict[str, Array] = dict(zip(NUMBERS, numbers.T, strict=True))
    columns["hashes"] = hashes
    words = np.ascontiguousarray(texts).view(f"S{_TEXT_BYTES}")[..., 0]
    for column, name in enumerate(TEXTS):
        decoded = [word.decode(errors="replace") for word in words[:, column].tolist()]
        columns[name] = np.array(decoded, np.dtypes.StringDType())
    return columns
