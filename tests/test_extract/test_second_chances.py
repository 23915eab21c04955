"""What is no fault of a video does not cost it: lost workers, failing disks, errors in the run."""

import errno
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from extract.decoding.containers import Limits
from extract.decoding.job import Job, Look, Output, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.video import open_video
from extract.decoding.worker_process import WorkerProcess
from extract.errors import NotAFile, Unreadable, WorkerLost, is_temporary
from extract.manifest.manifest import Manifest
from extract.running.extraction import Extraction
from features_store import Store
from features_store.branch_arrays import BranchArrays
from features_store.errors import WriteFailed
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import extract, settings, tiny, write_videos

ONCE = Output(
    name="numbers", function="tests.test_extract.makers:misbehave_once", shape=(8,), dtype="int64"
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data", 8)


@pytest.mark.parametrize(("width", "limit"), [(32, 60.0), (16, 1.5)], ids=["dies", "hangs"])
def test_a_video_whose_worker_is_lost_is_tried_again_in_a_fresh_one(
    width: int, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISBEHAVED", str(tmp_path / "once"))
    paths = [
        write_clip(tmp_path / f"{n}.mp4", frames=9, size=(s, 64)) for n, s in ((0, width), (1, 96))
    ]
    jobs = [Job(index=n, id=path.name, path=str(path)) for n, path in enumerate(paths)]
    plan = Plan(looks=(Look(protocol="val", outputs=(ONCE,)),), limits=Limits(time_limit=limit))
    with DecodePool(plan) as workers:
        found = {outcome.job.index: outcome.ok for outcome in workers.run(jobs)}
        assert workers.started == 2
    assert found == {0: True, 1: True}


class TestLostWorkers:
    """The kernel kills a worker that is given video 2, as often as it is told to."""

    @pytest.fixture
    def kills(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        left = [0]
        give = WorkerProcess.give

        def give_and_kill(worker: WorkerProcess, job: Job) -> None:
            give(worker, job)
            if job.index == 2 and left[0]:
                left[0] -= 1
                os.kill(worker.process.pid, signal.SIGKILL)

        monkeypatch.setattr(WorkerProcess, "give", give_and_kill)
        return left

    def test_the_next_run_tries_again_what_may_have_passed(
        self, kills: list[int], manifest: Manifest, tmp_path: Path
    ) -> None:
        kills[0] = 1
        assert extract(manifest, tmp_path / "once", workers=1).ok == 7
        kills[0] = 2
        first = extract(manifest, tmp_path / "s", workers=1)
        lost, broken = sorted(first.failures, key=lambda failure: not is_temporary(failure.reason))
        assert lost.id == manifest.videos[2].id
        assert lost.reason == "temporary: its worker died (SIGKILL); it has cost two workers"
        assert not is_temporary(broken.reason)
        again = extract(manifest, tmp_path / "s")
        assert (again.ok, again.done) == (1, 1)
        assert extract(manifest, tmp_path / "s").done == 0
        status = Store.open(tmp_path / "s").open_branch("val", "internvideo2").status()
        assert status.tolist() == [1, 1, 1, 1, 1, 2, 1, 1]


def test_a_disk_that_fails_is_told_from_a_file_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=9)
    opened, pread = os.open, os.pread

    def fail_with(number: int) -> None:
        def fail(*_: object) -> bytes:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pread", fail)

    for number in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        fail_with(number)
        with pytest.raises(Unreadable, match="reading it failed: ") as found, open_video(path):
            pass
        assert is_temporary(found.value.kept)
    monkeypatch.setattr(os, "pread", pread)

    def no_open(name: str, flags: int) -> int:
        raise OSError(errno.ESTALE if "v.mp4" in str(name) else errno.ENOENT, "said")

    monkeypatch.setattr(os, "open", no_open)
    with pytest.raises(Unreadable), open_video(path):
        pass
    with pytest.raises(NotAFile) as missing, open_video(tmp_path / "none.mp4"):
        pass
    assert not is_temporary(missing.value.kept)
    monkeypatch.setattr(os, "open", opened)
    assert is_temporary(WorkerLost("its worker died").kept)


def test_a_number_that_does_not_fit_costs_its_video_and_not_the_run(
    manifest: Manifest, tmp_path: Path
) -> None:
    (branch,) = tiny("internvideo2")
    forward, calls = branch.forward, iter(range(100))

    def too_large_once(views: object) -> object:
        results = forward(views)  # type: ignore[arg-type]
        scale = 1e9 if next(calls) == 2 else 1.0
        return {name: numbers * scale for name, numbers in results.items()}

    branch.forward = too_large_once  # type: ignore[method-assign, assignment]
    extraction = Extraction.begin(manifest, tmp_path / "s", [branch], settings(batch=1))
    summary = extraction.run(workers=1, bar=False)
    assert (summary.ok, len(summary.failures)) == (6, 2)
    store = Store.open(tmp_path / "s").open_branch("val", "internvideo2")
    assert store.status().tolist() == [1, 1, 2, 1, 1, 2, 1, 1]
    assert "do not fit float16" in store.errors()[2]
    facts = Store.open(tmp_path / "s").open_branch("val", "container").status()
    assert facts.tolist() == [1, 1, 1, 1, 1, 2, 1, 1]


def test_the_log_says_commit_when_it_is_so_and_an_error_keeps_what_was_done(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk: the run is ended by an error while its shards still wait to be written."""
    few = replace(manifest, videos=manifest.videos[:6])
    write, ended = BranchArrays.write_shard, threading.Event()

    def after_the_error(arrays: BranchArrays, *content: object) -> None:
        if "container" in arrays.prefix:
            assert ended.wait(60)
            assert not [
                e for e in said() if (e["event"], e.get("branch")) == ("commit", arrays.prefix)
            ]
        write(arrays, *content)  # type: ignore[arg-type]

    def said() -> list[dict[str, object]]:
        return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    def stop() -> bool:
        asked.append(1)
        if len(asked) == 4:  # two videos are done, and the facts' shard waits to be written
            ended.set()
            raise RuntimeError("something else")
        return False

    asked: list[int] = []
    monkeypatch.setattr(BranchArrays, "write_shard", after_the_error)
    extraction = Extraction.begin(few, tmp_path / "s", tiny("internvideo2"), settings(shard_rows=2))
    with pytest.raises(RuntimeError, match="something else"):
        extraction.run(workers=1, bar=False, log=tmp_path / "log", stop=stop)
    commits = {(event["branch"], event["shard"]) for event in said() if event["event"] == "commit"}
    store = Store.open(tmp_path / "s")
    there = set()
    for group in store.branches("val"):
        arrays = store.open_branch("val", group)
        there |= {(arrays.prefix, n) for n in range(3) if arrays.read_status(n).any()}
    assert commits == there
    assert {shard for branch, shard in there if "container" in branch} == {0}


def test_a_write_that_fails_is_the_error_that_is_shown(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WriteFailed("No space left on device")

    extraction = Extraction.begin(manifest, tmp_path / "s", tiny("internvideo2"), settings())
    monkeypatch.setattr(BranchArrays, "write_shard", full)
    with pytest.raises(WriteFailed, match="No space left"):
        extraction.run(workers=1, bar=False, log=tmp_path / "log")
    assert "commit" not in (tmp_path / "log").read_text()
