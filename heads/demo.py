"""`telltale demo`: everything that there is so far, end to end, on a small made-up data set.

Renders clips of people, damages one file on purpose, decodes each video once, runs both branches
with their `tiny` random weights and keeps what they said in a feature store. Run it again after an
interruption and it goes on. Ends with a page of what was made, in RUN/report.html.
"""

import argparse
import base64
import html
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from extract.branch import BranchRequest, load_branch
from extract.errors import VideoError
from extract.extraction import Extraction
from extract.manifest import Manifest, read_manifest
from extract.pipeline import Settings
from extract.synthetic import SyntheticOptions, write_data_set
from extract.video import open_video
from features_store import Store, check

PROTOCOL = "val"
VIDEOS = 40
SHARD_ROWS = 8
_STRIP_FRAMES, _STRIP_SIZE = 8, 128


def run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.out
    manifest = data_set(folder / "data")
    branches = [load_branch(BranchRequest.parse(f"{n}=tiny")) for n in ("internvideo2", "depthpro")]
    settings = Settings(protocol=PROTOCOL, shard_rows=SHARD_ROWS)
    extraction = Extraction.begin(manifest, folder / "features.zarr", branches, settings)
    print("\n".join(extraction.run().lines()))
    store = extraction.store
    damage = check.verify(store.place)
    page = folder / "report.html"
    page.write_text(report(store, manifest))
    for protocol in store.info()["protocols"].values():
        for found in protocol:
            print(f"{found['branch']}: {found['ok']} ok, {found['failed']} failed (one on purpose)")
    print(f"store verified: {len(damage) or 'no'} damage\nlook at {page}\ntry next:")
    print(f"  telltale store info {store.place.name}")
    print(f"  telltale probe {folder / 'data'}")
    print(f"  telltale store export {store.place.name} {folder / 'features.h5'}")
    return 1 if damage else 0


def data_set(folder: Path) -> Manifest:
    """Made-up videos; one file is cut off, as files in the wild are."""
    if not folder.exists():
        unfinished = folder.with_name("data.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        options = SyntheticOptions(videos=VIDEOS, seed=0, difficulty=0.3)
        for _ in tqdm(write_data_set(unfinished, options), total=VIDEOS, desc="render",
                      unit=" clips", disable=None):  # fmt: skip
            pass
        broken = Path(read_manifest(str(unfinished)).videos[0].path)
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
        unfinished.rename(folder)
    return read_manifest(str(folder))


def report(store: Store, manifest: Manifest) -> str:
    """One page that opens from disk and needs no network."""
    reasons: dict[int, str] = {}
    for name in store.branches(PROTOCOL):
        reasons |= store.open_branch(PROTOCOL, name).errors()
    videos = manifest.videos
    failures = "".join(
        f"<tr><td>{html.escape(videos[row].id)}<td>{html.escape(reason)}"
        for row, reason in sorted(reasons.items())
    )
    strips = "".join(
        f'<h3>{html.escape(name)}</h3><img alt="" src="data:image/jpeg;base64,{strip}">'
        for name, strip in _strips(store, manifest)
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Telltale demo</title>"
        "<meta name=viewport content='width=device-width'>"
        "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui;max-width:68rem;"
        "margin:2rem auto;padding:0 1rem}img{max-width:100%;border-radius:6px}"
        "td{padding:.2rem 1rem .2rem 0}</style><h1>Telltale demo</h1>"
        f"<p>{len(videos)} made-up videos, decoded once each; features of two networks with "
        "<b>random weights</b>, which show that everything runs and mean nothing else.</p>"
        f"<h2>One video of each class, and what is wrong with it</h2>{strips}"
        f"<h2>Videos that failed</h2><table><tr><th>video<th>why{failures}</table>"
        f"<h2>The store</h2><p>{html.escape(repr(store))}</p>"
    )


def _strips(store: Store, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for label, name in enumerate(store.classes):
        for video in manifest.videos:
            strip = _strip(video.path) if video.label == label else None
            if strip is not None:
                yield name, strip
                break


def _strip(path: str) -> str | None:
    try:
        with open_video(path) as video:
            numbers = np.linspace(0, video.info.frames - 1, _STRIP_FRAMES).astype(int).tolist()
            frames = video.read(numbers)
    except VideoError:
        return None
    size = (_STRIP_SIZE, _STRIP_SIZE)
    strip = np.hstack([cv2.resize(frames[number], size) for number in numbers])
    _, encoded = cv2.imencode(".jpg", strip[:, :, ::-1])
    return base64.b64encode(encoded.tobytes()).decode()
