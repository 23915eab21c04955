"""One study on a PostgreSQL server: four processes, one of them killed, the server restarted."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from heads.data.sides import Data
from heads.errors import BadSetting
from heads.parts.space import Range
from heads.tuning import study as studies
from heads.tuning import trials
from heads.tuning.search import Score, Search
from heads.tuning.trials import run_trials
from tests.test_heads.postgres_server import LACKING, PostgresServer, programs_folder
from tests.test_heads.tables import CLASSES, table

LIMIT = 16
PLAN = {"spaces": "c"}


@pytest.fixture
def opened(server: PostgresServer, tmp_path: Path) -> Iterator[Callable[[], optuna.Study]]:
    """Opens the study; its connections are closed at the end."""
    backends = list[RDBStorage]()

    def opens() -> optuna.Study:
        study = studies.open_study(server.url, tmp_path / "own", ["maximize"], PLAN)
        backends.append(vars(study._storage)["_backend"])
        return study

    yield opens
    for backend in backends:
        backend.remove_session()
        backend.engine.dispose()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="no psycopg: studies on a server are not tested")
    if programs_folder() is None:
        pytest.skip(LACKING)
    with PostgresServer.running() as running:
        yield running


def search() -> Search:
    return Search(
        spaces={"linear": {"c": Range(low=1e-4, high=1.0, log=True)}}, fixed={}, metrics=["auc"],
        folds=[Data(train=table(30, seed=1), validation=table(20, seed=2))], classes=CLASSES,
    )  # fmt: skip


def work(url: str, folder: Path, number: int) -> None:
    """What one process does; every trial that it has told is written down, so that it is known
    from somewhere else than the database."""
    told = folder / f"told-{number}.jsonl"
    tell = trials.Work._tell

    def written(mine: trials.Work, trial: optuna.Trial, scores: Sequence[Score] | None) -> None:
        time.sleep(0.2)
        tell(mine, trial, scores)
        assert scores is not None
        if trial.number not in {one.number for one in studies.finished(mine.study)}:
            return  # so slow that others took it for lost: theirs counts
        with told.open("a") as file:
            file.write(json.dumps([trial.number, trial.params["c"], scores[0]["auc"]]) + "\n")

    setattr(trials.Work, "_tell", written)  # noqa: B010, mypy takes it for a bound method
    study = studies.open_study(url, folder / str(number), ["maximize"], PLAN, seed=1)
    for _ in run_trials(study, search(), LIMIT):
        pass


def test_four_processes_share_a_study_one_is_killed_and_the_server_restarts(
    server: PostgresServer, opened: Callable[[], optuna.Study], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TELLTALE_HEARTBEAT", "1")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    processes = [
        context.Process(target=work, args=(server.url, tmp_path, number)) for number in range(4)
    ]
    for process in processes:
        process.start()
    killed, *others = processes
    wait_until(lambda: bool(written_by(tmp_path, 0)))
    study = opened()
    wait_until(lambda: len(studies.finished(study)) >= 3)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: len(studies.finished(study)) >= 6)
    server.stop("immediate")
    time.sleep(0.5)
    server.start()
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0] * 3

    done = studies.finished(study)
    assert len(done) >= LIMIT
    assert not study.get_trials(states=(TrialState.RUNNING,)), "somebody's trial is left"
    settings = [trial.params["c"] for trial in done]
    assert len(set(settings)) == len(settings), "a trial was done twice"
    given_up = study.get_trials(states=(TrialState.FAIL,))
    assert {trial.params["c"] for trial in given_up if trial.params} <= set(settings)
    told = [line for number in range(4) for line in written_by(tmp_path, number)]
    known = {trial.number: (trial.number, trial.params["c"], trial.values[0]) for trial in done}
    assert len(told) >= len(done) - 1  # the killed one may have told what it did not write down
    assert all(known[line[0]] == line for line in told), "a trial that was told was lost"


def test_a_server_that_does_not_come_back_is_given_up(
    server: PostgresServer, opened: Callable[[], optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import DBAPIError

    from heads.tuning import patience

    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    monkeypatch.setattr(studies, "_ATTEMPTS", 1)
    study = opened()
    server.stop("fast")
    try:
        with pytest.raises((optuna.exceptions.StorageInternalError, DBAPIError)):
            studies.Queue(study, 99).ask()
        with pytest.raises(BadSetting, match="cannot be opened"):
            opened()
    finally:
        server.start()
    assert studies.Queue(study, 99).ask() is not None


def wait_until(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def written_by(folder: Path, number: int) -> list[tuple[int, float, float]]:
    path = folder / f"told-{number}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]
