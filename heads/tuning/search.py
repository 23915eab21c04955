"""What is searched, which settings were best, and how trials are judged.

What judges a trial does not decide when it stops. The best settings are trained again with several
seeds and judged once on the test videos. What the best trial promised and that number differ for
three reasons, which are told apart: its seed was lucky, it was the best of many (`nested` says how
much that is worth), and the test videos are others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from features_store.table import Table
from heads.data.sides import Data
from heads.errors import BadSetting
from heads.head import Head
from heads.measuring.calibration import reliability
from heads.measuring.metrics import averaged, measure
from heads.parts.space import Space

Score = Mapping[str, float]
SEED = "seed"
"""Name of a trial's attribute."""
STOPPING = 0.2
"""Share of the videos learnt from that decides when to stop: what judges trials does not."""
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

    def watches(self, trial: optuna.Trial) -> bool:
        """Whether what a trial reports after each epoch is what is searched for."""
        if list(self.metrics) not in (["auc"], ["accuracy"]):
            return False
        chosen = {**self.fixed, **{str(k).rpartition(".")[2]: v for k, v in trial.params.items()}}
        return bool(chosen.get("select", "auc") == self.metrics[0])


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
