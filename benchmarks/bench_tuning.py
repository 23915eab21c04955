"""Trials a second of a search over fusion heads: one stack that is refilled and a study told once.

    python -m benchmarks.bench_tuning [--trials 48] [--population 16] [--epochs 30] [--runs 3]
        [--columns 32] [--device cpu|cuda]

`telltale tune`'s own search space, 200 videos x 2 views, so few columns that the study's database
and what surrounds a step weigh as much as they do on a GPU. The way before: trials asked for a
population at a time, a stack for every alpha and batch size, each trained until its last member
ends, and the database told and asked after every epoch of every member. Trials alone, one after
another, are measured too: there only the database differs. Ways in turns, medians.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from benchmarks import measure
from benchmarks.bench_heads import CLASSES, table
from features_store.table import Table
from heads.config import build
from heads.data.sides import Data
from heads.head import make_head
from heads.tuning.population import Member, Population, stack_key
from heads.tuning.search import Search, score
from heads.tuning.study import Queue, alive, finished, open_study
from heads.tuning.trials import run_trials
from heads.zoo.fusion import Fusion, FusionConfig

Way = Callable[[optuna.Study, Search, int], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--columns", type=int, default=32, help="of each array")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    search = Search(
        spaces={"fusion": Fusion.SPACE}, fixed={"epochs": str(given.epochs)}, metrics=["auc"],
        folds=[Data(train=narrow(200, 0, given.columns), validation=narrow(100, 1, given.columns))],
        classes=CLASSES, device=given.device, population=given.population,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *compared(
                Path(folder) / "together", search, given.trials, given.runs,
                f"population of {given.population}", stacks_before,
            ),
            *compared(
                Path(folder) / "alone", replace(search, population=1), given.trials, given.runs,
                "one after another", lone_before,
            ),
        ]  # fmt: skip
    measure.report("tuning", rows, ("torch", "optuna"))


def narrow(videos: int, seed: int, columns: int) -> Table:
    """Of each array a few columns."""
    whole = table(videos, seed)
    return replace(whole, arrays={key: one[..., :columns] for key, one in whole.arrays.items()})


def compared(
    folder: Path, search: Search, trials: int, runs: int, what: str, before: Way
) -> list[measure.Row]:
    """Both ways, each with a study of its own every time."""
    number = iter(range(1000))

    def now(study: optuna.Study, search: Search, limit: int) -> None:
        for _ in run_trials(study, search, limit):
            pass

    def work(way: Way) -> measure.Work:
        def one() -> None:
            study = open_study(None, folder / str(next(number)), ["maximize"])
            if way is not now:
                study.pruner = optuna.pruners.MedianPruner(n_startup_trials=10, n_warmup_steps=5)
            way(study, search, trials)
            if len(finished(study)) < trials:
                raise RuntimeError("Trials are missing.")

        return one

    seconds = measure.interleaved({"before": work(before), "now": work(now)}, runs=runs)
    faster = measure.against(seconds, "before")
    return [
        {"what": f"{what}, {way}", "trials/s": trials / value, "speed against before": faster[way],
         "n": runs}
        for way, value in seconds.items()
    ]  # fmt: skip


def stacks_before(study: optuna.Study, search: Search, limit: int) -> None:
    """A population at a time, in stacks of one alpha and one batch size."""
    queue = Queue(study, limit)
    while (first := queue.ask()) is not None:
        batch = [first]
        with alive(study, batch):
            while len(batch) < search.population and (more := queue.ask()) is not None:
                batch.append(more)
            groups: dict[object, list[tuple[optuna.Trial, Member]]] = {}
            for trial in batch:
                _, settings = search.choose(trial)
                config = build(FusionConfig, settings, "Head fusion")
                member = Member(number=trial.number, config=config, seed=search.seed_of(trial))
                key = (*stack_key(config), config.alpha_mode, config.batch)
                groups.setdefault(key, []).append((trial, member))
            for group in groups.values():
                _stack(study, search, group)


def _stack(study: optuna.Study, search: Search, group: list[tuple[optuna.Trial, Member]]) -> None:
    (data,) = search.folds
    trials = {trial.number: trial for trial, _ in group}
    pruned = set()

    def on_epoch(member: Member, epoch: int, value: float) -> bool:
        trials[member.number].report(value, epoch)
        if trials[member.number].should_prune():
            pruned.add(member.number)
        return member.number in pruned

    population = Population(data.train, data.deciding, search.classes, len(group), search.device)
    for one in population.run([member for _, member in group], on_epoch):
        number = one.member.number
        if number in pruned:
            study.tell(trials[number], state=TrialState.PRUNED)
        else:
            study.tell(trials[number], score(one.head, data.validation)["auc"])


def lone_before(study: optuna.Study, search: Search, limit: int) -> None:
    """One after another, the database asked after every epoch."""
    (data,) = search.folds
    queue = Queue(study, limit)
    while (trial := queue.ask()) is not None:
        with alive(study, [trial]):
            name, settings = search.choose(trial)
            head = make_head(name, settings, search.classes)
            seed, pruned = search.seed_of(trial), list[int]()

            def on_epoch(
                epoch: int, value: float, trial: optuna.Trial = trial, pruned: list[int] = pruned
            ) -> bool:
                trial.report(value, epoch)
                if trial.should_prune():
                    pruned.append(epoch)
                return bool(pruned)

            head.fit(data.train, data.deciding, seed=seed, on_epoch=on_epoch)
            if pruned:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, score(head, data.validation)["auc"])


if __name__ == "__main__":
    main()
