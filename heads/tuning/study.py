"""An Optuna study that several processes share, and that a killed one does not stop.

Trials are asked one by one and told as they finish. While a trial runs, a thread says so; a trial
whose process was killed falls silent, is marked failed and put back into the queue by whoever
looks next. The limit counts finished trials, so the study ends with as many as were asked for.
"""

import importlib.util
import json
import logging
import os
import random
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from features_store.installing import how_to_install
from heads.errors import BadSetting
from heads.tuning.patience import PatientStorage, impatiently

log = logging.getLogger(__name__)

HEARTBEAT = int(os.environ.get("TELLTALE_HEARTBEAT", "5"))
"""Seconds; three silent ones and a trial counts as lost."""
STUDY = "telltale"
STUDY_FILES = ("study.db", "study.db-wal", "study.db-shm")
"""What the default storage leaves in a run's folder."""
_PLAN = "plan"
_SQLITE = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
"""Wait for other processes; leave no connection open between trials."""
_SERVER = {"pool_pre_ping": True}
"""Connections that a restart has cut are made anew."""
_ATTEMPTS = 10
_DONE = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededSampler(optuna.samplers.TPESampler):
    """Draws anew for every trial by (seed, trial number): processes that share a study never draw
    the same, and a search that is gone on with draws what it would have drawn."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._draw_by(trial.number)
        super().before_trial(study, trial)

    def _draw_by(self, number: int) -> None:
        drawn = np.random.SeedSequence((self._seed, number)).generate_state(4)
        for source in (self._rng, self._random_sampler._rng):
            source.rng.seed(drawn)


def open_study(
    storage: str | None,
    folder: Path,
    directions: Sequence[str],
    plan: Mapping[str, object] | None = None,
    seed: int = 0,
) -> optuna.Study:
    """Make or reopen the study of a run. Default storage: a SQLite file in its folder.

    `plan` is what is searched: a study of another plan is not gone on with. What a trial tries
    follows from `seed`, its number and the trials before it, so one process alone repeats itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = storage or f"sqlite:///{folder / 'study.db'}"
    if "://" not in url:
        raise BadSetting(
            f"Storage {url!r}: give a database URL such as sqlite:///study.db or postgresql://…. "
            f"Optuna's journal file loses records after a torn line and is not used here."
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = _backend(url)
    study = optuna.create_study(
        storage=backend,
        study_name=STUDY,
        load_if_exists=True,
        directions=[optuna.study.StudyDirection[name.upper()] for name in directions],
        sampler=SeededSampler(seed),
        pruner=optuna.pruners.NopPruner(),  # `pruning` decides
    )
    if plan is not None:
        _check_plan(study, url, plan)
    return study


def _check_plan(study: optuna.Study, url: str, plan: Mapping[str, object]) -> None:
    there = study.user_attrs.get(_PLAN)
    wanted = json.loads(json.dumps(plan, sort_keys=True))
    if there is None:
        study.set_user_attr(_PLAN, wanted)
    elif there != wanted:
        differs = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
        raise BadSetting(
            f"{url} holds a search with another {', '.join(differs)}. Trials of two searches never "
            f"mix; use another --out or --storage, or the command it was begun with."
        )


def _backend(url: str) -> RDBStorage:
    """Optuna's tables; processes that begin together trip over each other's and try again."""
    reason: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            with _quiet():
                return _connected(url)
        except (DBAPIError, StorageInternalError) as error:
            reason = error
            time.sleep(random.uniform(0.1, 1.0))
    raise BadSetting(f"{url} cannot be opened: {reason}") from reason


def _connected(url: str) -> RDBStorage:
    is_file, url = url.startswith("sqlite"), _with_driver(url)
    backend = (RDBStorage if is_file else PatientStorage)(
        url,
        heartbeat_interval=HEARTBEAT,
        grace_period=3 * HEARTBEAT,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        engine_kwargs=_SQLITE if is_file else _SERVER,
    )
    if is_file:
        # A write-ahead log survives kills, and asks the disk for a flush far less often.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            with backend.engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA {pragma}")

        @event.listens_for(backend.engine, "connect")
        def _each(connection: Any, _: object) -> None:  # noqa: ANN401
            connection.execute("PRAGMA synchronous=NORMAL")

    return backend


def _with_driver(url: str) -> str:
    """Which package talks to a PostgreSQL server, where the URL does not say."""
    if not url.startswith(("postgresql://", "postgres://")):
        return url
    if importlib.util.find_spec("psycopg") is None:
        raise BadSetting(f"A study on PostgreSQL needs psycopg: {how_to_install('postgres')}.")
    return f"postgresql+psycopg://{url.partition('://')[2]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Heartbeats are experimental in Optuna, and meant for its own loop; we know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Heartbeat of storage")
        yield


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with a result, pruned ones included."""
    return study.get_trials(deepcopy=False, states=_DONE)


class Queue:
    """What is still to be tried, for one process of those that share a study."""

    def __init__(self, study: optuna.Study, limit: int) -> None:
        self.study = study
        self.limit = limit
        self._seen: set[int] = set()

    def ask(self) -> optuna.Trial | None:
        """The next trial, or None when enough are finished or under way. Of several processes that
        ask at once for the last one, all but the first give theirs up."""
        self._bury()
        if len(self._taken()) >= self.limit:
            return None
        with _quiet():
            trial = self.study.ask()
        if sum(number < trial.number for number in self._taken()) < self.limit:
            return trial
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _taken(self) -> list[int]:
        """Numbers of trials that are finished or under way."""
        states = (*_DONE, TrialState.RUNNING)
        return [trial.number for trial in self.study.get_trials(deepcopy=False, states=states)]

    def _bury(self) -> None:
        """Fail what fell silent. A process killed before its trial's first sign of life left none
        to fall behind, so each trial gets one sign from everyone who sees it, and no second."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id not in self._seen:
                self._seen.add(trial._trial_id)
                _sign(self.study, trial._trial_id)
        with _quiet():
            optuna.storages.fail_stale_trials(self.study)


def _sign(study: optuna.Study, trial_id: int) -> None:
    storage: Any = study._storage
    getattr(storage, "_backend", storage).record_heartbeat(trial_id)


@contextmanager
def alive(study: optuna.Study, trials: Sequence[optuna.Trial]) -> Iterator[None]:
    """Say every few seconds that these trials are being worked on, those that are added too. A
    database that does not answer is told again a little later."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                for trial in tuple(trials):
                    _sign(study, trial._trial_id)
            except (DBAPIError, StorageInternalError) as error:
                log.warning("The study could not be told of trials at work: %s", error)
            if ended.wait(HEARTBEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        with impatiently(study):
            thread.join()
