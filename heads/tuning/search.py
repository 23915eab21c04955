"""Searching settings: Optuna proposes, heads are trained, what fails early is stopped early.

On a GPU fusion heads are trained as a population; everything else, and everything on a CPU, one
after another. What judges a trial does not decide when it stops. The best settings are trained
again with several seeds and judged once on the test videos. What the best trial promised and that
number differ for three reasons, which are told apart: its seed was lucky, it was the best of many
(`nested` says how much that is worth), and the test videos are others.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from features_store.table import Table
from heads.config import build
from heads.data.folds import fold_numbers, with_stopping
from heads.data.sides import Data
from heads.errors import BadSetting, Diverged
from heads.head import Head, make_head
from heads.measuring.calibration import reliability
from heads.measuring.metrics import averaged, measure
from heads.parts.space import Space
from heads.tuning.population import PLAIN, Member, Population, stack_key
from heads.tuning.study import Queue, SeededSampler, alive, finished
from heads.zoo.fusion import Fusion, FusionConfig

Score = Mapping[str, float]
SEED = "seed"
"""Name of a trial's attribute."""
STOPPING = 0.2
"""Share of the videos learnt from that decides when to stop: what judges trials does not."""
_PATIENCE = 0.5
DIRECTIONS = {
    "auc": "maximize", "accuracy": "maximize", "f1": "maximize", "binary_auc": "maximize",
    "calibration_error": "minimize",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched, and by what."""

    spaces: Mapping[str, Space]
    """Head → its space."""
    fixed: Mapping[str, str]
    """Settings that every trial has."""
    metrics: Sequence[str]
    folds: Sequence[Data]
    """One, or several whose scores are averaged."""
    classes: Sequence[str]
    device: str = "cpu"
    population: int = 1
    seed: int = 0

    def seed_of(self, trial: optuna.Trial) -> int:
        """What a trial trains with: kept beside it, so that its number can be had again."""
        seed = self.seed + trial.number
        trial.set_user_attr(SEED, seed)
        return seed

    def choose(self, trial: optuna.Trial) -> tuple[str, dict[str, str]]:
        """A head and its settings."""
        names = list(self.spaces)
        head = names[0] if len(names) == 1 else trial.suggest_categorical("head", names)
        prefix = f"{head}." if len(names) > 1 else ""
        chosen = {n: s.choose(trial, f"{prefix}{n}") for n, s in self.spaces[head].items()}
        return head, {**self.fixed, **chosen}


def settings_of(
    params: Mapping[str, object], spaces: Mapping[str, Space]
) -> tuple[str, dict[str, str]]:
    """What a finished trial was, from its parameters."""
    names = list(spaces)
    head = str(params.get("head", names[0]))
    prefix = f"{head}." if len(names) > 1 else ""
    found = {n: params[f"{prefix}{n}"] for n in spaces[head] if f"{prefix}{n}" in params}
    return head, {
        name: value if isinstance(value, str) else repr(value) for name, value in found.items()
    }


def run_trials(study: optuna.Study, search: Search, limit: int) -> Iterator[int]:
    """Work until `limit` trials are finished, yielding how many are."""
    queue = Queue(study, limit)
    while len(finished(study)) < limit:
        trial = queue.ask()
        if trial is None:  # others are at the last ones; should they be killed, we take over
            time.sleep(_PATIENCE)
            continue
        batch = [trial]
        with alive(study, batch):  # asking for a whole population takes longer than silence may
            while len(batch) < search.population and (more := queue.ask()) is not None:
                batch.append(more)
            try:
                stacked, single = _grouped(batch, search)
                for group in stacked:
                    _train_together(study, search, group)
                for one, head, settings in single:
                    _train_alone(study, search, one, head, settings)
            except BaseException:
                _fail(study, batch)
                raise
        yield len(finished(study))


def _fail(study: optuna.Study, batch: Sequence[optuna.Trial]) -> None:
    """None of these is left as if somebody still worked on it."""
    numbers = {trial.number for trial in batch}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number in numbers:
            study.tell(trial.number, state=TrialState.FAIL)


Chosen = tuple[optuna.Trial, str, dict[str, str]]


def _grouped(
    batch: Sequence[optuna.Trial], search: Search
) -> tuple[list[list[Chosen]], list[Chosen]]:
    """Fusion heads that can be stacked, and the rest, those with a strategy among them."""
    chosen: list[Chosen] = [(trial, *search.choose(trial)) for trial in batch]
    if search.population == 1 or len(search.folds) > 1:
        return [], chosen
    groups: dict[object, list[Chosen]] = {}
    single = []
    for one in chosen:
        config = _fusion_config(one[2]) if one[1] == Fusion.name else None
        if config is None or config.strategy != PLAIN:
            single.append(one)
        else:
            groups.setdefault(stack_key(config), []).append(one)
    return list(groups.values()), single


def _fusion_config(settings: Mapping[str, str]) -> FusionConfig:
    return build(FusionConfig, settings, "Head fusion")


def _train_together(study: optuna.Study, search: Search, group: Sequence[Chosen]) -> None:
    (data,) = search.folds
    trials = {trial.number: trial for trial, _, _ in group}
    members = [
        Member(number=trial.number, config=_fusion_config(settings), seed=search.seed_of(trial))
        for trial, _, settings in group
    ]
    pruned: set[int] = set()

    def on_epoch(member: Member, epoch: int, value: float) -> bool:
        if _prunes(search, trials[member.number], epoch, value):
            pruned.add(member.number)
        return member.number in pruned

    population = Population(
        data.train, data.deciding, search.classes, search.population, search.device
    )
    for one in population.run(members, on_epoch):
        number = one.member.number
        if number in pruned or one.report.best_epoch < 0:
            study.tell(trials[number], state=TrialState.PRUNED)
        else:
            _tell(study, search, trials[number], [score(one.head, data.validation)])


def _train_alone(
    study: optuna.Study, search: Search, trial: optuna.Trial, name: str, settings: Mapping[str, str]
) -> None:
    scores, seed = [], search.seed_of(trial)
    for number, data in enumerate(search.folds):
        head = make_head(name, settings, search.classes)
        pruned: list[int] = []

        watched = partial(_stops_alone, search, trial, pruned, number)
        try:
            head.fit(
                data.train,
                data.deciding,
                seed=seed,
                device=search.device,
                on_epoch=watched,
            )
        except Diverged:
            study.tell(trial, state=TrialState.PRUNED)
            return
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
            return
        scores.append(score(head, data.validation))
    _tell(study, search, trial, scores)


def _stops_alone(
    search: Search, trial: optuna.Trial, pruned: list[int], fold: int, epoch: int, value: float
) -> bool:
    """Only the first fold decides on pruning: later ones would report the same steps again."""
    if fold == 0 and _prunes(search, trial, epoch, value):
        pruned.append(epoch)
    return bool(pruned)


def _prunes(search: Search, trial: optuna.Trial, epoch: int, value: float) -> bool:
    if list(search.metrics) not in (["auc"], ["accuracy"]) or not _watches(search, trial):
        return False
    trial.report(value, epoch)
    return trial.should_prune()


def _watches(search: Search, trial: optuna.Trial) -> bool:
    """A head that reports something else after each epoch says nothing of what is searched."""
    chosen = {**search.fixed, **{str(k).rpartition(".")[2]: v for k, v in trial.params.items()}}
    return bool(chosen.get("select", "auc") == search.metrics[0])


def _tell(
    study: optuna.Study, search: Search, trial: optuna.Trial, scores: Sequence[Score]
) -> None:
    values = [float(np.mean([each[metric] for each in scores])) for metric in search.metrics]
    if any(math.isnan(value) for value in values):
        raise BadSetting(
            f"{', '.join(search.metrics)} cannot be measured on these validation videos (a class "
            f"is missing); choose --metric accuracy, or more validation videos."
        )
    study.tell(trial, values)


def score(head: Head, table: Table) -> dict[str, float]:
    """Every objective on some videos."""
    means = averaged(head.predict(table))
    numbers = measure(means, table.labels, head.classes).numbers()
    numbers["calibration_error"] = reliability(means, table.labels).error
    return {name: numbers[name] for name in DIRECTIONS}


def best_settings(study: optuna.Study, search: Search) -> tuple[str, dict[str, str]]:
    """Of the best trial."""
    head, settings = settings_of(best_trial(study, search).params, search.spaces)
    return head, {**search.fixed, **settings}


def best_trial(study: optuna.Study, search: Search) -> FrozenTrial:
    """The best one; of the Pareto front the one best in the first metric."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise BadSetting("No trial was finished; give more --trials.")
    sign = 1 if DIRECTIONS[search.metrics[0]] == "maximize" else -1
    return max(complete, key=lambda trial: sign * trial.values[0])


def nested(search: Search, outer: Sequence[Data], trials: int) -> list[float]:
    """What choosing settings like this reaches on videos that chose nothing: in each outer fold a
    search of its own, without the fold's videos, whose best settings are judged on them."""
    first, reached = search.metrics[0], []
    for number, data in enumerate(outer):
        inner = replace(search, folds=[with_stopping(_halved(data), STOPPING)], population=1)
        study = optuna.create_study(
            direction=StudyDirection[DIRECTIONS[first].upper()],
            sampler=SeededSampler(search.seed + number),
        )
        for _ in range(trials):
            trial = study.ask()
            _train_alone(study, inner, trial, *inner.choose(trial))
        name, settings = best_settings(study, inner)
        head = make_head(name, settings, search.classes)
        stopped = with_stopping(data, STOPPING)
        head.fit(stopped.train, stopped.deciding, seed=search.seed, device=search.device)
        reached.append(score(head, data.validation)[first])
    return reached


def _halved(data: Data) -> Data:
    """A quarter of what is learnt from judges the inner trials."""
    numbers = fold_numbers(data.train.ids, data.train.labels, 4, None)
    return Data(train=data.train.take(numbers > 0), validation=data.train.take(numbers == 0))
