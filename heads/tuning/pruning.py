"""Which trials are stopped early: by the median rule of Optuna's `MedianPruner`, over values that
are in memory.

A database that is asked after every epoch takes longer than the epochs. So what a trial reached is
kept here while it runs, and written once, when it ends; other processes' trials are learnt of when
the next one begins.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

HISTORY = "history"
"""Name of a trial's attribute: the validation metric after each epoch."""
FIRST_TRIALS = 10
"""That many have to be complete before any is stopped."""
FIRST_EPOCHS = 5
"""In which no trial is stopped."""


class Medians:
    """What complete trials had reached after each epoch; larger is better."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._complete = 0
        self._by_epoch: list[list[float]] = []
        self._own: dict[int, list[float]] = {}

    def learn(self, trials: Iterable[FrozenTrial]) -> None:
        """Take note of finished trials, whoever's they are."""
        for trial in trials:
            if trial.number in self._known:
                continue
            self._known.add(trial.number)
            self._own.pop(trial.number, None)
            if trial.state == TrialState.COMPLETE:
                self._add(_history(trial))

    def _add(self, history: Sequence[float]) -> None:
        self._complete += 1
        for epoch, value in enumerate(history):
            if epoch == len(self._by_epoch):
                self._by_epoch.append([])
            self._by_epoch[epoch].append(value)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Note what a running trial reached, and whether it ends here."""
        own = self._own.setdefault(number, [])
        own.append(value)
        if self._complete < FIRST_TRIALS or epoch < FIRST_EPOCHS or epoch >= len(self._by_epoch):
            return False
        return bool(max(own) < np.median(self._by_epoch[epoch]))

    def tell(self, trial: optuna.Trial, *, pruned: bool) -> None:
        """Write what it reached beside a trial that ends. The sampler ranks those that were stopped
        by their last value, so that is reported too."""
        own = self._own.get(trial.number, [])
        if own:
            trial.set_user_attr(HISTORY, own)
            if pruned:
                trial.report(own[-1], len(own) - 1)


def _history(trial: FrozenTrial) -> list[float]:
    """Of a study that was begun when values were written one by one: those."""
    found = trial.user_attrs.get(HISTORY)
    return list(trial.intermediate_values.values()) if found is None else list(found)
