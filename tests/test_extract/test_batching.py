"""Batches on a device: two in flight, too little memory, numbers that cannot be stored."""

import random
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from extract.branch import Branch, BranchRequest
from extract.decoding.job import Output
from extract.errors import ExtractError
from extract.running.batching import Batcher, automatic_size
from extract.running.clock import Clock
from extract.running.device import Device, Result
from extract.running.lane import Lane
from extract.running.open_shards import OpenShards
from features_store import Store
from features_store.schema import ArraySpec

Forward = Callable[[Tensor], dict[str, Tensor]]
CPU = torch.device("cpu")


class Echo(Branch):
    """Says of each view the number that is in it."""

    name, preset, precision, device = "echo", "plain", "float32", CPU
    outputs = {"number": ArraySpec(shape=(1,), dtype="float16")}  # noqa: RUF012
    prepare = Output(name="numbers", function="-", shape=(1,), dtype="float32")
    decides = {"revision": 1}  # noqa: RUF012
    provenance = {}  # noqa: RUF012
    request = BranchRequest(name="echo", preset="plain")

    def __init__(self, forward: Forward | None = None) -> None:
        if forward is not None:
            self.forward = forward  # type: ignore[method-assign, assignment]

    def compute(self, batch: Tensor) -> dict[str, Tensor]:
        return {"number": batch.clone()}

    def example(self, count: int) -> Tensor:
        return torch.zeros(count, 1)


class Memory:
    """A device's: so many views are computed at a time, and no more."""

    def __init__(self, views: int) -> None:
        self.free = views
        self.refused = 0
        self._lock = threading.Lock()
        self._rng = random.Random(5)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        with self._lock:
            if len(batch) > self.free:
                self.refused += 1
                raise torch.OutOfMemoryError
            self.free -= len(batch)
            pause = self._rng.uniform(0, 0.002)
        time.sleep(pause)
        with self._lock:
            self.free += len(batch)
        return {"number": batch.clone()}


def lane_of(branch: Echo, folder: Path, views: int, *, rows: int, batch: int) -> Lane:
    store = Store.create(folder / "s", scheme="hfv2", classes=("forgery", "real"))
    store.add_videos({"id": [f"{row}.mp4" for row in range(rows)]})
    (spec,) = branch.offer.specs(views)
    arrays = store.branch("val", spec, shard_rows=4)
    shards = OpenShards(arrays, views)
    shards.expect(np.arange(rows))
    batcher = Batcher(branch, batch)
    return Lane(batcher, [shards], Device(CPU, in_flight=2), Clock())


def test_a_batch_halved_by_another_thread_loses_and_repeats_nothing() -> None:
    """One computes eight views while the other runs out of memory and halves the size."""
    inside, halved = threading.Event(), threading.Event()

    def forward(batch: Tensor) -> dict[str, Tensor]:
        if batch[0] < 1000:
            inside.set()
            assert halved.wait(10)
        elif len(batch) > 4:
            assert inside.wait(10)
            raise torch.OutOfMemoryError
        else:
            halved.set()
        return {"number": batch.clone()}

    batcher = Batcher(Echo(forward), 8)
    first, second = torch.arange(16.0)[:, None], torch.arange(1000.0, 1016.0)[:, None]
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(batcher.run, views) for views in (first, second)]
        results = [one.result()["number"] for one in running]
    assert batcher.size == 4
    assert torch.equal(results[0], first)
    assert torch.equal(results[1], second)


def test_threads_that_run_out_together_halve_once() -> None:
    both = threading.Barrier(2)

    def forward(batch: Tensor) -> dict[str, Tensor]:
        if len(batch) > 4:
            both.wait(10)
            raise torch.OutOfMemoryError
        return {"number": batch.clone()}

    batcher = Batcher(Echo(forward), 8)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(batcher.run, [torch.zeros(8, 1), torch.ones(8, 1)]))
    assert batcher.size == 4


def test_memory_that_the_results_need_is_asked_for_in_small_steps_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Views to the device, and numbers back: what runs out there is halved as well."""
    to = Tensor.to
    refused = []

    def small(views: Tensor, *arguments: object, **options: object) -> Tensor:
        if len(views) > 2:
            refused.append(len(views))
            raise torch.OutOfMemoryError
        return to(views, *arguments, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(Tensor, "to", small)
    views = torch.arange(8.0)[:, None]
    assert torch.equal(Batcher(Echo(), 8).run(views)["number"], views)
    assert refused == [8, 4]


def test_a_view_that_fits_alone_only_is_computed_while_nobody_else_is_at_work() -> None:
    """Two networks on one device, each of whose views takes more than half of its memory."""
    memory = Memory(10)
    lock = threading.Lock()

    def forward(batch: Tensor) -> dict[str, Tensor]:
        taken = 6 * len(batch)
        with lock:
            if taken > memory.free:
                memory.refused += 1
                raise torch.OutOfMemoryError
            memory.free -= taken
        time.sleep(0.002)
        with lock:
            memory.free += taken
        return {"number": batch.clone()}

    views = [torch.arange(float(first), first + 12)[:, None] for first in (0, 100, 200)]
    batchers = [Batcher(Echo(forward), 4) for _ in views]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(Batcher.run, batchers, views))
    assert memory.refused
    assert [batcher.size for batcher in batchers] == [1, 1, 1]
    for numbers, wanted in zip(found, views, strict=True):
        assert torch.equal(numbers["number"], wanted)


@pytest.mark.parametrize("size", [1, 4])
def test_what_an_attempt_held_is_let_go_before_the_next_one(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    held: list[weakref.ref[Tensor]] = []

    def forward(batch: Tensor) -> dict[str, Tensor]:
        if held:
            assert held[0]() is None
            return {"number": batch.clone()}
        middle = batch + 1
        held.append(weakref.ref(middle))
        raise torch.OutOfMemoryError

    def empty_cache() -> None:
        assert held[0]() is None

    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    views = torch.arange(4.0)[:, None]
    assert torch.equal(Batcher(Echo(forward), size).run(views)["number"], views)


def test_a_view_that_never_fits_ends_it() -> None:
    def forward(batch: Tensor) -> dict[str, Tensor]:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        Batcher(Echo(forward), 4).run(torch.zeros(2, 1))


def test_memory_for_one_view_and_not_for_two_is_a_batch_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    branch = Echo(Memory(1).forward)
    branch.device = torch.device("cuda")
    for name, found in (
        ("mem_get_info", (100, 100)), ("memory_allocated", 0), ("max_memory_allocated", 7),
        ("reset_peak_memory_stats", None), ("empty_cache", None),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, found=found: found)
    assert automatic_size(branch) == 1


def test_with_two_batches_in_flight_and_little_memory_every_row_is_its_videos(
    tmp_path: Path,
) -> None:
    memory = Memory(9)
    rows, views = 40, 3
    lane = lane_of(Echo(memory.forward), tmp_path, views, rows=rows, batch=8)
    for row in range(rows):
        numbers = np.arange(views, dtype=np.float32)[:, None] + row * 10
        lane.add(row, f"{row}.mp4", numbers)
        lane.collect()
    lane.flush()
    assert memory.refused
    whole = lane.shards[0].take_whole()
    assert len(whole) == rows // 4
    for shard in whole:
        for position in range(4):
            expected = np.arange(views) + (shard.first + position) * 10
            np.testing.assert_array_equal(shard.arrays["number"][position, :, 0], expected)


def test_rows_that_come_back_are_counted(tmp_path: Path) -> None:
    lane = lane_of(
        Echo(lambda batch: {"number": torch.cat([batch, batch[-1:]])}), tmp_path, 1, rows=4, batch=2
    )
    for row in range(2):
        lane.add(row, f"{row}.mp4", np.zeros((1, 1), np.float32))
    with pytest.raises(ExtractError, match="echo gave 3 rows of number for 2 views"):
        lane.flush()


def test_a_number_that_cannot_be_stored_fails_its_video_alone(tmp_path: Path) -> None:
    """The view that does not fit is one of three, and its video's last comes in another batch."""
    lane = lane_of(Echo(), tmp_path, 3, rows=4, batch=5)
    for row in range(4):
        numbers = np.full((3, 1), row, np.float32)
        if row == 1:
            numbers[0] = 1e9
        lane.add(row, f"{row}.mp4", numbers)
    lane.flush()
    (failure,) = lane.take_failures()
    assert failure.id == "1.mp4"
    assert "number holds numbers that do not fit float16 (largest 1e+09)" in failure.reason
    (shard,) = lane.shards[0].take_whole()
    assert shard.status.tolist() == [1, 2, 1, 1]
    assert shard.errors == {1: failure.reason}
    assert shard.arrays["number"][:, :, 0].tolist() == [[0.0] * 3, [0.0] * 3, [2.0] * 3, [3.0] * 3]


def test_what_two_batches_cover_counts_once() -> None:
    device = Device(CPU, in_flight=2)
    for start, end in ((0.0, 2.0), (1.0, 3.0), (1.5, 2.5), (5.0, 6.0)):
        device.note(Result(numbers={}, start=start, end=end))
    device.close()
    assert device.busy == 4.0


def test_a_stage_inside_another_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that waits for its device while views are copied: each second is charged once."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = Clock()
    with clock.stage("prepare"):
        now[0] += 1
        with clock.stage("device"):
            now[0] += 10
        now[0] += 2
    now[0] += 100  # outside, nobody's
    with clock.stage("write"):
        now[0] += 4
    assert clock.seconds == {"decode": 0.0, "prepare": 3.0, "device": 10.0, "write": 4.0}
