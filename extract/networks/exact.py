"""float32 that is float32 on CUDA too, where torch rounds to TF32 (10 bits) unless told not to.

torch's switches are the process's: two threads that compute at once share them. They are off as
long as anybody is inside, and are put back as they were by the last one out.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SWITCHES = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn,
)
_lock = threading.Lock()
_inside = 0
_before: list[str] = []


@contextmanager
def exact_float32(*, wanted: bool = True) -> Iterator[None]:
    """No TF32 in convolutions and matrix products; where not `wanted`, all stays as it is."""
    if not wanted:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside
    with _lock:
        if not _inside:
            _before[:] = [switch.fp32_precision for switch in _SWITCHES]
            _set(["ieee"] * len(_SWITCHES))
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            _set(_before)


def _set(values: list[str]) -> None:
    for switch, value in zip(_SWITCHES, values, strict=True):
        switch.fp32_precision = value
