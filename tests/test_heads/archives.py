"""Archives for tests of scoring: files whose content decides their features, without a decoder."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from extract.branch import Branch
from extract.manifest.names import unescaped
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from features_store.branch_arrays import BranchArrays
from features_store.schema import Status
from heads.bundle import Bundle
from heads.parts.about import About
from heads.scoring.archive import Result, VideoRun, score_videos
from heads.scoring.inputs import read_inputs
from heads.scoring.output import Output, read_scores
from heads.scoring.scorer import Scorer
from heads.zoo.fusion import Fusion, FusionConfig
from tests.test_extract.extractions import tiny
from tests.test_heads.tables import CLASSES, only, table

PLAN = {"place": "here"}
KEYS = ("internvideo2/cls", "internvideo2/avg", "internvideo2/attn", "depthpro/depth")


@cache
def branches() -> tuple[Branch, ...]:
    return tuple(tiny("internvideo2", "depthpro"))


@cache
def scorer() -> Scorer:
    """A head for the tiny branches' sizes."""
    found = only(table(40, 1), KEYS)
    shapes = {
        f"{branch.name}/{name}": array.shape
        for branch in branches()
        for name, array in branch.offer.specs(1)[0].arrays.items()
    }
    random = np.random.default_rng(0)
    arrays = {key: random.normal(size=(40, *shapes[key])).astype(np.float16) for key in KEYS}
    prints = {key: fingerprint(key) for key in KEYS}
    found = replace(found, arrays=arrays, fingerprints=prints)
    head = Fusion(FusionConfig(epochs=1), CLASSES)
    head.fit(found, found)
    about = About(
        head="fusion", config={}, scheme="hfv4", classes=CLASSES, protocol="val",
        fingerprints=prints, branches={"internvideo2": "internvideo2=tiny"},
    )  # fmt: skip
    return Scorer(bundle=Bundle(head, about))


def fingerprint(key: str) -> str:
    return next(b.offer.fingerprint for b in branches() if b.name == key.partition("/")[0])


def fill(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


class FakeRun:
    """Extraction that reads a file's text: `broken` fails, `busy` fails for the time being."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.computed: list[str] = []
        self.stop_after = stop_after

    def __call__(self, extraction: Extraction) -> bool:
        store, retry = extraction.store, extraction.settings.retry_failed
        rows = extraction.rows
        for name in ("depthpro", "internvideo2"):
            arrays = store.open_branch("val", name)
            status = arrays.status(rows)
            todo = rows[(status == Status.MISSING) | (retry & (status == Status.FAILED))]
            if self.stop_after is not None:
                todo = todo[: max(0, self.stop_after - len(self.computed))]
            if name == "internvideo2":
                self.computed += [str(video) for video in store.videos.column("id")[todo]]
            paths = store.videos.column("path")
            for shard in np.unique(todo // arrays.shard_rows).tolist():
                places = todo[todo // arrays.shard_rows == shard] - shard * arrays.shard_rows
                _write(arrays, shard, {p: str(paths[arrays.rows(shard)[p]]) for p in places})
        return self.stop_after is None or len(self.computed) < self.stop_after


def _write(arrays: BranchArrays, shard: int, paths: Mapping[int, str]) -> None:
    """What the files at some places of a shard hold."""
    count = len(arrays.rows(shard))
    status = np.zeros(count, np.uint8)
    errors: dict[int, str] = {}
    whole = {
        key: np.zeros((count, *spec.shape), spec.dtype) for key, spec in arrays.spec.arrays.items()
    }
    for place, path in paths.items():
        values, error = features(path, arrays.spec.name)
        status[place] = Status.FAILED if error else Status.OK
        errors |= {place: error} if error else {}
        for key, value in values.items():
            whole[key][place] = value
    arrays.write_shard(shard, whole, status, errors)


def features(path: str, branch: str) -> tuple[dict[str, np.ndarray], str]:
    try:
        text = Path(os.fsdecode(unescaped(path))).read_text()
    except OSError as error:
        return {}, f"it cannot be opened: {error.strerror}"
    if text == "broken":
        return {}, "no video container that is known"
    if text == "busy":
        return {}, "temporary: the worker was lost"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    random = np.random.default_rng(seed)
    spec = next(b for b in branches() if b.name == branch).offer.specs(1)[0]
    return {key: random.normal(size=a.shape).astype(a.dtype) for key, a in spec.arrays.items()}, ""


def score(
    folder: Path,
    out: Path,
    run: Callable[[Extraction], bool],
    *,
    keep: str | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Result:
    """As the command does it."""
    videos = VideoRun(
        manifest=read_inputs([str(folder)], None, None),
        branches=branches,
        settings=Settings(protocol="val", max_failed=1.0),
        run=run,
        keep=keep,
        retry_failed=retry_failed,
    )
    output = Output(out, {**PLAN, "place": str(folder)}, about={"a": 1}, overwrite=overwrite)
    return score_videos(scorer(), videos, output)


def rows(out: Path) -> dict[str, dict[str, object]]:
    found = read_scores(out)
    assert len(set(found["id"].to_pylist())) == len(found)
    return {str(row["id"]): row for row in found.to_pylist()}
