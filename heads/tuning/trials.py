"""Trials at work: on a GPU fusion heads as a population, everything else one after another.

A population takes its next trial from the study when a place is free. What cannot be stacked with
it waits, and is trained afterwards. The study's database is asked when a trial begins and told when
it ends, never between.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError

from heads.config import build
from heads.errors import BadSetting, Diverged
from heads.head import make_head
from heads.tuning.patience import impatiently
from heads.tuning.population import PLAIN, Member, Population, stack_key
from heads.tuning.pruning import Medians
from heads.tuning.search import Score, Search, score
from heads.tuning.study import Queue, alive, finished
from heads.zoo.fusion import Fusion, FusionConfig

_PATIENCE = 0.5


def run_trials(study: optuna.Study, search: Search, limit: int) -> Iterator[int]:
    """Work until `limit` trials are finished, yielding how many are."""
    queue, work = Queue(study, limit), Work(study=study, search=search)
    while len(finished(study)) < limit:
        first = queue.ask()
        if first is None:  # others are at the last ones; should they be killed, we take over
            time.sleep(_PATIENCE)
            continue
        with alive(study, work.trials):
            try:
                for _ in work.done(first, queue):
                    yield len(finished(study))
            except BaseException:
                work.fail()
                raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A trial and what it tries."""

    trial: optuna.Trial
    head: str
    settings: Mapping[str, str]
    stack: object | None
    """Trials of one stack can be trained side by side; None: it is trained alone."""

    @property
    def config(self) -> FusionConfig:
        return build(FusionConfig, self.settings, "Head fusion")


@dataclass(slots=True, kw_only=True)
class Work:
    """What one process is at, of a study."""

    study: optuna.Study
    search: Search
    medians: Medians = field(default_factory=Medians)
    trials: list[optuna.Trial] = field(default_factory=list)
    """That are not ended; see `study.alive`."""
    _waiting: deque[Chosen] = field(default_factory=deque)

    def done(self, first: optuna.Trial, queue: Queue) -> Iterator[int]:
        """Train this trial, those that a population takes meanwhile and those that wait then; the
        number of each that ended."""
        self._waiting.append(self._begun(first))
        while self._waiting:
            chosen = self._waiting.popleft()
            if chosen.stack is None:
                self._alone(chosen)
                yield chosen.trial.number
            else:
                yield from self._together(chosen, queue)

    def alone(self, trial: optuna.Trial) -> None:
        """Train this trial and no other."""
        self._alone(self._begun(trial))

    def fail(self) -> None:
        """None of these is left as if somebody still worked on it. A database that is away learns
        of it by their silence."""
        numbers = {trial.number for trial in self.trials}
        with suppress(DBAPIError, StorageInternalError), impatiently(self.study):
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number in numbers:
                    self.study.tell(trial.number, state=TrialState.FAIL)

    def _begun(self, trial: optuna.Trial) -> Chosen:
        self.trials.append(trial)
        self.medians.learn(finished(self.study))
        head, settings = self.search.choose(trial)
        return Chosen(trial=trial, head=head, settings=settings, stack=self._stack(head, settings))

    def _stack(self, head: str, settings: Mapping[str, str]) -> object | None:
        if self.search.population == 1 or len(self.search.folds) > 1 or head != Fusion.name:
            return None
        config = build(FusionConfig, settings, "Head fusion")
        return stack_key(config) if config.strategy == PLAIN and not config.official else None

    def _together(self, first: Chosen, queue: Queue) -> Iterator[int]:
        search, (data,) = self.search, self.search.folds
        at_work: dict[int, Chosen] = {}

        def members() -> Iterator[Member]:
            for chosen in self._alike(first, queue):
                at_work[chosen.trial.number] = chosen
                yield Member(
                    number=chosen.trial.number, config=chosen.config,
                    seed=search.seed_of(chosen.trial),
                )  # fmt: skip

        pruned: set[int] = set()

        def on_epoch(member: Member, epoch: int, value: float) -> bool:
            if self._stops(at_work[member.number].trial, epoch, value):
                pruned.add(member.number)
            return member.number in pruned

        population = Population(
            data.train, data.deciding, search.classes, search.population, search.device
        )
        for one in population.run(members(), on_epoch):
            chosen = at_work.pop(one.member.number)
            if one.member.number in pruned or one.report.best_epoch < 0:
                self._tell(chosen.trial, None)
            else:
                self._tell(chosen.trial, [score(one.head, data.validation)])
            yield one.member.number

    def _alike(self, first: Chosen, queue: Queue) -> Iterator[Chosen]:
        """Trials of one stack as long as there are any; the others wait, a few at most."""
        yield first
        for chosen in [one for one in self._waiting if one.stack == first.stack]:
            self._waiting.remove(chosen)
            yield chosen
        while len(self._waiting) < self.search.population:
            trial = queue.ask()
            if trial is None:
                return
            chosen = self._begun(trial)
            if chosen.stack == first.stack:
                yield chosen
            else:
                self._waiting.append(chosen)

    def _alone(self, chosen: Chosen) -> None:
        scores, seed = [], self.search.seed_of(chosen.trial)
        for number, data in enumerate(self.search.folds):
            head = make_head(chosen.head, chosen.settings, self.search.classes)
            pruned: list[int] = []
            watched = partial(self._stops_alone, chosen.trial, pruned, number)
            try:
                head.fit(
                    data.train, data.deciding, seed=seed, device=self.search.device,
                    on_epoch=watched,
                )  # fmt: skip
            except Diverged:
                return self._tell(chosen.trial, None)
            if pruned:
                return self._tell(chosen.trial, None)
            scores.append(score(head, data.validation))
        return self._tell(chosen.trial, scores)

    def _stops_alone(
        self, trial: optuna.Trial, pruned: list[int], fold: int, epoch: int, value: float
    ) -> bool:
        """Only the first fold decides on pruning: later ones would tell the same epochs again."""
        if fold == 0 and self._stops(trial, epoch, value):
            pruned.append(epoch)
        return bool(pruned)

    def _stops(self, trial: optuna.Trial, epoch: int, value: float) -> bool:
        return self.search.watches(trial) and self.medians.stops(trial.number, epoch, value)

    def _tell(self, trial: optuna.Trial, scores: Sequence[Score] | None) -> None:
        """The end of a trial; without scores it was stopped. One that others gave up, since it was
        silent for long, is theirs by now."""
        with suppress(UpdateFinishedTrialError):
            self.medians.tell(trial, pruned=scores is None)
            if scores is None:
                self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            else:
                self.study.tell(trial, self._values(scores), skip_if_finished=True)
        self.trials.remove(trial)

    def _values(self, scores: Sequence[Score]) -> list[float]:
        """What was searched for, over the folds."""
        metrics = self.search.metrics
        values = [float(np.mean([each[metric] for each in scores])) for metric in metrics]
        if any(math.isnan(value) for value in values):
            raise BadSetting(
                f"{', '.join(metrics)} cannot be measured on these validation videos (a class "
                f"is missing); choose --metric accuracy, or more validation videos."
            )
        return values
