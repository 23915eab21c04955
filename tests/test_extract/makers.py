"""Outputs for worker tests; loaded in the worker by their names."""

import os
import signal
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extract.views.transforms import Frames
from extract.views.view import View


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
        return np.ones((64, 1 << 30), np.int64)
    if width == 64:
        raise KeyError("a bug\nin two lines")
    if width == 80:
        return np.zeros(3, np.int64)
    return numbers(frames, views)
