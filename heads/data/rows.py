"""Which videos a head learnt from, and which decided about it, as hashes of their ids.

Eight bytes a video: enough to say that a judged video was learnt from, too little to read ids from.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from features_store.commit import write_file
from heads.errors import BadBundle

FILE = "rows.safetensors"
LEARNT, DECIDED, CALIBRATED = "learnt", "decided", "calibrated"
_SAID = {
    LEARNT: "learnt from",
    DECIDED: "decided by (epoch, seed or settings)",
    CALIBRATED: "calibrated by",
}
Hashes = NDArray[np.int64]


def hashes(ids: Iterable[object]) -> Hashes:
    """One a video."""
    first = [hashlib.sha256(str(name).encode()).digest()[:8] for name in ids]
    return np.frombuffer(b"".join(first), ">i8").astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How many of some judged videos a head knows."""

    judged: int
    counts: Mapping[str, int]

    def __bool__(self) -> bool:
        return any(self.counts.values())

    def __str__(self) -> str:
        said = [f"{count:,} were {_SAID[what]}" for what, count in self.counts.items() if count]
        return f"of {self.judged:,} judged videos " + ", ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a bundle says of its videos; empty in bundles of early versions and of releases."""

    of: Mapping[str, Hashes] = field(default_factory=dict)

    @staticmethod
    def made(**ids: Iterable[object]) -> "Rows":
        """`learnt`, `decided` and `calibrated`, by ids."""
        return Rows(of={name: np.unique(hashes(found)) for name, found in ids.items()})

    def __bool__(self) -> bool:
        return bool(self.of)

    def joined(self, **ids: Iterable[object]) -> "Rows":
        """With more videos of some kind."""
        return self.together(Rows.made(**ids))

    def together(self, other: "Rows") -> "Rows":
        """With the videos of another bundle."""
        nothing = np.zeros(0, np.int64)
        names = sorted({*self.of, *other.of})
        parts = {n: [self.of.get(n, nothing), other.of.get(n, nothing)] for n in names}
        return Rows(of={name: np.unique(np.concatenate(found)) for name, found in parts.items()})

    def seen(self, ids: Sequence[object]) -> Seen:
        """How many of these videos are known."""
        found = hashes(ids)
        counts = {name: int(np.isin(found, self.of.get(name, ())).sum()) for name in _SAID}
        return Seen(judged=len(ids), counts=counts)

    def knows(self, ids: Sequence[object]) -> NDArray[np.bool_]:
        """Which of these were learnt from or decided by."""
        known = [self.of[name] for name in (LEARNT, DECIDED) if name in self.of]
        return np.isin(hashes(ids), np.concatenate(known) if known else ())

    def counts(self) -> dict[str, int]:
        """Kind → number of videos."""
        return {name: len(self.of[name]) for name in _SAID if name in self.of}

    def save(self, folder: Path) -> None:
        if self:
            write_file(folder / FILE, [save(dict(self.of))])

    @staticmethod
    def load(folder: Path) -> "Rows":
        """Nothing where there is no file."""
        path = folder / FILE
        if not path.exists():
            return Rows()
        try:
            return Rows(of=load(path.read_bytes()))
        except (SafetensorError, OSError, ValueError) as error:
            raise BadBundle(f"{path} cannot be read as safetensors: {error}") from error
