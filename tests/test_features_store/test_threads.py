"""Work side by side is over when the caller goes on."""

import signal
import threading
import time
from concurrent.futures import thread as pools
from pathlib import Path

import numpy as np
import pytest

from features_store.threads import side_by_side
from tests.test_features_store import samples


def test_everything_is_done_by_several_at_once() -> None:
    done: list[int] = []
    together = threading.Barrier(3)

    def work(item: int) -> None:
        together.wait(10)
        done.append(item)

    side_by_side(work, range(9), 3)
    assert sorted(done) == list(range(9))


def test_two_interrupts_leave_nothing_under_way() -> None:
    """The second comes while the first waits for the other thread; a lock is let go afterwards."""
    begun, finished = threading.Event(), []

    def work(item: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.2)
        finished.append(item)

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(5), 2)
    assert len(finished) == 1, "it was left under way, or more was begun"


def test_after_an_error_nothing_more_is_begun_and_it_is_told() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        raise OSError(item)

    with pytest.raises(OSError, match="0"):
        side_by_side(work, range(9), 1)
    assert begun == [0]


def test_without_other_threads_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done: list[int] = []
    side_by_side(done.append, range(5), 4)
    assert done == list(range(5))


def test_a_shard_can_be_committed_while_the_interpreter_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then pools take no work, and a writer thread may still have some."""
    store = samples.new_store(tmp_path / "s", 4)
    branch = store.branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
    monkeypatch.setattr(pools, "_shutdown", True)
    samples.write(branch, 0)
    assert np.all(branch.status()[:4] > 0)
