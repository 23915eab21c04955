"""Look for people in many videos, and write what is found into one file of boxes.

What is found lies in parts beside the file until all is done, so that a killed search goes on. A
file that this very search made is gone on with: videos that are in it are not looked at again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from extract.decoding.containers import Limits
from extract.decoding.info import VideoInfo
from extract.decoding.job import SCANNED, Job, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.scanning import Scan
from extract.errors import VideoError
from extract.people.boxes_file import file_bytes, read_boxes
from extract.people.boxes_table import FRAME, SCHEMA, boxes_table
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, detections
from extract.people.detector import Detector
from features_store.commit import make_directory, write_file
from features_store.outputs import Product

COMMAND = "people"
PART = 32
"""Videos after which what was found is put on the disk."""


class Source(Protocol):
    """Whoever knows the boxes of a video."""

    @property
    def identity(self) -> DetectorIdentity:
        """All that decides them."""

    def boxes_of(self, video: str, path: str) -> Detections:
        """Of one video; a VideoError says why there are none."""


class Looking:
    """A detector, here, on every so many frames of a video, which a guarded process decodes. Use it
    as a context manager."""

    def __init__(
        self, detector: Detector, scan: Scan, *, limits: Limits | None = None,
        root: str | None = None,
    ) -> None:  # fmt: skip
        """`root`: videos outside it are refused."""
        self.detector, self.scan = detector, scan
        plan = Plan(looks=(), root=root, limits=limits or Limits(), scan=scan)
        self._pool = DecodePool(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    @property
    def identity(self) -> DetectorIdentity:
        own = self.detector.identity
        return DetectorIdentity(
            name=own.name, weights=own.weights, settings={**own.settings, "every": self.scan.every}
        )

    def boxes_of(self, video: str, path: str) -> Detections:
        found: list[Found] = []
        looked: list[int] = []
        job = Job(index=0, id=video, path=path)
        before: VideoInfo | None = None
        while True:
            info, frames_nhwc = self._lot(job)
            if info != (before or info):
                raise VideoError("it has changed while it was looked at")
            before = info
            numbers = self.scan.lot(info, job.first)
            for number, frame_hwc in zip(numbers, frames_nhwc, strict=True):
                found += self.detector.find(frame_hwc, number)
            looked += numbers
            following = job.first + len(numbers) * self.scan.every
            if not numbers or following >= info.frames:
                break
            job = replace(job, first=following)
        canvas = Canvas(frames=tuple(looked), width=info.width, height=info.height)
        return detections(found, canvas)

    def _lot(self, job: Job) -> tuple[VideoInfo, NDArray[np.uint8]]:
        """Memory that the next one overwrites."""
        (outcome,) = self._pool.run([job])
        if outcome.failure is not None or outcome.info is None:
            raise outcome.failure or VideoError("nothing is known of it")
        return outcome.info, np.asarray(outcome.arrays[SCANNED], np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a search went."""

    found: int
    """Videos whose boxes are in the file now."""
    looked: int
    """Of them, those that were looked at this time."""
    boxes: int
    failures: Mapping[str, str]
    stopped: bool


def search(
    source: Source,
    videos: Sequence[tuple[str, str]],
    out: Path,
    *,
    overwrite: bool = False,
    told: Callable[[int], None] = lambda count: None,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """(id, path) of each video → the file; `told` after each. A failed video does not end it, and
    is looked at again by the next search."""
    identity = source.identity
    made_from = {"detector": asdict(identity)}
    product = Product(out, COMMAND, overwrite=overwrite)
    product.check(made_from)
    parts = _Parts(out, identity)
    if overwrite:
        parts.remove()
    before = [read_boxes(out).table] if out.exists() and not overwrite else []
    there = {video for table in [*before, *parts.read()] for video in table["video"].to_pylist()}
    waiting: dict[str, Detections] = {}
    failures: dict[str, str] = {}
    looked = 0
    for video, path in videos:
        if stop():
            break
        if video not in there:
            try:
                waiting[video] = source.boxes_of(video, path)
                looked += 1
            except VideoError as error:
                failures[video] = str(error)
        told(1)
        if len(waiting) >= PART:
            parts.add(waiting)
            waiting = {}
    parts.add(waiting)
    table = _joined([SCHEMA.empty_table(), *before, *parts.read()])
    if not stop():
        product.write([file_bytes(table, identity)], made_from)
        parts.remove()
    return Result(
        found=len(set(table["video"].to_pylist())), looked=looked,
        boxes=sum(kind != FRAME for kind in table["kind"].to_pylist()),
        failures=failures, stopped=stop(),
    )  # fmt: skip


class _Parts:
    """What is found on the way."""

    def __init__(self, out: Path, identity: DetectorIdentity) -> None:
        text = json.dumps(asdict(identity), sort_keys=True).encode()
        run = hashlib.sha256(text).hexdigest()[:16]
        self.folder = out.with_name(f"{out.name}.parts") / run

    def read(self) -> list[pa.Table]:
        return [pq.read_table(path) for path in sorted(self.folder.glob("*.parquet"))]

    def add(self, found: Mapping[str, Detections]) -> None:
        if not found:
            return
        make_directory(self.folder)
        name = hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()[:16]
        sink = pa.BufferOutputStream()
        pq.write_table(boxes_table(found), sink, compression="zstd")
        write_file(self.folder / f"{name}.parquet", [memoryview(sink.getvalue())])

    def remove(self) -> None:
        shutil.rmtree(self.folder.parent, ignore_errors=True)


def _joined(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables([table.select(SCHEMA.names).cast(SCHEMA) for table in tables])
