"""The pipeline: however a run goes, the store ends up with the same bits."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.errors import BadSetting, TooManyFailures
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.extraction import Extraction
from extract.running.workload import Part
from features_store import Store, check, facts, frame_hashes
from features_store.errors import WriteFailed
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import (
    SHARD_ROWS,
    assert_equal_stores,
    extract,
    settings,
    tiny,
    write_videos,
)

BOTH = ("internvideo2", "depthpro")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data")


@pytest.fixture(scope="module")
def reference(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run without interruption."""
    store = tmp_path_factory.mktemp("reference") / "s"
    extract(manifest, store)
    return store


def test_a_run_fills_the_store_and_says_what_failed(reference: Path, manifest: Manifest) -> None:
    store = Store.open(reference)
    branch = store.open_branch("val", "internvideo2")
    assert branch.status().tolist() == [2 if row == 5 else 1 for row in range(24)]
    assert list(branch.errors()) == [5]
    assert check.verify(store.place) == []
    table = store.table(["internvideo2/cls"], protocol="val")
    assert len(table) == 23
    assert table.arrays["internvideo2/cls"].std(dtype=np.float32) > 0
    assert manifest.scheme is not None
    assert store.classes == manifest.scheme.classes


def test_the_numbers_are_those_of_the_branch_alone(reference: Path, manifest: Manifest) -> None:
    from extract.decoding.job import Job
    from extract.decoding.pool import DecodePool
    from extract.running.pipeline import decode_plan

    (branch,) = tiny("internvideo2")
    plan = decode_plan([branch], settings(), str(manifest.root))
    video = manifest.videos[2]
    with DecodePool(plan) as pool:
        for outcome in pool.run([Job(index=0, id=video.id, path=video.path)]):
            import torch

            views = torch.from_numpy(outcome.arrays[branch.prepare.name].copy())
    expected = branch.numpy(branch.forward(views))
    table = Store.open(reference).table(["internvideo2/cls"], protocol="val")
    row = table.ids.tolist().index(video.id)
    np.testing.assert_array_equal(table.arrays["internvideo2/cls"][row], expected["cls"])


def test_workers_batches_and_shards_make_no_difference(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "one", workers=1)
    extract(manifest, tmp_path / "four", settings(batch=3), workers=4)
    for name in ("one", "four"):
        assert_equal_stores(reference, tmp_path / name)
    extract(manifest, tmp_path / "rows", settings(shard_rows=256))
    a, b = (
        Store.open(path).table(["internvideo2/attn"]) for path in (reference, tmp_path / "rows")
    )
    np.testing.assert_array_equal(a.arrays["internvideo2/attn"], b.arrays["internvideo2/attn"])


def test_parts_make_the_whole(reference: Path, manifest: Manifest, tmp_path: Path) -> None:
    done = []
    for number in (2, 1, 3):
        summary = extract(manifest, tmp_path / "s", part=Part(number=number, count=3))
        done.append(summary.done)
    assert sum(done) == 24
    assert min(done) > 0
    assert_equal_stores(reference, tmp_path / "s")


def test_a_second_run_does_nothing_and_failures_are_tried_again_on_request(
    manifest: Manifest, tmp_path: Path
) -> None:
    videos = tuple(manifest.videos[:8])
    few = replace(manifest, videos=videos)
    broken = Path(videos[5].path)
    content = broken.read_bytes()
    first = extract(few, tmp_path / "s")
    assert (first.ok, len(first.failures)) == (7, 1)
    assert extract(few, tmp_path / "s").done == 0
    again = extract(few, tmp_path / "s", settings(retry_failed=True))
    assert [failure.id for failure in again.failures] == [videos[5].id]
    shutil.copy(videos[4].path, broken)
    try:
        healed = extract(few, tmp_path / "s", settings(retry_failed=True))
    finally:
        broken.write_bytes(content)
    assert (healed.ok, len(healed.failures)) == (1, 0)
    cls = Store.open(tmp_path / "s").table(["internvideo2/cls"]).arrays["internvideo2/cls"]
    np.testing.assert_array_equal(cls[4], cls[5])


def test_a_further_branch_leaves_what_is_there_alone(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(reference, tmp_path / "s")
    branch = Store.open(tmp_path / "s").open_branch("val", "internvideo2")
    files = sorted((tmp_path / "s" / branch.prefix).rglob("c/*"))
    before = {path: path.stat().st_mtime_ns for path in files}
    extraction = Extraction.begin(manifest, tmp_path / "s", tiny(*BOTH), settings())
    names = [f"val/{branch.offer.specs(1)[0].group}" for branch in extraction.branches]
    assert len(extraction.work.needed(names[0])) == 0
    assert len(extraction.work.needed(names[1])) == 24
    extraction.run(workers=2, bar=False)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    extract(manifest, tmp_path / "both", branches=BOTH)
    assert_equal_stores(tmp_path / "s", tmp_path / "both")


def test_new_videos_join_a_shard_that_is_written(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    few = replace(manifest, videos=manifest.videos[: SHARD_ROWS + 2])
    extract(few, tmp_path / "s")
    summary = extract(manifest, tmp_path / "s")
    assert summary.done == 24 - SHARD_ROWS - 2 - 0
    assert_equal_stores(reference, tmp_path / "s")


def test_stopping_keeps_what_is_computed(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    asked = iter([False] * 7 + [True] * 100)
    extraction = Extraction.begin(manifest, tmp_path / "s", tiny("internvideo2"), settings())
    summary = extraction.run(workers=1, bar=False, stop=lambda: next(asked))
    assert summary.stopped
    assert summary.done == 7
    status = Store.open(tmp_path / "s").open_branch("val", "internvideo2").status()
    assert status.tolist() == [1, 1, 1, 1, 1, 2, 1] + [0] * 17
    assert extract(manifest, tmp_path / "s").done == 17
    assert_equal_stores(reference, tmp_path / "s")


def test_too_many_failures_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    clip = write_clip(tmp_path / "data" / "good.mp4", frames=9)
    for number in range(130):
        (tmp_path / "data" / f"{number:03}.mp4").write_bytes(clip.read_bytes()[:300])
    manifest = read_manifest(str(tmp_path / "data"))
    with pytest.raises(
        TooManyFailures, match=r"100 of the first 100 videos failed.*--retry-failed"
    ):
        extract(manifest, tmp_path / "s")
    summary = extract(manifest, tmp_path / "s", settings(max_failed=1.0, retry_failed=True))
    assert (summary.ok, len(summary.failures)) == (1, 130)


def test_facts_about_the_files_are_recorded(reference: Path, manifest: Manifest) -> None:
    found = facts.read(Store.open(reference))
    path = Path(manifest.videos[0].path)
    assert found["file_bytes"][0] == path.stat().st_size
    assert found["bit_rate"][0] == 8 * found["file_bytes"][0] / found["duration"][0]
    assert str(found["codec"][0]) in ("h264", "mpeg4")
    assert found["has_audio"][0] == 0
    looks = frame_hashes.read(Store.open(reference), "val")
    assert (looks[0] != 0).any()
    assert not looks[5].any()
    assert np.isnan(found["frames"][5])
    assert str(found["codec"][5]) == ""


def test_what_never_mixes_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    train = settings(protocol="train-1", seed=1)
    few = replace(manifest, videos=manifest.videos[:2])
    extract(few, tmp_path / "s", train)
    with pytest.raises(BadSetting, match=r"another seed: \[1\] there, \[2\] asked for"):
        extract(few, tmp_path / "s", replace(train, seed=2))
    from extract.manifest.labels import label_scheme

    paper = replace(few, scheme=label_scheme("hfv4-paper"))
    with pytest.raises(BadSetting, match="Labels of two schemes never mix"):
        extract(paper, tmp_path / "s")
    with pytest.raises(BadSetting, match="given twice"):
        extract(few, tmp_path / "t", branches=("internvideo2", "internvideo2"))


def test_a_store_that_cannot_be_written_ends_the_run(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from features_store.branch_arrays import BranchArrays

    def full(*_: object) -> None:
        raise WriteFailed("No space left on device")

    monkeypatch.setattr(BranchArrays, "write_shard", full)
    with pytest.raises(WriteFailed):
        extract(manifest, tmp_path / "s")


def test_views_with_clip_changes_are_extracted_and_resumed(
    manifest: Manifest, tmp_path: Path
) -> None:
    """Their description holds tuples, which JSON gives back as lists."""
    few = replace(manifest, videos=manifest.videos[:3])
    for protocol in ("train-2:drop0.3", "train-1:repeat0.2", "train-2:blend0.5"):
        assert extract(few, tmp_path / "s", settings(protocol=protocol)).ok == 3
        assert extract(few, tmp_path / "s", settings(protocol=protocol)).done == 0
    cls = Store.open(tmp_path / "s").table(["internvideo2/cls"], protocol="train-2:drop0.3")
    assert cls.arrays["internvideo2/cls"].shape[:2] == (3, 2)


def test_what_is_refused_leaves_nothing_behind(manifest: Manifest, tmp_path: Path) -> None:
    few = replace(manifest, videos=manifest.videos[:2])
    train = settings(protocol="train-1:drop0.3", seed=1)
    extract(few, tmp_path / "s", train)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadSetting, match="another seed"):
        extract(manifest, tmp_path / "s", replace(train, seed=2), branches=BOTH)
    with pytest.raises(BadSetting, match="given twice"):
        extract(manifest, tmp_path / "t", branches=("internvideo2", "internvideo2"))
    assert sorted(tmp_path.rglob("*")) == before


def test_unlabelled_videos_get_a_store_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_clip(tmp_path / "data" / "a.mp4", frames=9)
    extract(read_manifest(str(tmp_path / "data")), tmp_path / "s")
    assert Store.open(tmp_path / "s").classes == ("unlabelled",)
