"""Heads that learn in processes are the heads that would have learnt here, whatever happens to a
process."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from extract import processes
from heads.errors import BadSetting, BadTable
from heads.head import Head, make_head
from heads.training import side_by_side
from heads.training.memory import Memory, seen
from heads.training.side_by_side import Crew, Fit, learnt, workers
from heads.zoo.fusion import Fusion
from tests.test_heads.tables import CLASSES, KEYS, only, table

if TYPE_CHECKING:
    import subprocess
    from multiprocessing.connection import Connection

VECTORS = (*KEYS[:3], KEYS[4])
Started = list["subprocess.Popen[bytes]"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Processes that are started from now on."""
    found: Started = []
    start = processes.start

    def noted(module: str, stdin: int) -> "tuple[subprocess.Popen[bytes], Connection]":
        process, connection = start(module, stdin)
        found.append(process)
        return process, connection

    monkeypatch.setattr(processes, "start", noted)
    return found


def fit(seed: int, head: str = "fusion", **settings: str) -> Fit:
    return Fit(
        head=make_head(head, {"epochs": "4", "batch": "16", **settings}, CLASSES),
        train=TRAIN, deciding=DECIDING, seed=seed,
    )  # fmt: skip


TRAIN, DECIDING = (only(table(64, seed=seed), VECTORS) for seed in (1, 2))


def several() -> Iterator[Fit]:
    every = np.arange(len(TRAIN))
    yield fit(0)
    yield replace(fit(1, dropout="0.2", mixup="0.4"), learns=every % 4 != 0, decides=every > 20)
    yield fit(2, "mlp")
    yield fit(3, batch="32")


def same(one: Head, other: Head) -> bool:
    return np.array_equal(one.predict(TRAIN), other.predict(TRAIN))


def test_processes_give_the_same_heads_in_the_same_order_and_leave_nothing_behind(
    started: Started,
) -> None:
    here = [one.done() for one in several()]
    with Crew(2) as crew:
        there = list(crew.learnt(several()))
    assert all(same(one, other) for (one, _), (other, _) in zip(here, there, strict=True))
    assert [report.history for _, report in here] == [report.history for _, report in there]
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_what_killed_processes_were_at_is_done_here(started: Started) -> None:
    fits = [fit(seed, epochs="8") for seed in range(5)]
    with Crew(2) as crew:
        found = crew.learnt(fits)
        heads = [next(found)[0]]
        for process in started:
            process.kill()
        heads += [head for head, _ in found]
    alone = [fit(seed, epochs="8").done()[0] for seed in range(5)]
    assert all(same(one, other) for one, other in zip(heads, alone, strict=True))


def test_a_fit_that_is_refused_there_is_refused_here_in_its_own_words() -> None:
    broken = replace(TRAIN, ranks=np.full(len(TRAIN), np.nan))
    with Crew(1) as crew, pytest.raises(BadTable, match="64 videos have no rank"):
        list(crew.learnt([replace(fit(0), train=broken)]))


def test_a_process_ends_when_the_one_that_started_it_is_gone(started: Started) -> None:
    memory = Memory()
    _, connection = processes.start("heads.training.fit_process", memory.file)
    connection.send(memory.shown(fit(0, epochs="1000000")))
    connection.close()
    assert started[0].wait(60) == 0
    memory.close()


def test_processes_are_started_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = [fit(seed) for seed in range(8)]
    monkeypatch.setenv(side_by_side.SWITCH, "4")
    assert workers(fits, seconds=60) == 4
    assert workers(fits[:3], seconds=60) == 3
    assert workers(fits, seconds=0.1) == 1  # done before a process has started
    assert workers([replace(one, device="cuda") for one in fits], seconds=60) == 1
    listened = [replace(one, on_epoch=lambda *_: False) for one in fits]
    assert workers(listened, seconds=60) == 1
    trees = [replace(one, head=make_head("gbdt", {}, CLASSES)) for one in fits]
    assert workers(trees, seconds=60) == 1  # on threads of its own

    class Own(Fusion):
        """Of a user's file: no other process finds it."""

    Own.__module__ = "own_head"
    own = [replace(one, head=Own(one.head.config, CLASSES)) for one in fits]
    assert workers(own, seconds=60) == 1
    monkeypatch.setattr(side_by_side, "free_bytes", lambda _: 3 * fits[0].bytes)
    assert workers(fits, seconds=60) == 3
    with monkeypatch.context() as disk:
        disk.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**10))
        assert workers(fits, seconds=60) == 1
    monkeypatch.setenv(side_by_side.SWITCH, "many")
    with pytest.raises(BadSetting, match="TELLTALE_PROCESSES='many': give a number"):
        workers(fits, seconds=60)


def test_arrays_are_shown_once_and_what_is_written_stays_ones_own() -> None:
    memory = Memory()
    first, second = (seen(memory.file, memory.shown(fit(seed))) for seed in (0, 1))
    once = sum(a.nbytes for side in (TRAIN, DECIDING) for a in side.arrays.values())
    assert memory.size < 1.5 * once + 64 * 2**10
    first.train.arrays[VECTORS[0]][:] = 7
    assert np.array_equal(second.train.arrays[VECTORS[0]], TRAIN.arrays[VECTORS[0]])
    memory.close()


def test_whether_it_pays_is_asked_after_every_fit_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(fits: list[Fit], seconds: float) -> int:
        del seconds
        asked.append(len(fits))
        return 1

    monkeypatch.setattr(side_by_side, "workers", noted)
    assert len(list(learnt(several()))) == 4
    assert asked == [3, 2, 1, 0]


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(0).done()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
