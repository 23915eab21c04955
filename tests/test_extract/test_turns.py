"""Who computes on a device at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from extract.running.turns import Turns


def test_whoever_wishes_to_be_alone_comes_before_those_who_ask_later() -> None:
    """Else networks that take turns would never leave a moment between them."""
    turns, order = Turns(), list[str]()
    begun, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with turns.together():
            begun.set()
            assert may_end.wait(10)

    def alone() -> None:
        with turns.alone():
            order.append("alone")

    def later() -> None:
        with turns.together():
            order.append("later")

    with ThreadPoolExecutor(3) as threads:
        threads.submit(first)
        assert begun.wait(10)
        for work in (alone, later):
            threads.submit(work)
            time.sleep(0.1)
        assert order == []
        may_end.set()
    assert order == ["alone", "later"]


def test_others_go_on_where_being_alone_has_failed() -> None:
    turns = Turns()
    with pytest.raises(MemoryError), turns.alone():
        raise MemoryError
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: turns.together().__enter__()).result(10) is None
