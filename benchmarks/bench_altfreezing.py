"""Windows of faces read from the cache, against making them anew in every epoch.

`python -m benchmarks.bench_altfreezing [--clip FILE --weights FOLDER]`, one core, one video. Anew
is decoding, finding faces (MTCNN), following and aligning them; from the cache is reading what the
branch `faces` keeps, 32 frames of 224 pixels a window. With MTCNN's weights and a clip of a face
all of it is measured; without, faces are put where nobody looked for them, and finding them is left
out. Seconds are the processor's.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import measure
from benchmarks.measure import Row
from extract.branch import BranchRequest, load_branch
from extract.decoding.video import open_video
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.people import mtcnn
from extract.people.alignment import TEMPLATE, TEMPLATE_SIZE
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Detections, DetectorIdentity, Found, detections
from extract.people.mtcnn import Mtcnn
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.synthesis.data_set import SyntheticOptions, write_data_set
from extract.views.protocol import Protocol
from features_store import Store

Anything = TypeVar("Anything")
PROTOCOL = "windows-4x32"
READINGS = 3
Frames = dict[int, NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clip", type=Path, help="default: a made-up one")
    parser.add_argument("--weights", type=Path, help="a folder with MTCNN's three files")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cascade = mtcnn.read(given.weights) if given.weights else None
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), given.clip, cascade)
    measure.report("altfreezing", rows, ("numpy", "torch", "av", "opencv-python-headless"))


def measured(folder: Path, clip: Path | None, cascade: Mtcnn | None) -> list[Row]:
    """Seconds of each step for one video, a row each."""
    videos = folder / "videos"
    if clip is None:
        for _ in write_data_set(videos, SyntheticOptions(videos=1, seed=1)):
            pass
    else:
        videos.mkdir()
        (videos / "clip.mp4").write_bytes(clip.read_bytes())
    manifest = read_manifest(videos, ManifestOptions(labels=clip is None))
    video = manifest.videos[0]

    frames, decoding = timed(lambda: _decoded(video.path))
    seconds = {"decode": decoding}
    if cascade is None:
        found = _put(frames)
    else:
        found, seconds["find faces"] = timed(lambda: _found(cascade, frames))
    boxes = folder / "faces.parquet"
    boxes.write_bytes(file_bytes(boxes_table({video.id: found}), DetectorIdentity(name="bench")))
    branch = load_branch(BranchRequest.parse(f"faces=rgb?boxes={boxes}"))
    views = Protocol.parse(PROTOCOL).views(video.id, len(frames))
    make = branch.prepare.load()
    make(frames, views)  # the file of boxes is read once
    rows, seconds["follow and align"] = timed(lambda: make(frames, views))
    windows = int((rows[:, 0] > 0).sum())

    how = Settings(protocol=PROTOCOL)
    Extraction.begin(manifest, folder / "s", [branch], how).run(workers=1, bar=False)
    store = Store.open(folder / "s")
    read = [
        timed(lambda: store.table(["faces/clips"], protocol=PROTOCOL))[1] for _ in range(READINGS)
    ]
    cached, anew = statistics.median(read), sum(seconds.values())
    known = anew - seconds.get("find faces", 0.0)
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    about = {"frames": len(frames), "size": size, "windows": windows}
    return [
        *({"what": name, "seconds": value, **about} for name, value in seconds.items()),
        {"what": "anew, where faces are", "seconds": known, **about},
        {"what": "all anew", "seconds": anew, **about},
        {
            "what": "read from the cache",
            "seconds": cached,
            **about,
            "times as fast": anew / cached,
            "where faces are": known / cached,
        },
    ]


def timed(work: Callable[[], Anything]) -> tuple[Anything, float]:
    """What comes of it, and seconds of the processor, which others on the machine do not change."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def _decoded(path: str) -> Frames:
    with open_video(path) as video:
        return dict(enumerate(video.every_frame()))


def _found(cascade: Mtcnn, frames: Frames) -> Detections:
    return detections(
        face for number, frame_hwc in frames.items() for face in cascade.faces(frame_hwc, number)
    )


def _put(frames: Frames) -> Detections:
    """A face in the middle of every frame."""
    height, width = frames[0].shape[:2]
    left, top, side = width * 0.35, height * 0.35, min(height, width) * 0.3
    points = tuple(
        (left + side * x / TEMPLATE_SIZE, top + side * y / TEMPLATE_SIZE) for x, y in TEMPLATE
    )
    box = (left, top, left + side, top + side)
    return detections(Found(frame=number, kind="face", box=box, points=points) for number in frames)


if __name__ == "__main__":
    main()
