"""A process that learns heads for another one: `python -m heads.training.fit_process SOCKET`.

Its standard input is the file in which arrays lie. It ends when whoever started it is gone, which
is looked for after every epoch, and says nothing of fits that fail: they are done again there.
"""

import contextlib
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection


def main(arguments: Sequence[str]) -> int:
    import torch

    from heads.training.memory import seen

    torch.set_num_threads(1)
    connection = Connection(int(arguments[0]))

    def alone(epoch: int, value: float) -> bool:
        del epoch, value
        if connection.poll():  # nothing is sent to somebody at work
            raise EOFError
        return False

    with contextlib.suppress(EOFError, OSError):
        while True:
            fit = replace(seen(sys.stdin.fileno(), connection.recv()), on_epoch=alone)
            try:
                told = pickle.dumps(fit.done())  # `send` would pass tensors by handles
            except EOFError:
                raise
            except Exception:  # whatever it is, it is seen where the fit is done again
                told = pickle.dumps(None)
            connection.send_bytes(told)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
