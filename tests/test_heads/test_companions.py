"""Processes that work on a study beside the one that began it."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import optuna
import pytest
from optuna.trial import TrialState

from extract import processes
from heads.errors import BadSetting
from heads.parts.space import Range
from heads.tuning.companions import Part, companions
from heads.tuning.search import Search
from heads.tuning.study import Queue, finished, open_study
from tests.test_features_store.test_cli import here
from tests.test_heads.stores import write_store
from tests.test_heads.test_tune import search


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return open_study(None, tmp_path, ["maximize"])


def part(folder: Path, limit: int, sought: Search) -> Part:
    return Part(storage=None, folder=folder, directions=["maximize"], search=sought, limit=limit)


def soon(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_companion_does_trials_by_itself_and_stops_when_there_are_enough(
    tmp_path: Path, study: optuna.Study
) -> None:
    with companions(part(tmp_path, 3, search()), 1):
        soon(lambda: len(finished(study)) == 3)
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 3


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """Shells have what they start so ignore interrupts, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_a_companion_that_is_no_longer_wanted_gives_its_trial_up(
    tmp_path: Path, study: optuna.Study
) -> None:
    spaces = {"fusion": {"lr": Range(low=1e-5, high=1e-2, log=True)}}
    endless = search(spaces=spaces, fixed={"epochs": "1000000"})
    with companions(part(tmp_path, 3, endless), 1):
        soon(lambda: any(trial.params for trial in study.get_trials()))
        time.sleep(1)  # it was writing to the database, and is at work now
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]


def test_of_two_that_ask_at_once_for_the_last_trial_one_has_it(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, others = study.ask, list[optuna.Trial | None]()

    def meanwhile() -> optuna.Trial:
        monkeypatch.setattr(study, "ask", ask)
        others.append(Queue(study, 1).ask())
        return ask()

    monkeypatch.setattr(study, "ask", meanwhile)
    found = [Queue(study, 1).ask(), *others]
    assert [trial.number for trial in found if trial is not None] == [0]
    assert [trial.state for trial in study.get_trials()] == [TrialState.RUNNING, TrialState.FAIL]


def test_companions_that_cannot_be_told_the_features_are_no_silent_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> BinaryIO:
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    words = "2 more processes cannot be started .*No space left.*fewer --processes, or a folder"
    with (
        pytest.raises(BadSetting, match=words),
        companions(part(tmp_path, 3, search()), 2),
    ):
        pytest.fail("it went on alone")
    with companions(part(tmp_path, 3, search()), 0):
        pass


def test_the_libraries_of_a_companion_are_loaded_after_it_said_one_thread() -> None:
    loaded = "import heads.tuning.trial_process, sys; print('numpy' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert told.stdout == "False\n"


def test_the_command_takes_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path / "s")
    told = ["tune", "--store", str(tmp_path / "s"), "--trials", "5", "--seeds", "1", "--out",
            str(tmp_path / "out")]  # fmt: skip
    assert "trials" in here(*told, "--head", "linear", "--processes", "2")
    assert len(finished(open_study(None, tmp_path / "out", ["maximize"]))) == 5
    with monkeypatch.context() as patched:  # nothing is left for others to do
        patched.setattr(processes, "start", lambda *_: pytest.fail("a process was started"))
        assert "trials" in here(*told, "--head", "linear", "--processes", "2")
    said = here(*told, "--processes", "0", expect=1)
    assert "0 processes: give 1 or more" in said
    own = tmp_path / "own.py"
    own.write_text(
        "from heads.zoo.linear import Linear\nclass HEAD(Linear):\n    name = 'own-linear'\n"
    )
    said = here(*told, "--head", own, "--processes", "2", expect=1)
    assert "the head 'own-linear' of a file of yours" in said
