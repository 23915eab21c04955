"""Workers that hang, die, leak or lie; none takes the run with it."""

from pathlib import Path

import numpy as np
import pytest

from extract import processes
from extract.decoding import worker_process
from extract.decoding.containers import Limits
from extract.decoding.frames import read_frames
from extract.decoding.job import CLIPS, DEPTH, FULL_FRAME_DEPTH, Job, Look, Outcome, Output, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.video import open_video
from extract.errors import BadSetting, ExtractError, OverLimit, WorkerLost
from extract.views.protocol import Protocol
from extract.views.transforms import depth_inputs, view_clips
from tests.test_extract import makers
from tests.test_extract.clips import write_clip

MAKERS = "tests.test_extract.makers"
NUMBERS = Output(name="numbers", function=f"{MAKERS}:numbers", shape=(8,), dtype="int64")
MISBEHAVE = Output(name="numbers", function=f"{MAKERS}:misbehave", shape=(8,), dtype="int64")


def jobs_for(paths: list[Path]) -> list[Job]:
    return [Job(index=index, id=path.name, path=str(path)) for index, path in enumerate(paths)]


def run(plan: Plan, paths: list[Path], workers: int = 1) -> dict[str, Outcome]:
    with DecodePool(plan, workers=workers) as pool:
        return {outcome.job.id: outcome for outcome in pool.run(jobs_for(paths))}


def test_a_worker_makes_what_the_library_makes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=40)
    for name in ("test-2x3", "train-2", "val+blur3"):
        protocol = Protocol.parse(name)
        plan = Plan(looks=(Look(protocol=name, outputs=(CLIPS, DEPTH)),), seed=7)
        with DecodePool(plan) as pool:
            (outcome,) = [
                (outcome.info, outcome.copied.seen[name])
                for outcome in pool.run([Job(index=0, id="v.mp4", path=str(path))])
            ]
        with open_video(path) as video:
            assert outcome[1].hashes
            assert outcome[0] == video.info
            views = protocol.views("v.mp4", video.info.frames, seed=7)
            frames = read_frames(video, views)
        np.testing.assert_array_equal(outcome[1].arrays["clips"], view_clips(frames, views))
        np.testing.assert_array_equal(outcome[1].arrays["depth"], depth_inputs(frames, views))


def test_outcomes_stay_readable_while_the_next_video_is_decoded(tmp_path: Path) -> None:
    counts = [9, 20, 33, 47, 60, 75]
    paths = [write_clip(tmp_path / f"{count}.mp4", frames=count) for count in counts]
    with DecodePool(
        Plan(looks=(Look(protocol="val", outputs=(NUMBERS, FULL_FRAME_DEPTH)),)), workers=2
    ) as pool:
        seen = 0
        for outcome in pool.run(jobs_for(paths)):
            assert outcome.info is not None
            (view,) = Protocol.parse("val").views("v", outcome.info.frames)
            assert tuple(outcome.arrays["numbers"][0]) == view.frames
            assert outcome.arrays["depth"].shape == (1, 2, 3, 384, 384)
            seen += 1
    assert seen == len(counts)


@pytest.mark.parametrize("workers", [1, 2])
def test_trouble_costs_one_video_each(tmp_path: Path, workers: int) -> None:
    widths = {16: "hangs", 32: "dies", 48: "eats", 64: "breaks", 80: "lies"}
    paths = []
    for width, name in widths.items():
        paths.append(write_clip(tmp_path / f"{name}.mp4", frames=9, size=(width, 64)))
        paths.append(write_clip(tmp_path / f"after-{name}.mp4", frames=9, size=(96, 64)))
    limits = Limits(time_limit=1.5, memory_limit=makers.MEMORY)
    found = run(
        Plan(looks=(Look(protocol="val", outputs=(MISBEHAVE,)),), limits=limits), paths, workers
    )
    assert len(found) == len(paths)
    for name in widths.values():
        assert found[f"after-{name}.mp4"].ok
    reasons = {name: found[f"{name}.mp4"].failure for name in widths.values()}
    assert isinstance(reasons["hangs"], WorkerLost)
    assert "no result after 1.5 s" in str(reasons["hangs"])
    assert "its worker died (SIGKILL)" in str(reasons["dies"])
    assert isinstance(reasons["eats"], OverLimit)
    assert str(reasons["breaks"]) == "unexpected KeyError: 'a bug\\nin two lines'"
    assert "int64 (3,), int64 (1, 8) was announced" in str(reasons["lies"])


@pytest.mark.parametrize("width", makers.LIES)
def test_what_a_worker_says_is_data_and_never_code(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle, an error that there is not, numbers that are none, an answer without an end."""
    monkeypatch.setattr(worker_process, "_PARTING", 1)
    paths = [
        write_clip(tmp_path / "taken over.mp4", frames=9, size=(width, 64)),
        write_clip(tmp_path / "after.mp4", frames=9, size=(96, 64)),
    ]
    found = run(
        Plan(looks=(Look(protocol="val", outputs=(MISBEHAVE,)),), limits=Limits(time_limit=30)),
        paths,
    )
    assert found["after.mp4"].ok
    failure = found["taken over.mp4"].failure
    assert isinstance(failure, WorkerLost)
    expected = "does not answer as workers do" if makers.LIES[width] else "its worker died"
    assert expected in str(failure)


def test_workers_are_recycled_and_end_with_the_pool(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=9)
    jobs = [Job(index=index, id="v.mp4", path=str(path)) for index in range(7)]
    with DecodePool(
        Plan(looks=(Look(protocol="val", outputs=(NUMBERS,)),)), recycle_after=3
    ) as pool:
        assert sum(outcome.ok for outcome in pool.run(jobs)) == 7
        assert pool.started == 3
        alive = pool.processes
    for process in alive:
        assert not Path(f"/proc/{process}").exists()


def test_a_pool_runs_again_on_all_its_workers(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=9)
    jobs = [Job(index=index, id="v.mp4", path=str(path)) for index in range(4)]
    with DecodePool(Plan(looks=(Look(protocol="val", outputs=(NUMBERS,)),)), workers=2) as pool:
        for _ in range(2):
            running = pool.run(jobs)
            assert next(running).ok
            assert sum(worker.job is not None for worker in pool._workers) == 2
            assert sum(outcome.ok for outcome in running) == 3
        assert pool.started == 2


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=9)
    jobs = [Job(index=index, id="v.mp4", path=str(path)) for index in range(50)]
    with DecodePool(Plan(looks=(Look(protocol="val", outputs=(NUMBERS,)),)), workers=2) as pool:
        assert next(pool.run(jobs)).ok
        alive = pool.processes
    assert len(alive) == 2
    for process in alive:
        assert not Path(f"/proc/{process}").exists()


def test_500_opens_leave_memory_flat(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "v.mp4", frames=24, size=(320, 180))
    jobs = [Job(index=index, id="v.mp4", path=str(path)) for index in range(520)]
    resident = []
    with DecodePool(
        Plan(looks=(Look(protocol="val", outputs=(CLIPS,)),)), recycle_after=10**6
    ) as pool:
        for outcome in pool.run(jobs):
            assert outcome.ok
            pages = Path(f"/proc/{pool.processes[0]}/statm").read_text().split()[1]
            resident.append(int(pages) * 4096)
        assert pool.started == 1
    assert max(resident[-100:]) - min(resident[20:120]) < 8 * 2**20


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="0 workers"):
        DecodePool(Plan(looks=(Look(protocol="val"),)), workers=0)
    with pytest.raises(BadSetting, match="Decoder 'x' unknown"):
        DecodePool(Plan(looks=(Look(protocol="val"),), decoder="x"))
    nowhere = Output(name="n", function="extract.nowhere:make", shape=(1,), dtype="int64")
    path = write_clip(tmp_path / "v.mp4", frames=9)
    with pytest.raises(ExtractError, match=r"cannot start .*No module named 'extract\.nowhere'"):
        run(Plan(looks=(Look(protocol="val", outputs=(nowhere,)),)), [path])


def test_workers_find_the_packages_of_their_parent_first() -> None:
    first = Path(processes.environment()["PYTHONPATH"].split(":")[0])
    assert (first / "extract" / "decoding" / "worker.py").is_file()
