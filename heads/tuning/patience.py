"""A study on a database server that may be away for a while: a restart, a lost connection.

Whatever was asked of it is asked again until it answers. What was done although its answer was lost
is not done twice: attributes, parameters and values are written over themselves, and a trial that
is ended already stays as it is. A trial that was made without our learning its number has no one
who works on it, and is buried like one whose process was killed.
"""

import functools
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

log = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds without any answer after which we give up."""
_WAIT = 0.1, 0.5
_INSIDE = (
    "record_heartbeat", "_create_new_trial", "_get_best_trial_id", "_get_stale_trial_ids",
    "_get_trials", "_set_trial_param",
)  # fmt: skip
"""What Optuna's cache asks beside the public methods, in one version or another."""
_AWAY = (OperationalError, InterfaceError, PendingRollbackError)


class PatientStorage(RDBStorage):
    """Optuna's tables on a server."""

    impatient = False
    """Where it is away, say so at once."""


def _patiently(name: str) -> Callable[..., Any]:
    ask = getattr(RDBStorage, name)

    @functools.wraps(ask)
    def asked(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        since = None
        while True:
            try:
                return ask(self, *args, **kwargs)
            except UpdateFinishedTrialError:
                if since is None or name != "set_trial_state_values":
                    raise
                return True  # it was done the first time
            except (StorageInternalError, *_AWAY) as error:
                if not isinstance(error.__cause__ or error, _AWAY):
                    raise
                if since is None:
                    since = time.monotonic()
                    log.warning("The study's database does not answer; asking again.")
                if self.impatient or time.monotonic() - since > PATIENCE:
                    raise
                time.sleep(random.uniform(*_WAIT))

    return asked


for _name in (*BaseStorage.__abstractmethods__, *_INSIDE):
    if hasattr(RDBStorage, _name):
        setattr(PatientStorage, _name, _patiently(_name))


@contextmanager
def impatiently(study: optuna.Study) -> Iterator[None]:
    """Nobody waits for this study's database meanwhile, those included who wait already."""
    backend = getattr(study._storage, "_backend", None)
    if not isinstance(backend, PatientStorage):
        yield
        return
    backend.impatient = True
    try:
        yield
    finally:
        backend.impatient = False
