"""Searching settings: spaces, studies that processes share, and a process that is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from features_store import Store
from heads.bundle import Bundle
from heads.data.folds import k_folds, with_stopping
from heads.data.sides import Data
from heads.data.splits import Choice
from heads.errors import BadSetting
from heads.figures import tuning
from heads.fitting.seeds import train_seeds
from heads.head import head_class, head_names, make_head
from heads.parts.about import About
from heads.parts.space import OneOf, Range, parse, space_of
from heads.tuning import study as studies
from heads.tuning.nested import nested
from heads.tuning.search import Search, best_settings, best_trial, score
from heads.tuning.trials import run_trials
from tests.test_heads.stores import write_store
from tests.test_heads.tables import CLASSES, table


def test_spaces_are_parsed() -> None:
    assert parse("1e-5..1e-1:log") == Range(low=1e-5, high=0.1, log=True)
    assert parse("4..64") == Range(low=4, high=64, whole=True)
    assert parse("true|false") == OneOf(("true", "false"))
    space = space_of("fusion", {"lr": "1..2"})
    assert space["lr"] == Range(low=1, high=2)
    for wrong, said in (("2..1", "LOW < HIGH"), ("0..1:log", "above 0"), ("a..b", "not a number"),
                        ("1..2:exp", "only 'log'")):  # fmt: skip
        with pytest.raises(BadSetting, match=said):
            parse(wrong)
    with pytest.raises(BadSetting, match="have free, sigmoid, fixed"):
        space_of("fusion", {"alpha": "fre|sigmoid"})
    with pytest.raises(BadSetting, match="no setting 'learning'"):
        space_of("fusion", {"learning": "1..2"})


@pytest.mark.parametrize("name", head_names())
def test_every_head_has_a_space_of_settings_that_it_takes(name: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(5):
        trial = study.ask()
        settings = {n: s.choose(trial, n) for n, s in head_class(name).SPACE.items()}
        make_head(name, settings, CLASSES)


def data() -> Data:
    return Data(train=table(80, seed=1), validation=table(40, seed=2))


def search(**changes: object) -> Search:
    spaces = {"linear": {"c": Range(low=1e-4, high=1.0, log=True)}}
    whole = {"spaces": spaces, "fixed": {}, "metrics": ["auc"], "folds": [data()]}
    return Search(**{**whole, "classes": CLASSES, **changes})  # type: ignore[arg-type]


def test_a_search_finds_what_matters_and_resumes(tmp_path: Path) -> None:
    spaces = {
        "fusion": {"depth": OneOf(("true", "false")), "lr": Range(low=1e-5, high=1e-2, log=True)}
    }
    fixed = {"epochs": "8"}
    found = Data(
        train=table(120, seed=1, video_signal=0.1, depth_signal=1.5),
        validation=table(80, seed=2, video_signal=0.1, depth_signal=1.5),
    )
    plan = search(spaces=spaces, fixed=fixed, folds=[found])
    for limit in (6, 14):
        study = studies.open_study(None, tmp_path, ["maximize"])
        list(run_trials(study, plan, limit))
        assert len(studies.finished(study)) == limit
    head, settings = best_settings(study, plan)
    assert (head, settings["depth"], settings["epochs"]) == ("fusion", "true", "8")


def test_populations_and_lone_trials_reach_the_same_kind_of_end(tmp_path: Path) -> None:
    spaces = {
        "fusion": {"lr": Range(low=1e-3, high=1e-2, log=True), "alpha": OneOf(("free", "sigmoid"))},
        "linear": {"c": Range(low=1e-3, high=1.0, log=True)},
    }
    plan = search(spaces=spaces, fixed={}, population=4)
    study = studies.open_study(None, tmp_path, ["maximize"])
    list(run_trials(study, plan, 12))
    done = studies.finished(study)
    assert len(done) == 12
    assert {trial.params["head"] for trial in done} == {"fusion", "linear"}


def test_members_with_a_strategy_learn_alone_beside_a_population(tmp_path: Path) -> None:
    spaces = {"fusion": {"strategy": OneOf(("plain", "focal:gamma=1"))}}
    plan = search(spaces=spaces, fixed={"epochs": "2"}, population=3)
    study = studies.open_study(None, tmp_path, ["maximize"])
    list(run_trials(study, plan, 6))
    trials = studies.finished(study)
    assert {trial.params["strategy"] for trial in trials} == {"plain", "focal:gamma=1"}
    assert len(trials) == 6


def test_a_study_of_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    studies.open_study(None, tmp_path, ["maximize"], {"spaces": "a", "metrics": ["auc"]})
    studies.open_study(None, tmp_path, ["maximize"], {"metrics": ["auc"], "spaces": "a"})
    with pytest.raises(BadSetting, match="another spaces"):
        studies.open_study(None, tmp_path, ["maximize"], {"spaces": "b", "metrics": ["auc"]})


def test_the_same_search_finds_the_same(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study = studies.open_study(None, tmp_path / name, ["maximize"], seed=seed)
        list(run_trials(study, search(seed=seed), 12))
        found.append([(trial.params, trial.values) for trial in study.trials])
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_search_that_is_gone_on_with_finds_what_it_would_have_found(tmp_path: Path) -> None:
    for name, limits in (("once", (12,)), ("twice", (5, 12))):
        for limit in limits:
            study = studies.open_study(None, tmp_path / name, ["maximize"], seed=3)
            list(run_trials(study, search(), limit))
        if name == "once":
            expected = [trial.params for trial in study.trials]
    assert [trial.params for trial in study.trials] == expected


def test_a_trials_number_can_be_had_again(tmp_path: Path) -> None:
    """Its seed is kept; what judged it did not decide when it stopped."""
    spaces = {"fusion": {"lr": Range(low=1e-4, high=1e-2, log=True)}}
    made = with_stopping(data(), 0.25)
    assert made.stopping is not None
    assert not set(made.stopping.ids) & (set(made.train.ids) | set(made.validation.ids))
    plan = search(spaces=spaces, fixed={"epochs": "6"}, folds=[made], seed=7)
    study = studies.open_study(None, tmp_path, ["maximize"], seed=7)
    list(run_trials(study, plan, 4))
    best = best_trial(study, plan)
    _, settings = best_settings(study, plan)
    (again,) = train_seeds(
        lambda: make_head("fusion", settings, CLASSES), made, [best.user_attrs["seed"]]
    )
    assert score(again.head, made.validation)["auc"] == best.values[0]


def test_a_trial_that_fails_is_not_left_running(tmp_path: Path) -> None:
    few = data().validation
    without = Data(train=data().train, validation=few.take(few.labels != 3))
    study = studies.open_study(None, tmp_path, ["maximize"])
    with pytest.raises(BadSetting, match="cannot be measured"):
        list(run_trials(study, search(folds=[without]), 3))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_nested_folds_say_what_choosing_costs() -> None:
    """On noise the best of many trials promises more than a search reaches on other videos."""
    noise = Data(train=table(160, seed=1, video_signal=0), validation=table(40, seed=2))
    plan = search(spaces={"linear": {"c": Range(low=1e-5, high=10.0, log=True)}}, folds=[noise])
    outer = k_folds(Data(train=noise.train, validation=noise.train), 3)
    reached = nested(plan, outer, 6)
    assert len(reached) == 3
    assert 0.4 < np.mean(reached) < 0.6


def test_several_objectives_make_a_front(tmp_path: Path) -> None:
    plan = search(metrics=["auc", "calibration_error"])
    study = studies.open_study(None, tmp_path, ["maximize", "minimize"])
    list(run_trials(study, plan, 8))
    assert len(study.best_trials) >= 1
    with pytest.raises(BadSetting, match="journal file loses records"):
        studies.open_study("journal.log", tmp_path, ["maximize"])


def test_a_trial_whose_process_was_killed_before_its_first_sign_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT", 1)
    study = studies.open_study(None, tmp_path, ["maximize"])
    lost = studies.Queue(study, 3).ask()
    assert lost is not None
    lost.suggest_float("c", 1e-4, 1.0, log=True)
    list(run_trials(study, search(), 3))
    done = studies.finished(study)
    assert len(done) == 3
    assert study.trials[lost.number].state == TrialState.FAIL
    assert any(trial.params == lost.params for trial in done)


def test_trials_live_while_the_rest_of_their_population_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT", 1)
    study = studies.open_study(None, tmp_path, ["maximize"])
    ask = studies.Queue.ask

    def slowly(queue: studies.Queue) -> optuna.Trial | None:
        time.sleep(1.2)
        return ask(queue)

    monkeypatch.setattr(studies.Queue, "ask", slowly)
    list(run_trials(study, search(population=5), 5))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5


def command(store: Path, out: Path, trials: int) -> list[str]:
    return [
        sys.executable, "-m", "heads", "tune", "--store", str(store), "--trials", str(trials),
        "--set", "epochs=6", "--space", "lr=1e-4..1e-2:log", "--out", str(out), "--seeds", "2",
    ]  # fmt: skip


def _open_and_tell(folder: Path, number: int) -> int:
    """Make or join the study, finish a trial, and leave a bundle, as every process does."""
    study = studies.open_study(None, folder, ["maximize"], {"spaces": "a"})
    study.tell(study.ask(), number / 10)
    head = make_head("linear", {}, CLASSES)
    whole = Data(train=table(40, seed=1), validation=table(40, seed=2))
    head.fit(whole.train, whole.validation)
    about = About(
        head="linear", config=asdict(head.config), scheme="hfv4", classes=CLASSES, protocol="val",
        fingerprints=dict.fromkeys(head.keys, "0" * 64), branches={},
    )  # fmt: skip
    for _ in range(5):
        Bundle(head, about).save(folder / "best")
    return number


def test_processes_that_begin_and_end_together(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_open_and_tell, [tmp_path] * 4, range(4)))
    assert done == [0, 1, 2, 3]
    study = studies.open_study(None, tmp_path, ["maximize"], {"spaces": "a"})
    assert len(studies.finished(study)) == 4
    assert Bundle.load(tmp_path / "best").classes == CLASSES
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".best")]


def test_two_processes_share_a_study_and_one_is_killed(tmp_path: Path) -> None:
    """Nothing is lost, nothing hangs, and every parameter set is finished once."""
    write_store(tmp_path / "s")
    environment = {**os.environ, "TELLTALE_HEARTBEAT": "1"}
    run = [*command(tmp_path / "s", tmp_path / "out", 24)]
    first, second = (
        subprocess.Popen(
            run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    )
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if (tmp_path / "out" / "study.db").exists():
            try:
                study = studies.open_study(None, tmp_path / "out", ["maximize"])
            except Exception:
                continue
            if len(studies.finished(study)) >= 4:
                break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, error = second.communicate(timeout=120)
    assert second.returncode == 0, error
    study = studies.open_study(None, tmp_path / "out", ["maximize"])
    done = studies.finished(study)
    assert len(done) >= 24
    assert not study.get_trials(states=(TrialState.RUNNING,))
    settings = [json.dumps(trial.params, sort_keys=True) for trial in done]
    assert len(set(settings)) == len(settings)
    report = json.loads((tmp_path / "out" / "tune.json").read_text())
    assert len(report["test, refitted, by seed"]) == 2
    assert "other videos (refitted - test)" in out
    bundle = Bundle.load(tmp_path / "out" / "best")
    store = Store.open(tmp_path / "s")
    found = Choice(protocol="val").load(store, bundle.head)
    assert bundle.predict(found.validation).shape[-1] == 4
    for name in ("history", "settings"):
        assert (tmp_path / "out" / f"{name}.svg").read_text().startswith("<svg")


def test_settings_are_drawn_on_their_own_scales() -> None:
    spread: dict[str, optuna.distributions.BaseDistribution] = {
        "linear.c": optuna.distributions.FloatDistribution(1e-4, 10.0, log=True),
        "head": optuna.distributions.CategoricalDistribution(("linear", "<b>gbdt")),
    }
    trials = [
        optuna.trial.create_trial(
            params={"head": head, **({"linear.c": c} if head == "linear" else {})},
            distributions={n: spread[n] for n in ("head", "linear.c")[: 2 if c else 1]}, value=0.7,
        )
        for head, c in (("linear", 0.001), ("linear", 5.0), ("<b>gbdt", 0.0))
    ]  # fmt: skip
    drawn = tuning.settings(trials, "auc", larger=True)
    texts = re.findall(r">([^<>]+)</(?:text|tspan)>", drawn)
    assert {"head", "linear.c", "linear", "&lt;b&gt;gbdt", "validation AUC"} <= set(texts)
    assert not {"low", "high"} & set(texts)
    assert tuning.settings([], "auc", larger=True) == ""
