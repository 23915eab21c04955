"""Small networks learn on one thread: their steps are dozens of tiny products, and each of several
threads would wait for the others at every one. Seeds and trials are shared out over processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's own threads, given back afterwards; nothing happens on another device."""
    before = torch.get_num_threads()
    if torch.device(device).type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
