"""Heads that learn in processes are the heads that would have learnt here, whatever happens to a
process."""

import errno
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pytest
import torch

from extract import processes
from heads.data.sides import Data
from heads.errors import BadSetting, BadTable
from heads.fitting.out_of_fold import out_of_fold
from heads.head import FitReport, Head, make_head
from heads.judging.ablation import Plan, ablate
from heads.judging.cross import cross
from heads.judging.unseen import Trial, folds
from heads.training import side_by_side
from heads.training.memory import Memory, seen
from heads.training.side_by_side import Crew, Fit, learnt, workers
from heads.zoo.fusion import Fusion
from tests.test_heads.tables import CLASSES, KEYS, only, table

if TYPE_CHECKING:
    import subprocess
    from multiprocessing.connection import Connection

SHORT = {"epochs": "1", "batch": "16"}
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


def test_what_the_first_fit_takes_to_load_libraries_starts_no_process(
    monkeypatch: pytest.MonkeyPatch, started: Started
) -> None:
    """2 seconds of them, of fits of a tenth."""
    clock, spent = [0.0], iter([2.1, *[0.1] * 29])
    done = Fit.done

    def slow(fit: Fit) -> tuple[Head, FitReport]:
        clock[0] += next(spent)
        return done(fit)

    monkeypatch.setenv(side_by_side.SWITCH, "4")
    monkeypatch.setattr(Fit, "done", slow)
    monkeypatch.setattr(side_by_side, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert len(list(learnt(replace(fit(each), head=fit(0, **SHORT).head) for each in range(30))))
    assert not started


@pytest.mark.parametrize("broken", ["no process", "full disk", "no pickle"])
def test_what_can_be_sent_nowhere_is_done_here(
    broken: str, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> BinaryIO:
        return Path("/dev/full").open("r+b", buffering=4096)

    def none(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    fits = [fit(0), fit(1)]
    if broken == "full disk":
        monkeypatch.setattr(tempfile, "TemporaryFile", full)
    elif broken == "no process":
        monkeypatch.setattr(processes, "start", none)
    else:
        monkeypatch.setattr(fits[0].head, "lock", threading.Lock(), raising=False)
    with Crew(1) as crew:
        assert [report.metric for _, report in crew.learnt(fits)] == ["validation auc"] * 2
    assert all(process.poll() is not None for process in started)


@pytest.mark.parametrize("judging", ["folds", "cross", "unseen", "ablation"])
def test_heads_that_were_judged_are_let_go_of(
    judging: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some hold all that they learnt from, on a GPU some all of their tensors."""
    alive, most = weakref.WeakSet[Head](), []
    done = Fit.done

    def noted(fit: Fit) -> tuple[Head, FitReport]:
        head, report = done(fit)
        alive.add(head)
        most.append(len(alive))
        return head, report

    def make(_: str = "") -> Head:
        return make_head("fusion", SHORT, CLASSES)

    monkeypatch.setattr(Fit, "done", noted)
    monkeypatch.setenv(side_by_side.SWITCH, "1")
    every = np.arange(len(TRAIN))
    four = np.array([f"{each // 4 % 4}" for each in every], np.dtypes.StringDType())
    table = replace(TRAIN, sources=four)
    whole = Data(train=table, validation=table)
    if judging == "folds":
        out_of_fold(make, whole, every % 5 == 0)
    elif judging == "cross":
        cross(whole, make)
    elif judging == "unseen":
        trial = Trial(make=make, strategies=["plain"], seeds=2, folds=folds(whole), must=True)
        list(trial.run(tmp_path))
    else:
        plan = Plan(head="fusion", settings=SHORT, rows={"all": {}, "video": {"depth": "false"}},
                    seeds=2)  # fmt: skip
        list(ablate(plan, whole, DECIDING, tmp_path))
    assert len(most) > 2
    assert max(most) <= 2


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(0).done()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
