"""Faces in real clips, and forged windows of them, for `forged_faces`.

Of clips whose first frame shows a face, what is around all faces of their first frames is kept as a
video of its own, so that what a training needs is small. All are written by one encoder.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.branch import BranchRequest, load_branch
from extract.decoding.video import open_video
from extract.errors import VideoError
from extract.manifest.manifest import Manifest, ManifestOptions, Video, read_manifest
from extract.people import mtcnn
from extract.people.alignment import crop_corners
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, Detections, Found, detections
from extract.people.mtcnn import Mtcnn, MtcnnSettings
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.transforms import resize_short_side
from features_store import Store
from features_store.table import Table
from heads.data.forged import by_view
from heads.measuring.metrics import REAL

BOXES, VIDEOS, STORE = "faces.parquet", "videos", "s.zarr"
LISTED = "videos.csv"
CLIPS, PRESENT = "faces/clips", "faces/present"
FRAMES, SIDE = 8, 64
"""Of a window."""
MOST_FRAMES, FEWEST, SHORT, SMALLEST = 48, 16, 360, 50
"""Of a clip: frames, pixels of the short side and of the smallest face."""
Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """All forged views that show a face, a row each, and the page that each is from."""

    store: Store
    table: Table
    pages: Names

    @staticmethod
    def of(work: Path, protocol: str) -> "Views":
        store = Store.open(work / STORE)
        table = by_view(store.table([CLIPS, PRESENT], protocol=protocol))
        table = table.take(table.arrays[PRESENT].reshape(len(table)) > 0)
        pages = [str(page) for page in store.videos.column("group")[table.rows].tolist()]
        return Views(store=store, table=table, pages=np.array(pages, object))


def find(clips: Path, work: Path, weights: Path) -> None:
    """The videos of faces and where these are in them, from clips with a `clips.csv`."""
    (work / VIDEOS).mkdir(parents=True, exist_ok=True)
    cascade = mtcnn.read(weights, MtcnnSettings(smallest=SMALLEST))
    real = real_clips(clips)
    found = dict(close_ups(real, work / VIDEOS, cascade))
    pages = {name_of(video): video.group for video in real}
    rows = [(name, REAL, pages[name]) for name in sorted(found)]
    with (work / VIDEOS / LISTED).open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    (work / BOXES).write_bytes(file_bytes(boxes_table(found), cascade.identity))


def windows(work: Path, protocol: str, workers: int) -> None:
    """Forged windows of the faces; what is there is not made again."""
    branch = load_branch(
        BranchRequest.parse(f"faces=rgb?boxes={work / BOXES}&frames={FRAMES}&side={SIDE}")
    )
    extraction = Extraction.begin(
        listed(work), work / STORE, [branch], Settings(protocol=protocol, shard_rows=4)
    )
    extraction.run(workers=workers, bar=False)


def listed(work: Path) -> Manifest:
    """Of two classes, with the page that a clip is from."""
    return read_manifest(work / VIDEOS / LISTED, ManifestOptions(scheme="hfv2"))


def real_clips(clips: Path) -> tuple[Video, ...]:
    manifest = read_manifest(clips, ManifestOptions(layout="clips"))
    assert manifest.scheme is not None
    real = manifest.scheme.index(REAL)
    return tuple(v for v in manifest.only_split("train").videos if v.label == real)


def name_of(video: Video) -> str:
    """Of the video of its faces."""
    return f"{Path(video.path).stem}.mkv"


def close_ups(
    videos: Sequence[Video], out: Path, cascade: Mtcnn
) -> Iterator[tuple[str, Detections]]:
    """Clips that begin with a face: what is around all faces of their first frames is written."""
    for video in videos:
        try:
            with open_video(video.path) as opened:
                frames = opened.every_frame()
                first = _small(next(iter(frames)))
                if not cascade.faces(first, 0):
                    continue
                kept = [first, *(_small(one) for one in islice(frames, MOST_FRAMES - 1))]
        except VideoError as error:
            print(f"{video.id} is left out: {error}")
            continue
        if len(kept) < FEWEST:
            continue
        faces = [face for n, frame_hwc in enumerate(kept) for face in cascade.faces(frame_hwc, n)]
        left, top, right, bottom = around(faces, *first.shape[:2])
        name = name_of(video)
        _write(out / name, [frame_hwc[top:bottom, left:right] for frame_hwc in kept])
        moved = [_moved(face, left, top) for face in faces]
        canvas = Canvas(frames=tuple(range(len(kept))), width=right - left, height=bottom - top)
        yield name, detections(moved, canvas).inside(canvas.width, canvas.height)


def around(faces: Sequence[Found], height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of all that is looked at to align any of them; sides are even."""
    corners = np.array([crop_corners(face.box, height, width) for face in faces])
    left, top = (int(x) // 2 * 2 for x in corners[:, :2].min(0))
    right, bottom = (int(x) + 2 for x in corners[:, 2:].max(0))
    right, bottom = min(right, width), min(bottom, height)
    return left, top, right - (right - left) % 2, bottom - (bottom - top) % 2


def _moved(face: Found, left: int, top: int) -> Found:
    x0, y0, x1, y1 = face.box
    points = None if face.points is None else tuple((x - left, y - top) for x, y in face.points)
    return replace(face, box=(x0 - left, y0 - top, x1 - left, y1 - top), points=points)


def _small(frame_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sides are even."""
    if min(frame_hwc.shape[:2]) > SHORT:
        frame_hwc = resize_short_side(frame_hwc, SHORT)
    height, width = (side // 2 * 2 for side in frame_hwc.shape[:2])
    return np.ascontiguousarray(frame_hwc[:height, :width])


def _write(path: Path, frames_hwc: Sequence[NDArray[np.uint8]]) -> None:
    """All clips by one encoder, hardly compressed."""
    height, width = frames_hwc[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "10"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for frame_hwc in frames_hwc:
            whole = np.ascontiguousarray(frame_hwc)
            container.mux(stream.encode(VideoFrame.from_ndarray(whole, format="rgb24")))
        container.mux(stream.encode(None))
