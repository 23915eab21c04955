"""One device's process in a run over several: takes pieces of work from a socket, and reports.

    python -m extract.running.device_process SOCKET

The first message is the `Run`. It ends when it is told that nothing more will come, or when the
process that started it is gone; killed, it leaves what any run leaves.
"""

import contextlib
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from extract.decoding.pool import DecodePool
from extract.running.messages import NEXT, STOP, Ended, Ready
from extract.running.pipeline import Pipeline, decode_plan, open_arrays
from extract.running.progress import Progress
from extract.running.run import Run
from extract.running.workload import Piece
from features_store.errors import TelltaleError
from features_store.store import Store


class _Parent:
    """The process that deals the work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: deque[Piece | None] = deque()
        self._stopping = False

    def send(self, message: object) -> None:
        """That it is gone is noticed when it is listened to."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def pieces(self) -> Iterator[Piece]:
        """Until there are no more, or no parent."""
        while True:
            while not self._inbox and not self._stopping:
                self._receive()
            piece = self._inbox.popleft() if self._inbox else None
            if piece is None or self._stopping:
                return
            self.send(NEXT)
            yield piece

    def stop(self) -> bool:
        """Whether an end was asked for; costs a system call."""
        while not self._stopping and self._connection.poll():
            self._receive()
        return self._stopping

    def _receive(self) -> None:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            message = STOP
        if message == STOP:
            self._stopping = True
        else:
            self._inbox.append(message)


def main(arguments: Sequence[str]) -> int:
    import torch

    connection = Connection(int(arguments[0]))
    run: Run = connection.recv()
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    parent = _Parent(connection)
    try:
        _work(run, parent)
    except TelltaleError as error:
        parent.send(Ended(error=str(error)))
        return 1
    parent.send(Ended())
    return 0


def _work(run: Run, parent: _Parent) -> None:
    branches = run.load_branches()
    assert run.workers is not None
    ready = Ready.of(branches, run.settings, run.workers)
    parent.send(ready)
    pieces = parent.pieces()
    first = next(pieces, None)
    if first is None:
        return
    # The parent has made the store by now.
    targets = open_arrays(Store.open(run.store), ready.offers, run.settings)
    plan = decode_plan(branches, run.settings, str(run.manifest.root))

    def all_pieces() -> Iterator[Piece]:
        yield first
        yield from pieces

    with (
        Progress(bar=False, tell=parent.send) as progress,
        DecodePool(plan, workers=run.workers) as pool,
    ):
        pipeline = Pipeline(targets, branches, run.settings)
        pipeline.run(all_pieces(), pool.run, progress, parent.stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
