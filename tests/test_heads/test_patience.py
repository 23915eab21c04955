"""A study whose database is away, or whose trials others took for lost."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from heads.data.sides import Data
from heads.parts.space import Range
from heads.tuning import patience
from heads.tuning import study as studies
from heads.tuning.patience import PatientStorage
from heads.tuning.search import Score, Search
from heads.tuning.trials import Work, run_trials
from tests.test_heads.tables import CLASSES, table


def search() -> Search:
    return Search(
        spaces={"linear": {"c": Range(low=1e-4, high=1.0, log=True)}}, fixed={}, metrics=["auc"],
        folds=[Data(train=table(30, seed=1), validation=table(20, seed=2))], classes=CLASSES,
    )  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return studies.open_study(None, tmp_path, ["maximize"])


def asked(study: optuna.Study) -> optuna.Trial:
    trial = studies.Queue(study, 9).ask()
    assert trial is not None
    return trial


def test_trials_are_said_to_live_again_once_the_database_is_back(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, sign, signs = asked(study), studies._sign, 0
    again = threading.Event()

    def signed(study: optuna.Study, trial_id: int) -> None:
        nonlocal signs
        signs += 1
        if signs == 2:
            raise optuna.exceptions.StorageInternalError
        sign(study, trial_id)
        if signs == 3:
            again.set()

    monkeypatch.setattr(studies, "HEARTBEAT", 0.02)
    monkeypatch.setattr(studies, "_sign", signed)
    with studies.alive(study, [trial]):
        assert again.wait(5)


@pytest.mark.parametrize("scores", [None, [{"auc": 0.5}]])
def test_a_trial_that_others_gave_up_stays_theirs_and_the_search_goes_on(
    study: optuna.Study, scores: Sequence[Score] | None
) -> None:
    work, trial = Work(study=study, search=search()), asked(study)
    work.trials.append(trial)
    work.medians.stops(trial.number, 0, 0.5)
    study.tell(trial.number, state=TrialState.FAIL)
    work._tell(trial, scores)
    assert not work.trials
    assert study.trials[trial.number].state == TrialState.FAIL


def test_an_interrupt_waits_for_no_database_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "RDBStorage", PatientStorage)
    study = studies.open_study(None, tmp_path, ["maximize"])
    backend = study._storage._backend  # type: ignore[attr-defined]
    waits, waiting, sleep = [0], threading.Event(), time.sleep

    def slept(_: float) -> None:
        """Of whoever waits for the database."""
        assert threading.current_thread() is not threading.main_thread()
        waits[0] += 1
        waiting.set()
        sleep(0.02)

    def away(*_: object) -> None:
        raise OperationalError("", {}, Exception("it is away"))

    def interrupted(*_: object) -> None:
        backend.scoped_session = away
        assert waiting.wait(5)
        monkeypatch.setattr(patience, "PATIENCE", 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", slept)
    monkeypatch.setattr(studies, "HEARTBEAT", 0.02)
    monkeypatch.setattr(Work, "_tell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(run_trials(study, search(), 3))
    assert waits[0] < 50, "the one that says that trials live was waited for"
