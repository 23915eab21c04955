"""Outputs for worker tests; loaded in the worker by their names."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.views.transforms import Frames
from extract.views.view import View

MEMORY = 2**30
"""Limit of a worker that misbehaves."""
HUNGER = MEMORY * 3 // 2
"""Bytes: more than the limit, and less than any machine's address space."""


def numbers(_frames: Frames, views: Sequence[View]) -> NDArray[np.int64]:
    return np.array([view.frames for view in views], np.int64)


def misbehave(frames: Frames, views: Sequence[View]) -> NDArray[np.int64]:
    """What a video does is written in its width."""
    width = next(iter(frames.values())).shape[1]
    if width == 16:
        time.sleep(3600)
    if width == 32:
        os.kill(os.getpid(), signal.SIGKILL)
    if width == 48:
        return np.empty(HUNGER // 8, np.int64)  # which a worker without a limit gets, and lies
    if width == 64:
        raise KeyError("a bug\nin two lines")
    if width == 80:
        return np.zeros(3, np.int64)
    return numbers(frames, views)


def misbehave_once(frames: Frames, views: Sequence[View]) -> NDArray[np.int64]:
    """The same, the first time that a video does; after that all is well."""
    once = Path(os.environ["MISBEHAVED"])
    if next(iter(frames.values())).shape[1] == 96 or once.exists():
        return numbers(frames, views)
    once.touch()
    return misbehave(frames, views)
