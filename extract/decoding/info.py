"""What a video file turned out to be."""

import math
from dataclasses import asdict, dataclass

from features_store import facts

_FACTS = (*facts.NUMBERS, *facts.TEXTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a file turned out to be."""

    frames: int
    fps: float
    width: int
    """Upright, as are the frames."""
    height: int
    codec: str
    container: str
    rotation: int = 0
    duration: float = math.nan
    """Seconds, by the packets' times; NaN in streams that have none."""
    file_bytes: int = 0
    modified: int = 0
    """When the file was last changed, in nanoseconds since 1970."""
    digest: str = ""
    """`containers.digest` of the file, where it was asked for."""
    pixel_format: str = ""
    has_audio: bool = False
    open_gop: bool = False
    decoder: str = "pyav"
    """Which one decodes: PyAV takes over what decord may get wrong."""
    share: float = 1.0
    """Of the file's frames; less for a segment."""

    def facts(self) -> dict[str, float | str]:
        """What gives a file away without a look at its pictures; see `features_store.facts`."""
        known = {name: value for name, value in asdict(self).items() if name in _FACTS}
        return {**known, "bit_rate": 8 * self.file_bytes * self.share / self.duration}
