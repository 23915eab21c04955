"""Forgeries of faces, learnt end to end from reals alone, with and without alternate freezing:
`python -m benchmarks.forged_faces CLIPS --weights FOLDER [--work FOLDER]`.

CLIPS has a `clips.csv` (see `--layout clips`), FOLDER MTCNN's three files. Of its real clips of
split `train` those whose first frame shows a face are kept, and of them their first frames. A small
copy of AltFreezing's network, from its first random numbers on, learns from forged views of their
faces, in which one kind of each anomaly never comes. Then, for clips that it never saw (in folds
that keep a page's clips together, a fold for each seed), it says how forged whole views are and
views of each kind. Intervals draw pages anew within each fold, since clips of one page are not
independent.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import torch
from av import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from benchmarks import measure
from benchmarks.measure import Row
from extract.branch import BranchRequest, load_branch
from extract.decoding.video import open_video
from extract.errors import VideoError
from extract.manifest.manifest import Manifest, ManifestOptions, Video, read_manifest
from extract.networks.resnet3d import ResNet3d
from extract.people import mtcnn
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, Detections, detections
from extract.people.mtcnn import Mtcnn, MtcnnSettings
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from extract.views.forgeries import ANOMALIES
from extract.views.transforms import resize_short_side
from features_store import Store
from features_store.table import Table
from heads.data.folds import fold_numbers
from heads.data.forged import SOURCE, by_view
from heads.finetuning.backbone import Backbone
from heads.finetuning.config import FinetuneConfig
from heads.finetuning.data import CachedSource, Feeding
from heads.finetuning.loop import Finetuner, Run
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes
from heads.finetuning.request import Request
from heads.finetuning.starting import config_of, readout_of
from heads.measuring.metrics import REAL, averaged

PROTOCOL = "forged-32x8"
BOXES, STORE = "faces.parquet", "s.zarr"
CLIPS, PRESENT = "faces/clips", "faces/present"
HELD_OUT = ("drop", "deform", "self")
"""One kind of each anomaly."""
WAYS = {"all at once": None, "in turns": "spatial:temporal=1:20"}
SEEDS, RESAMPLED, EPOCHS = 3, 1000, 6
MOST_FRAMES, FEWEST, SHORT, SMALLEST = 48, 16, 360, 50
"""Of a clip: frames, pixels of the short side and of the smallest face."""
Floats = NDArray[np.float64]
Names = NDArray[np.object_]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder with clips.csv")
    parser.add_argument("--weights", type=Path, help="a folder with MTCNN's three files")
    parser.add_argument("--work", type=Path, help="keep faces here, and go on from them")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--processes", type=int, default=2, help="trainings at the same time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        windows(given.clips, work, given.weights)
        with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
            rows = judged(work, given.epochs, pool)
    measure.report("forged-faces", rows, ("numpy", "torch", "av"))


def windows(clips: Path, work: Path, weights: Path | None) -> None:
    """Forged windows of the faces in real clips; what is there is not made again."""
    boxes, videos = work / BOXES, work / "videos"
    if not boxes.exists():
        videos.mkdir(parents=True, exist_ok=True)
        cascade = mtcnn.read(weights, MtcnnSettings(smallest=SMALLEST))
        found = dict(close_ups(real_clips(clips), videos, cascade))
        boxes.write_bytes(file_bytes(boxes_table(found), cascade.identity))
    branch = load_branch(BranchRequest.parse(f"faces=rgb?boxes={boxes}&frames=8&side=64"))
    extraction = Extraction.begin(
        _listed(videos, clips), work / STORE, [branch], Settings(protocol=PROTOCOL, shard_rows=16)
    )  # fmt: skip
    extraction.run(workers=1, bar=False)


def real_clips(clips: Path) -> tuple[Video, ...]:
    manifest = read_manifest(clips, ManifestOptions(layout="clips"))
    assert manifest.scheme is not None
    real = manifest.scheme.index(REAL)
    return tuple(v for v in manifest.only_split("train").videos if v.label == real)


def close_ups(
    videos: Sequence[Video], out: Path, cascade: Mtcnn
) -> Iterator[tuple[str, Detections]]:
    """Clips that begin with a face: their first frames are written, and looked at."""
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
        name = f"{Path(video.path).stem}.mkv"
        _write(out / name, kept)
        height, width = first.shape[:2]
        canvas = Canvas(frames=tuple(range(len(kept))), width=width, height=height)
        faces = (face for n, frame_hwc in enumerate(kept) for face in cascade.faces(frame_hwc, n))
        yield name, detections(faces, canvas)


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
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "8"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        for frame_hwc in frames_hwc:
            container.mux(stream.encode(VideoFrame.from_ndarray(frame_hwc, format="rgb24")))
        container.mux(stream.encode(None))


def _listed(videos: Path, clips: Path) -> Manifest:
    """Of two classes, with the page that a clip is from."""
    pages = {Path(v.path).stem: v.group for v in real_clips(clips)}
    listed = videos / "videos.csv"
    rows = [(path.name, REAL, pages[path.stem]) for path in sorted(videos.glob("*.mkv"))]
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return read_manifest(listed, ManifestOptions(scheme="hfv2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """What one seed's network says of views that it never saw."""

    real_r: NDArray[np.bool_]
    kinds_r: Names
    """How each is forged, and how forged it looks."""
    forged_r: Floats
    pages_r: Names
    losses: Sequence[float]
    """Of every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """All forged views that show a face, a row each, and the page that each is from."""

    store: Store
    table: Table
    pages: Names

    @staticmethod
    def of(work: Path) -> "Views":
        store = Store.open(work / STORE)
        table = by_view(store.table([CLIPS, PRESENT], protocol=PROTOCOL))
        table = table.take(table.arrays[PRESENT].reshape(len(table)) > 0)
        pages = [str(page) for page in store.videos.column("group")[table.rows].tolist()]
        return Views(store=store, table=table, pages=np.array(pages, object))


def judged(work: Path, epochs: int, pool: ProcessPoolExecutor) -> list[Row]:
    """Both ways of learning, on the same folds."""
    views = Views.of(work)
    counts = {"videos": len(np.unique(views.table.rows)), "pages": len(np.unique(views.pages)),
              "views": len(views.table)}  # fmt: skip
    print(counts, flush=True)
    coming = {way: [pool.submit(fold, work, seed, turns, epochs) for seed in range(SEEDS)]
              for way, turns in WAYS.items()}  # fmt: skip
    groups: dict[str, tuple[str, ...]] = {kind: (kind,) for kind in ANOMALIES}
    groups["known kinds"] = tuple(kind for kind in ANOMALIES if kind not in HELD_OUT)
    groups["held-out kinds"] = HELD_OUT
    rows: list[Row] = []
    for way, later in coming.items():
        folds = [one.result() for one in later]
        for name, kinds in groups.items():
            auc, low, high = interval(folds, kinds)
            known = "no" if set(kinds) <= set(HELD_OUT) else "yes"
            rows.append({"what": name, "way": way, "known": known, "auc": auc, "low": low,
                         "high": high, "steps": len(folds[0].losses), "seeds": SEEDS,
                         **counts})  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def interval(folds: Sequence[Fold], kinds: Sequence[str]) -> tuple[float, float, float]:
    """Mean over folds of the mean over kinds of the AUC against whole views, and 95% of drawing
    pages anew within each fold."""
    random = np.random.default_rng(0)
    found = []
    for again in range(RESAMPLED + 1):
        aucs = []
        for fold in folds:
            names = np.unique(fold.pages_r)
            drawn = names if not again else random.choice(names, len(names))
            rows = np.concatenate([np.flatnonzero(fold.pages_r == name) for name in drawn])
            aucs += [_auc(fold, rows, kind) for kind in kinds]
        found.append(float(np.nanmean(aucs)))
    low, high = np.quantile(found[1:], [0.025, 0.975])
    return found[0], float(low), float(high)


def _auc(fold: Fold, rows: NDArray[np.int64], kind: str) -> float:
    """The share of pairs, a forged view and a whole one, that are told right; of ties half are."""
    whole = fold.forged_r[rows[fold.real_r[rows]]]
    forged = fold.forged_r[rows[fold.kinds_r[rows] == kind]]
    if not (len(whole) and len(forged)):
        return float("nan")
    apart = forged[:, None] - whole
    return float((np.sign(apart).mean() + 1) / 2)


def fold(work: Path, seed: int, turns: str | None, epochs: int) -> Fold:
    """Learnt without this fold's pages and the kinds that are held out."""
    torch.set_num_threads(1)
    views = Views.of(work)
    table, pages = views.table, views.pages
    numbers = fold_numbers(table.ids, table.labels, SEEDS, pages, seed=0)
    known = ~np.isin(table.sources, np.array([f"{SOURCE}{kind}" for kind in HELD_OUT], "T"))
    mine, others = numbers == seed, np.flatnonzero(known & (numbers != seed))
    parts = fold_numbers(table.ids[others], table.labels[others], 4, pages[others], seed=seed)
    learn, decide = balanced(table.take(others[parts > 0])), table.take(others[parts == 0])
    config = FinetuneConfig(
        epochs=epochs, batch=8, lr=0.03, optimiser="sgd", weight_decay=1e-4, clip=5.0,
        layer_decay=1.0, norms="batch", alternate=turns, rank_loss=False, smoothing=0.0,
        views="all", select="auc",
    )  # fmt: skip
    request = Request(
        store=views.store, reach="end-to-end", config=config, seed=seed,
        backbone=BranchRequest.parse(f"altfreezing=tiny?boxes={work / BOXES}"),
    )  # fmt: skip
    backbone = Backbone.load(request.backbone, PROTOCOL)
    assert isinstance(backbone.network.model, ResNet3d)
    backbone.network.model.initialise(seed)
    head, processes = config_of(request, backbone, None), Processes()
    readout = readout_of(request, backbone, head, None, learn, processes)
    net = FinetuneNet(backbone.network, readout, backbone.reach(request.reach), config, processes)
    run = Run(config=config, train=_source(learn, judge=False),
              validation=_source(decide), seed=seed)  # fmt: skip
    finetuner = Finetuner(net, run)
    finetuner.fit()
    said = averaged(finetuner.probabilities(_source(table.take(mine))))
    real = table.classes.index(REAL)
    kinds = [str(source).removeprefix(SOURCE) for source in table.sources[mine]]
    return Fold(
        real_r=table.labels[mine] == real, kinds_r=np.array(kinds, object),
        forged_r=1 - said[:, real].astype(np.float64), pages_r=pages[mine],
        losses=finetuner.losses,
    )  # fmt: skip


def balanced(table: Table) -> Table:
    """Whole views so often that they are as many as forged ones."""
    whole = table.labels == table.classes.index(REAL)
    rows = np.flatnonzero(whole)
    more = np.resize(rows, max(0, int((~whole).sum()) - len(rows)))
    return table.take(np.sort(np.concatenate([np.arange(len(table)), more])))


def _source(table: Table, *, judge: bool = True) -> CachedSource:
    return CachedSource(table, CLIPS, Feeding(judge=judge, rank_loss=False, beside=()), raw=True)


if __name__ == "__main__":
    main()
