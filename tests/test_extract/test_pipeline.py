"""The pipeline: however a run goes, the store ends up with the same bits."""

import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from extract.errors import BadSetting, TooManyFailures
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.extraction import Extraction
from extract.running.workload import Part
from features_store import Store, check, facts
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
KILLS = 20
CONTEXT = get_context("forkserver")


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
    assert table.arrays["internvideo2/cls"].std() > 0
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


def _run_in_child(root: str, store: str) -> None:
    extract(read_manifest(root), Path(store))


def test_killed_at_random_moments_and_resumed(
    reference: Path, manifest: Manifest, tmp_path: Path
) -> None:
    rng = random.Random(7)
    CONTEXT.set_forkserver_preload([__name__, "extract.branches.internvideo2", "cv2", "av"])
    killed = 0
    for _ in range(KILLS):
        process = CONTEXT.Process(
            target=_run_in_child, args=(str(manifest.root), str(tmp_path / "s"))
        )
        process.start()
        process.join(rng.uniform(0.1, 1.5))
        if process.is_alive():
            process.kill()
            killed += 1
        process.join()
        if killed and process.exitcode == 0:
            shutil.rmtree(tmp_path / "s")  # it got to its end: begin anew, kill again
    assert killed >= KILLS // 3
    extract(manifest, tmp_path / "s")
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
    names = [branch.offer.specs(1)[0].group for branch in extraction.branches]
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


def test_unlabelled_videos_get_a_store_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_clip(tmp_path / "data" / "a.mp4", frames=9)
    extract(read_manifest(str(tmp_path / "data")), tmp_path / "s")
    assert Store.open(tmp_path / "s").classes == ("unlabelled",)


class TestCommand:
    """`telltale extract`, as a user runs it."""

    @pytest.fixture
    def command(self, manifest: Manifest, tmp_path: Path) -> list[str]:
        few = tmp_path / "few.txt"
        few.write_text("".join(f"{video.path}\n" for video in manifest.videos[:12]))
        return [
            sys.executable, "-m", "heads", "extract", str(few), "--root", str(manifest.root),
            "--store", str(tmp_path / "s"), "--branch", "internvideo2=tiny", "--workers", "2",
            "--shard-rows", "4",
        ]  # fmt: skip

    def run(self, command: list[str], *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    def test_dry_run_writes_nothing(self, command: list[str], tmp_path: Path) -> None:
        done = self.run(command, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "12 videos asked for, 12 to decode here" in done.stdout
        assert "enough" in done.stdout
        assert not (tmp_path / "s").exists()

    def test_summary_log_and_list_of_failures(self, command: list[str], tmp_path: Path) -> None:
        import json

        done = self.run(command, "--log", str(tmp_path / "log"))
        assert done.returncode == 3, done.stderr
        assert "11 videos, 1 failed" in done.stdout
        events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [events[0]["event"], events[-1]["event"]] == ["start", "end"]
        assert sum(event["event"] == "commit" for event in events) == 9
        assert events[-1]["ok"] == 11
        rows = (tmp_path / "s.failures.csv").read_text().splitlines()
        assert len(rows) == 2
        assert "nothing to do" in self.run(command).stdout

    def test_devices_share_the_work(self, command: list[str], tmp_path: Path) -> None:
        done = self.run(command, "--device", "cpu,cpu")
        assert done.returncode == 3, done.stderr
        status = Store.open(tmp_path / "s").open_branch("val", "internvideo2").status()
        assert sorted(status.tolist()) == [1] * 11 + [2], done.stderr

    def test_ctrl_c_ends_tidily(self, command: list[str], tmp_path: Path) -> None:
        import signal

        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "s" / "val").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if process.returncode == 130:
            assert "run the same command again to go on" in out + err
        else:  # it was done already
            assert process.returncode == 3
        assert "Traceback" not in err
        assert self.run(command).returncode in (0, 3)
        status = Store.open(tmp_path / "s").open_branch("val", "internvideo2").status()
        assert (status > 0).all()

    def test_mistakes_are_explained(self, command: list[str]) -> None:
        for wrong, said in (
            (["--part", "9/3"], "give 1/N to N/N"),
            (["--device", "cuda:7"], "this machine has 0 GPUs"),
            (
                ["--branch", "dpth=tiny"],
                "'dpth' unknown; have: appearance, depthpro",
            ),
            (["--protocol", "test-4"], "Protocol 'test-4' unknown"),
            (["--max-failed", "2"], "more than 0, at most 1"),
        ):
            done = self.run(command, *wrong)
            assert done.returncode == 1
            assert said in done.stderr
            assert "Traceback" not in done.stderr
