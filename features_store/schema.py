"""What a store holds: array and branch specs, the videos table's columns, fingerprints, names."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from features_store.errors import BadInput

FORMAT_VERSION = 2
FEATURE_TYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64")
RESERVED_ARRAYS = ("status", "error")
SHARD_BYTES = 64 * 2**20
MAX_SHARD_ROWS = 256

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:=-]{0,99}")
_BRANCH_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_PRESET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,49}")
_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a format lays files out. Every store keeps the format that it was made with."""

    format: int

    def __post_init__(self) -> None:
        if not 1 <= self.format <= FORMAT_VERSION:
            raise BadInput(f"Format {self.format} unknown; have: 1 to {FORMAT_VERSION}.")

    @property
    def separator(self) -> str:
        """Of chunk keys: `c/17/0` makes three folders, `c.17.0` is one file."""
        return "/" if self.format == 1 else "."

    @property
    def records(self) -> bool:
        """Whether status chunks and the videos table name the checksums of their data."""
        return self.format > 1

    @property
    def columns(self) -> Mapping[str, "Column"]:
        """Of the videos table."""
        if self.format > 1:
            return COLUMNS
        return {name: column for name, column in COLUMNS.items() if name != "group"}


class Status:
    """A row's state in a branch, one byte each in the status array."""

    MISSING = 0
    OK = 1
    FAILED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One named array of a branch."""

    shape: tuple[int, ...]
    """Per video, without the videos' axis; usually starts with the number of views."""
    dtype: str = "float16"
    """What is handed in and comes out."""
    compression: str = "none"
    """`none`, or `zstd`: 6 to 12% smaller on features, several times slower to read."""
    quantise: str = "none"
    """`int8`: stored as int8 with one float32 scale per channel (last axis) and video and view.

    The error is at most half a scale, that is 1/254 of the channel's largest magnitude, plus the
    rounding of `dtype` on the way out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        if not self.shape or any(n < 1 for n in self.shape):
            raise BadInput(f"Array shape {self.shape}: give one or more sizes of at least 1.")
        if self.dtype not in FEATURE_TYPES:
            raise BadInput(f"Array dtype {self.dtype!r} unknown; have: {', '.join(FEATURE_TYPES)}.")
        if self.compression not in ("none", "zstd"):
            raise BadInput(f"Compression {self.compression!r} unknown; have: none, zstd.")
        if self.quantise not in ("none", "int8"):
            raise BadInput(f"Quantisation {self.quantise!r} unknown; have: none, int8.")
        if self.quantise == "int8" and (len(self.shape) < 2 or not self.dtype.startswith("float")):
            raise BadInput(
                f"int8 quantisation of a {self.dtype} array of shape {self.shape}: it needs float "
                f"tokens of shape (…, tokens, channels)."
            )

    @property
    def row_bytes(self) -> int:
        size = 1 if self.quantise == "int8" else np.dtype(self.dtype).itemsize
        return math.prod(self.shape) * size


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSpec:
    """A branch as the store knows it: who made the numbers, and what they look like."""

    name: str
    preset: str
    fingerprint: str
    """Hex digest of all that decides the numbers; see `fingerprint`."""
    arrays: Mapping[str, ArraySpec]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """For people to read: weights, preprocessing, precision, library versions. JSON."""

    def __post_init__(self) -> None:
        if not _BRANCH_NAME.fullmatch(self.name):
            raise BadInput(f"Branch name {self.name!r}: use lower-case letters, digits and _.")
        if not _PRESET.fullmatch(self.preset):
            raise BadInput(f"Preset {self.preset!r}: use letters, digits, and . _ + = -.")
        if not _HEX.fullmatch(self.fingerprint):
            raise BadInput(f"Fingerprint {self.fingerprint!r}: give 8 to 64 lower-case hex digits.")
        if not self.arrays:
            raise BadInput(f"Branch {self.name!r} has no arrays; give at least one ArraySpec.")
        for name in self.arrays:
            check_name(name, "array")
            if name in RESERVED_ARRAYS or name.endswith(".scale"):
                raise BadInput(f"Array name {name!r} is taken by the store; choose another.")

    @property
    def group(self) -> str:
        return f"{self.name}-{self.preset}@{self.fingerprint[:8]}"

    def default_shard_rows(self) -> int:
        """As many videos as fill a shard of 64 MiB, at most 256; a power of two, so that the
        shards of different branches begin and end together."""
        largest = max(spec.row_bytes for spec in self.arrays.values())
        fitting = max(1, min(MAX_SHARD_ROWS, SHARD_BYTES // largest))
        return 1 << (fitting.bit_length() - 1)

    def to_json(self) -> dict[str, Any]:
        arrays = {name: {**asdict(a), "shape": list(a.shape)} for name, a in self.arrays.items()}
        return {
            "name": self.name,
            "preset": self.preset,
            "fingerprint": self.fingerprint,
            "arrays": arrays,
            "provenance": dict(self.provenance),
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "BranchSpec":
        arrays = {name: ArraySpec(**spec) for name, spec in document["arrays"].items()}
        return BranchSpec(
            name=document["name"],
            preset=document["preset"],
            fingerprint=document["fingerprint"],
            arrays=arrays,
            provenance=document["provenance"],
        )


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the videos table. The fill stands for «not given»."""

    dtype: str
    fill: str | int | float


COLUMNS: dict[str, Column] = {
    "id": Column("string", ""),
    "path": Column("string", ""),
    "label": Column("int16", -1),
    "rank": Column("float64", math.nan),
    "source": Column("string", ""),
    "split": Column("string", ""),
    "group": Column("string", ""),
    "frames": Column("int32", -1),
    "fps": Column("float64", math.nan),
    "width": Column("int32", -1),
    "height": Column("int32", -1),
    "digest": Column("string", ""),
}


def fingerprint(parts: Mapping[str, Any]) -> str:
    """The sha256 of a JSON-able description; key order does not matter."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def check_name(name: str, what: str) -> str:
    """A name that is a safe folder name and object key."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise BadInput(
            f"{what.capitalize()} name {name!r}: start with a letter or digit, go on with those "
            f"and . _ + @ : = -, no '..', 100 characters at most."
        )
    return name


def check_id(video_id: object) -> str:
    """A video's id: a relative path below the manifest's root."""
    if not isinstance(video_id, str) or not video_id or "\0" in video_id:
        raise BadInput(f"Video id {video_id!r}: give a non-empty text without NUL.")
    if video_id.startswith("/") or any(part in ("", ".", "..") for part in video_id.split("/")):
        raise BadInput(
            f"Video id {video_id!r} is not a relative path inside the manifest's root; ids have "
            f"no leading '/', no '//', no '.' and no '..' parts."
        )
    try:
        encoded = video_id.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"Video id {video_id!r} is not valid Unicode; rename the file.") from error
    if len(encoded) > 4096:
        raise BadInput(f"Video id {video_id[:40]!r}… has {len(encoded)} bytes; 4096 at most.")
    return video_id
