"""A process that works on a study beside another: `python -m heads.tuning.trial_process SOCKET`.

Its standard input is the file in which arrays lie. When whoever started it is gone or wants no
more, it gives its trial up and ends. What is wrong with a search is said by the one that started
it, which meets it too.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection


def main(arguments: Sequence[str]) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the libraries are loaded
    from features_store.errors import TelltaleError
    from heads.training.memory import seen

    connection = Connection(int(arguments[0]))
    # Whoever was started in the background ignores interrupts, and so would its processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        part = seen(sys.stdin.fileno(), connection.recv())
        threading.Thread(target=_ended_with, args=(connection,), daemon=True).start()
        part.work()
    except (EOFError, OSError, KeyboardInterrupt, TelltaleError):
        return 1
    return 0


def _ended_with(connection: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        connection.recv()  # nothing comes but the end
    _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
