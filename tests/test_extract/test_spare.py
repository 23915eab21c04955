"""A worker that waits for pools and goes from one to the next, and what a file can do to it."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.decoding.containers import Limits
from extract.decoding.job import DEPTH, Job, Look, Output, Plan
from extract.decoding.pool import DecodePool
from extract.decoding.spare import Spare
from extract.decoding.worker_process import WorkerProcess
from extract.errors import ExtractError
from tests.test_extract import makers
from tests.test_extract.clips import write_clip
from tests.test_extract.test_pool import MISBEHAVE, NUMBERS

DIES = (32, 64)
"""The size of a clip that kills its worker."""


@pytest.fixture
def spare() -> Iterator[Spare]:
    found = Spare()
    yield found
    found.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "v.mp4", frames=9)


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "dies.mp4", frames=9, size=DIES)


def look(path: Path, *outputs: Output) -> tuple[list[int], int, list[str]]:
    """In a pool of its own: the ids of its workers, how many of them it started, and what was made,
    or why nothing was."""
    limits = Limits(memory_limit=makers.MEMORY)
    with DecodePool(Plan(looks=(Look(protocol="val", outputs=outputs),), limits=limits)) as pool:
        (outcome,) = pool.run([Job(index=0, id=path.name, path=str(path))])
        made = [f"{name} {array.shape}" for name, array in outcome.arrays.items()]
        processes = pool.processes
    return processes, pool.started, made if outcome.failure is None else [str(outcome.failure)]


def is_there(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def test_one_worker_serves_pools_of_all_sizes_and_ends_with_its_use(
    spare: Spare, clip: Path
) -> None:
    with spare.used():
        (first,), started, made = look(clip, NUMBERS)
        assert (started, made) == (0, ["numbers (1, 8)"])
        assert look(clip, DEPTH, NUMBERS) == (
            [first], 0, ["depth (1, 2, 3, 384, 384)", "numbers (1, 8)"]
        )  # fmt: skip
        assert look(clip, NUMBERS) == ([first], 0, made)
        handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        assert look(clip, DEPTH)[0] == [first]
        assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208
        assert is_there(first)
    assert not is_there(first)
    with spare.used():
        (second,), started, _ = look(clip, NUMBERS)
        assert (second != first, started) == (True, 0)
    spare.close()
    assert not is_there(second)
    (third,), started, _ = look(clip, NUMBERS)  # as if there were no spare one
    assert (started, is_there(third)) == (1, False)


def test_a_file_that_kills_workers_costs_no_other_pool(
    spare: Spare, clip: Path, deadly: Path
) -> None:
    with spare.used():
        (before,), _, _ = look(clip, NUMBERS)
        _, started, (reason,) = look(deadly, MISBEHAVE)
        assert started == 1  # the file's second chance
        assert reason == "its worker died (SIGKILL); it has cost two workers"
        (after,), started, made = look(clip, NUMBERS)
        assert (after != before, started, made) == (True, 1, ["numbers (1, 8)"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_lost_while_it_waits_is_replaced(
    spare: Spare, clip: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spare.used():
        (before,), _, _ = look(clip, NUMBERS)
        os.kill(before, number)
        follow = WorkerProcess.follow

        def soon(worker: WorkerProcess, plan: Plan) -> None:
            follow(worker, plan)
            if worker.process.pid == before:
                worker.deadline = time.monotonic() + 0.2

        monkeypatch.setattr(WorkerProcess, "follow", soon)
        (after,), started, made = look(clip, NUMBERS)
        assert (after != before, started, made) == (True, 1, ["numbers (1, 8)"])
    assert not is_there(before)


def test_memory_is_limited_for_the_files_of_each_plan_and_not_for_its_code(
    spare: Spare, clip: Path, tmp_path: Path
) -> None:
    code = tmp_path / "hungry.py"
    code.write_text(
        f"import numpy\nnumpy.empty({makers.HUNGER}, numpy.uint8)\n"
        "from tests.test_extract.makers import numbers\n"
    )
    hungry = Output(name="n", function=f"{code}:numbers", shape=(8,), dtype="int64")
    eats = write_clip(tmp_path / "eats.mp4", frames=9, size=(48, 64))
    with spare.used():
        (first,), _, _ = look(clip, NUMBERS)
        assert look(clip, hungry) == ([first], 0, ["n (1, 8)"])
        _, started, (reason,) = look(eats, MISBEHAVE)
        assert (started, "it needs more memory than" in reason) == (0, True)
        (after,), started, _ = look(clip, NUMBERS)
        assert (after != first, started) == (True, 1)


def test_what_no_worker_can_load_is_said(spare: Spare, clip: Path) -> None:
    nowhere = Output(name="n", function="extract.nowhere:make", shape=(1,), dtype="int64")
    with spare.used():
        look(clip, NUMBERS)
        with pytest.raises(ExtractError, match=r"cannot start .*No module named 'extract.nowhere'"):
            look(clip, nowhere)


def test_a_machine_that_starts_no_process_for_the_next_file_fails_none_before_it(
    spare: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_can_be() -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("extract.decoding.spare.WorkerProcess", none_can_be)
    with spare.used():
        pass
    assert spare.take() is None
