"""One row of a manifest."""

import math
from dataclasses import dataclass

from extract.manifest.labels import UNLABELLED
from extract.manifest.segments import Segment, segment_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """What a manifest says of a video, or of a stretch of one."""

    id: str
    """Its path relative to the manifest's root, `/`-separated, with the segment where the row is
    one; see `names.escaped` and `segments`."""
    path: str
    label: int = UNLABELLED
    """Index in the manifest's scheme, -1 without a label."""
    rank: float = math.nan
    """In [0, 1], small = more obvious; NaN where none is given."""
    score: float = math.nan
    """A raw anomaly score, from which `telltale manifest rank` makes ranks."""
    source: str = ""
    """The generator or data set: in an HFV layout the folder's name."""
    split: str = ""
    """train, val, test; `val+test` for a video that both lists name."""
    group: str = ""
    """What it shares with videos that belong on one side with it: a prompt, a person, a page."""

    @property
    def segment(self) -> Segment | None:
        """The stretch of the file that the row is; None where it is all of it."""
        return segment_of(self.id, self.path)
