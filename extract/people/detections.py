"""What a detector says of a video: boxes of persons, faces and hands, frame by frame.

Boxes are x1, y1, x2, y2 in pixels of the decoded frame; x2 and y2 are where it ends. A face or a
hand names the person that it belongs to; a person's number is the same wherever it is the same
person. Legend: n boxes, 4 corners, 5 points of a face (left eye, right eye, nose, left and right
corner of the mouth, as seen), 2 x and y.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from extract.errors import VideoError

Kind = Literal["person", "face", "hand"]
KINDS: tuple[Kind, ...] = ("person", "face", "hand")
NOBODY = -1
"""The person of a face or a hand that belongs to none, as far as is known."""
FACE_POINTS = 5
MOST_IN_A_FRAME = 1000
"""No detector keeps so many boxes of a frame; a file with more is broken."""

Quad = tuple[float, float, float, float]
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorIdentity:
    """Who made the boxes: all that decides them."""

    name: str
    weights: str = ""
    """Hash of its numbers; empty where it has none or nobody knows."""
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One box."""

    frame: int
    """Number of the frame in its video, from 0."""
    kind: Kind
    box: Quad
    score: float = 1.0
    person: int = NOBODY
    points: Points | None = None
    """Of a face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The frames in which a detector looked, and their size."""

    frames: tuple[int, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """All boxes of one video, in the order of its frames; inside a frame as the detector has them.

    A video with nobody in it has none. Use `detections` to make one out of boxes.
    """

    frames_n: NDArray[np.int32]
    kinds_n: NDArray[np.uint8]
    """Index in KINDS."""
    boxes_n4: NDArray[np.float32]
    scores_n: NDArray[np.float32]
    persons_n: NDArray[np.int32]
    points_n52: NDArray[np.float32]
    """NaN where there are none."""
    canvas: Canvas | None = None
    """None: whoever made the boxes did not say; frames without a box have nobody."""

    def __len__(self) -> int:
        return len(self.frames_n)

    def at(self, frame: int) -> "Detections":
        """Of one frame; a frame in which nobody looked is an error, not one without persons."""
        if self.canvas is not None and frame not in self.canvas.frames:
            looked = ", ".join(map(str, self.canvas.frames[:4]))
            raise VideoError(
                f"no boxes were looked for in frame {frame} (looked in {looked} and so on); find "
                f"them in every frame that the protocol takes"
            )
        return self.where(self.frames_n == frame)

    def of(self, kind: Kind) -> "Detections":
        return self.where(self.kinds_n == KINDS.index(kind))

    def of_person(self, person: int) -> "Detections":
        """The person's own boxes, and those of its face and hands."""
        return self.where(self.persons_n == person)

    def where(self, chosen: NDArray[np.bool_]) -> "Detections":
        return Detections(
            frames_n=self.frames_n[chosen], kinds_n=self.kinds_n[chosen],
            boxes_n4=self.boxes_n4[chosen], scores_n=self.scores_n[chosen],
            persons_n=self.persons_n[chosen], points_n52=self.points_n52[chosen],
            canvas=self.canvas,
        )  # fmt: skip

    def found(self) -> tuple[Found, ...]:
        """One by one."""
        return tuple(
            Found(
                frame=int(self.frames_n[row]),
                kind=KINDS[int(self.kinds_n[row])],
                box=tuple(map(float, self.boxes_n4[row])),  # type: ignore[arg-type]
                score=float(self.scores_n[row]),
                person=int(self.persons_n[row]),
                points=_points(self.points_n52[row]),
            )
            for row in range(len(self))
        )

    def check(self) -> None:
        """Refuse what no detector says: numbers that are none, frames before the first."""
        if not (np.isfinite(self.boxes_n4).all() and np.isfinite(self.scores_n).all()):
            raise VideoError("its boxes have coordinates or scores that are not finite")
        has_points = ~np.isnan(self.points_n52).all((1, 2))
        if not np.isfinite(self.points_n52[has_points]).all():
            raise VideoError("its faces have points that are not finite")
        if len(self) and int(self.frames_n.min()) < 0:
            raise VideoError("its boxes are of a frame before the first")
        _, counts = np.unique(self.frames_n, return_counts=True)
        if len(self) and int(counts.max()) > MOST_IN_A_FRAME:
            raise VideoError(f"one of its frames has more than {MOST_IN_A_FRAME:,} boxes")

    def fits(self, frame_count: int) -> None:
        """Refuse boxes beyond the end of the video: they are of another one."""
        last = int(self.frames_n.max()) if len(self) else -1
        if self.canvas is not None and self.canvas.frames:
            last = max(last, *self.canvas.frames)
        if last >= frame_count:
            raise VideoError(
                f"its boxes go to frame {last}, the video has {frame_count} frames: they are of "
                f"another video, or of another version of this one"
            )

    def inside(self, width: int, height: int) -> "Detections":
        """Boxes cut to a frame of this size; what is empty or outside of it is left out."""
        if self.canvas is not None and (self.canvas.width, self.canvas.height) != (width, height):
            raise VideoError(
                f"its boxes are of frames of {self.canvas.width}x{self.canvas.height}, the video "
                f"has {width}x{height}: find them again, or take a protocol that does not resize"
            )
        limits = np.array([width, height, width, height], np.float32)
        cut = np.clip(self.boxes_n4, np.float32(0), limits)
        there = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
        kept = self.where(there)
        return Detections(
            frames_n=kept.frames_n, kinds_n=kept.kinds_n, boxes_n4=cut[there],
            scores_n=kept.scores_n, persons_n=kept.persons_n, points_n52=kept.points_n52,
            canvas=kept.canvas,
        )  # fmt: skip


def detections(found: Iterable[Found], canvas: Canvas | None = None) -> Detections:
    """Of boxes one by one; frames come in order, boxes of a frame stay as they are."""
    rows = sorted(found, key=lambda one: one.frame)
    points = np.full((len(rows), FACE_POINTS, 2), np.nan, np.float32)
    for row, one in enumerate(rows):
        if one.points is not None:
            points[row] = one.points
    made = Detections(
        frames_n=np.array([one.frame for one in rows], np.int32),
        kinds_n=np.array([KINDS.index(one.kind) for one in rows], np.uint8),
        boxes_n4=np.array([one.box for one in rows], np.float32).reshape(-1, 4),
        scores_n=np.array([one.score for one in rows], np.float32),
        persons_n=np.array([one.person for one in rows], np.int32),
        points_n52=points,
        canvas=canvas,
    )
    made.check()
    return made


def _points(points_52: NDArray[np.float32]) -> Points | None:
    if np.isnan(points_52).all():
        return None
    return tuple((float(x), float(y)) for x, y in points_52)
