"""Work that is done side by side and is over when the caller goes on, whatever happens meanwhile.

A pool would leave work under way where a second ctrl-C comes while it waits, and takes none once
the interpreter has begun to end, when a writer may still have something to commit.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def side_by_side(work: Callable[[T], object], items: Iterable[T], at_once: int) -> None:
    """Do `work` with each of the items, `at_once` at a time, in this thread and in others.

    After an error or an interrupt nothing more is begun. It is raised once nothing is under way.
    """
    left, errors = deque(items), list[BaseException]()
    mine, at_work, changed = threading.get_ident(), set[int](), threading.Condition()

    def take() -> None:
        me = threading.get_ident()
        while True:
            with changed:
                at_work.discard(me)
                changed.notify_all()
                if errors or not left:
                    return
                at_work.add(me)
                item = left.popleft()
            try:
                work(item)
            except BaseException as error:
                errors.append(error)

    try:
        _start([threading.Thread(target=take) for _ in range(min(at_once, len(left)) - 1)])
        take()
    except BaseException as error:
        errors.append(error)
    while at_work - {mine}:  # an interrupted `join` would take its thread for ended
        try:
            with changed:
                changed.wait_for(lambda: not at_work - {mine})
        except BaseException as error:
            errors.append(error)
    if errors:
        try:
            raise next((one for one in errors if not isinstance(one, Exception)), errors[0])
        finally:
            errors.clear()  # else they and what they refer to would keep each other in memory


def _start(threads: list[threading.Thread]) -> None:
    """As many as can be had: the caller does what is left."""
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:
            return
