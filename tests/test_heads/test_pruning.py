"""Trials are stopped as Optuna's `MedianPruner` would stop them, and the study is told once."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from heads.data.sides import Data
from heads.parts.space import OneOf, Range, Space
from heads.tuning import pruning
from heads.tuning import study as studies
from heads.tuning.pruning import HISTORY, Medians
from heads.tuning.search import Search
from heads.tuning.trials import run_trials
from tests.test_heads.tables import CLASSES, table


@pytest.mark.parametrize("seed", range(3))
def test_the_same_trials_are_stopped_as_by_optuna(seed: int) -> None:
    draw = np.random.default_rng(seed)
    study = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=10, n_warmup_steps=5),
    )
    medians, stopped = Medians(), 0
    for number in range(40):
        trial = study.ask()
        medians.learn(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        values = draw.random(int(draw.integers(1, 14))) + 0.02 * draw.integers(-9, 9)
        for epoch, value in enumerate(values.tolist()):
            trial.report(value, epoch)
            wanted = trial.should_prune()
            assert medians.stops(number, epoch, value) == wanted
            if wanted:
                break
        stopped += wanted
        study.tell(trial, *((None, TrialState.PRUNED) if wanted else (values[-1],)))
    assert 1 < stopped < 30


def test_histories_of_others_and_of_old_studies_count() -> None:
    values = [0.9] * 8
    for trials in (
        [create_trial(value=0.9, user_attrs={HISTORY: values}) for _ in range(10)],
        [create_trial(value=0.9, intermediate_values=dict(enumerate(values))) for _ in range(10)],
    ):
        for number, trial in enumerate(trials):
            trial.number = number
        medians = Medians()
        medians.learn(trials)
        assert [medians.stops(99, epoch, 0.5) for epoch in range(9)] == [
            *[False] * 5,
            *[True] * 3,
            False,
        ]


@pytest.mark.parametrize("population", [1, 4])
def test_a_study_is_told_once_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, population: int
) -> None:
    monkeypatch.setattr(pruning, "FIRST_TRIALS", 3)
    monkeypatch.setattr(pruning, "FIRST_EPOCHS", 1)
    space: Space = {
        "lr": Range(low=1e-6, high=1e-2, log=True), "alpha": OneOf(("free", "fixed")),
        "batch": OneOf(("16", "32")),
    }  # fmt: skip
    search = Search(
        spaces={"fusion": space}, fixed={"epochs": "4", "hidden": "12"}, metrics=["auc"],
        folds=[Data(train=table(60, seed=1), validation=table(40, seed=2))], classes=CLASSES,
        population=population,
    )  # fmt: skip
    study = studies.open_study(None, tmp_path, ["maximize"])
    told = list(run_trials(study, search, 12))
    assert told[-1] == 12
    assert told == sorted(told)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        whole = trial.state == TrialState.COMPLETE
        history = trial.user_attrs[HISTORY]
        assert (len(history) == 4) if whole else (2 <= len(history) <= 4)
        last = {} if whole else {len(history) - 1: history[-1]}
        assert trial.intermediate_values == last
