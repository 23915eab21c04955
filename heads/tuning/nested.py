"""What choosing the best of many trials costs, by searches inside folds."""

from collections.abc import Sequence
from dataclasses import replace

import optuna
from optuna.study import StudyDirection

from heads.data.folds import fold_numbers, with_stopping
from heads.data.sides import Data
from heads.head import make_head
from heads.tuning.search import DIRECTIONS, STOPPING, Search, best_settings, score
from heads.tuning.study import SeededSampler
from heads.tuning.trials import Work


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
        work = Work(study=study, search=inner)
        for _ in range(trials):
            work.alone(study.ask())
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
