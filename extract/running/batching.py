"""How many views go to the device at once, and what happens when they were too many."""

import logging
import threading

import torch
from torch import Tensor

from extract.branch import Branch
from extract.running.quickening import Quickening
from extract.running.turns import turns_on

CPU_BATCH = 8
LARGEST_BATCH = 512
_SHARE_OF_FREE_MEMORY = 0.8

log = logging.getLogger(__name__)


class Batcher:
    """Runs a branch in batches that fit; an out-of-memory costs time, never work.

    Several threads may call `run` at once, as those that feed a GPU do.
    """

    def __init__(self, branch: Branch, size: int | None = None, *, in_flight: int = 1) -> None:
        self.branch = branch
        self.size = size or automatic_size(branch, in_flight)
        self._quickening = Quickening(branch)
        self._halving = threading.Lock()
        self._turns = turns_on(branch.device)

    def run(self, views: Tensor) -> dict[str, Tensor]:
        """All outputs of all views, in host memory, a row per view.

        The batch size is halved for good when memory runs out. Where a single view is too much, it
        is computed again while nobody else is at work on the device.
        """
        parts: list[dict[str, Tensor]] = []
        start = 0
        while start < len(views):
            size = self.size  # another thread may halve it: one step uses one number
            some = views[start : start + size]
            found = self._tried(some, size)
            if found is None and size > 1:
                self._halve(size)
                continue
            parts.append(self._alone(some) if found is None else found)
            start += size
        if len(parts) == 1:
            return parts[0]
        return {name: torch.cat([part[name] for part in parts]) for name in self.branch.outputs}

    def _tried(self, views: Tensor, size: int) -> dict[str, Tensor] | None:
        """None where memory runs out. What was made until then goes with the error, which has to be
        over before anything is tried again."""
        try:
            with self._turns.together():
                return self._step(views, size)
        except torch.OutOfMemoryError:
            return None

    def _alone(self, view: Tensor) -> dict[str, Tensor]:
        with self._turns.alone():
            torch.cuda.empty_cache()
            return self._step(view, 1)

    def _step(self, views: Tensor, size: int) -> dict[str, Tensor]:
        """Everything that takes the device's memory."""
        on_device = views.to(self.branch.device, non_blocking=True)
        return self.branch.fetched(self._quickening.forward(on_device, size))

    def _halve(self, size: int) -> None:
        """Once, when several threads ran out of memory with the same size."""
        with self._halving:
            if self.size == size:
                self.size = size // 2
                log.warning("%s: out of memory, batches of %d now", self.branch.name, self.size)
        torch.cuda.empty_cache()


def automatic_size(branch: Branch, in_flight: int = 1) -> int:
    """The largest batch that leaves a fifth of the device's free memory alone.

    `in_flight` batches are in memory at a time.
    """
    if branch.device.type != "cuda":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info(branch.device)
    _peak(branch, 1)  # libraries take their workspaces at first use: not a view's
    try:
        one, two = (_peak(branch, count) for count in (1, 2))
    except torch.OutOfMemoryError:  # two are too many
        torch.cuda.empty_cache()
        return 1
    per_view = max(two - one, 1)
    fitting = int((free * _SHARE_OF_FREE_MEMORY / in_flight - (one - per_view)) // per_view)
    fitting = max(1, min(fitting, LARGEST_BATCH))
    return fitting if fitting < 8 else fitting // 8 * 8


def _peak(branch: Branch, count: int) -> int:
    views = branch.example(count)
    before = torch.cuda.memory_allocated(branch.device)
    torch.cuda.reset_peak_memory_stats(branch.device)
    branch.forward(views)
    return torch.cuda.max_memory_allocated(branch.device) - before
