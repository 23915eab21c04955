"""A branch that gets faster in a long run: on a GPU its blocks are compiled once the run has shown
that it lasts.

Compiling takes 1.4 to 6.4 s a network on an H200 (its first batch included, `benchmarks.gpu`), so a
short run goes without. Numbers agree to half precision's rounding, as they do between batches.
`TELLTALE_COMPILE` set to `always` or `never` decides for the process.
"""

import logging
import math
import os
import threading
import time
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from extract.branch import Branch
from extract.errors import BadSetting
from extract.networks.compiled import compile_blocks, leave_blocks

PATIENCE = 30.0
"""Seconds of a run after which compiling pays."""
When = Literal["auto", "always", "never"]

log = logging.getLogger(__name__)


class Quickening:
    """`forward` of one branch, compiled from some time on. Several threads may call it."""

    def __init__(self, branch: Branch, when: When | None = None) -> None:
        self._branch = branch
        self._started: float | None = None
        self._lock = threading.Lock()
        self._patience = _patience(branch, when or asked())
        self.compiled = False

    def forward(self, views: Tensor, size: int) -> dict[str, Tensor]:
        """`size` is the number of views that all full batches have."""
        try:
            if self._is_compiled():
                results = self._branch.forward(_filled(views, size))
                return {name: numbers[: len(views)] for name, numbers in results.items()}
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ImportError) as error:  # the compiler's own are RuntimeErrors
            self._give_up(error)
        return self._branch.forward(views)

    def _is_compiled(self) -> bool:
        """It is made so, too, when the time has come."""
        with self._lock:
            now = time.monotonic()
            self._started = now if self._started is None else self._started
            if now - self._started >= self._patience:
                self.compiled = compile_blocks(_network(self._branch)) > 0
                self._patience = math.inf
            return self.compiled

    def _give_up(self, error: Exception) -> None:
        """What is wrong with the network itself, it will say again without."""
        reason = str(error).strip().partition("\n")[0]
        with self._lock:
            if self.compiled or not math.isinf(self._patience):
                log.warning("%s: goes on without compiled blocks: %s", self._branch.name, reason)
            leave_blocks(_network(self._branch))
            self.compiled, self._patience = False, math.inf


def _patience(branch: Branch, when: When) -> float:
    """On a CPU views are computed one by one, each to the same bits: never."""
    if branch.device.type != "cuda" or branch.precision == "float32":
        return math.inf
    return {"always": 0.0, "auto": PATIENCE, "never": math.inf}[when]


def _filled(views: Tensor, size: int) -> Tensor:
    """Another shape would be compiled anew: the last view is repeated."""
    lacking = max(0, size - len(views))
    return torch.cat([views, views[-1:].expand(lacking, *views.shape[1:])]) if lacking else views


def _network(branch: Branch) -> nn.Module:
    network = getattr(branch, "model", None)
    return network if isinstance(network, nn.Module) else nn.Module()


def asked() -> When:
    """What the environment says."""
    text = os.environ.get("TELLTALE_COMPILE", "auto")
    if text not in get_args(When):
        raise BadSetting(f"TELLTALE_COMPILE={text!r} unknown; have: {', '.join(get_args(When))}.")
    return text  # type: ignore[return-value]
