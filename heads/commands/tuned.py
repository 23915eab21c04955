"""What `telltale tune` does once its trials are finished: a bundle, figures, and what they say."""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from heads.commands.train import choice

if TYPE_CHECKING:
    import optuna

    from features_store import Store
    from heads.bundle import Bundle
    from heads.data.sides import Data
    from heads.tuning.search import Search


def finish(
    arguments: argparse.Namespace,
    store: "Store",
    study: "optuna.Study",
    search: "Search",
    data: "Data",
) -> None:
    """Train the best settings again, judge them once, and say it all."""
    from optuna.trial import TrialState

    from features_store.commit import write_file
    from features_store.errors import NotComputed
    from heads.data.splits import held_out
    from heads.fitting.seeds import best_bundle, train_seeds
    from heads.head import make_head
    from heads.tuning.search import DIRECTIONS, SEED, best_settings, best_trial, score
    from heads.tuning.summary import TEST, summary

    name, settings = best_settings(study, search)
    best = best_trial(study, search)
    first_seed = int(best.user_attrs.get(SEED, best.number))
    trained = list(
        train_seeds(
            lambda: make_head(name, settings, store.classes), data,
            range(first_seed, first_seed + arguments.seeds), arguments.device,
        )
    )  # fmt: skip
    bundle = best_bundle(store, trained, data)
    first = search.metrics[0]
    report: dict[str, object] = {"head": name, "settings": settings, "metric": first}
    report["seeds"] = [one.seed for one in trained]
    report["videos judged"] = sum(len(fold.validation) for fold in search.folds)
    report["validation of the best trial"] = float(best.values[0])
    report["trials"] = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if arguments.nested:
        report["nested, by fold"] = _nested(arguments, store, search, bundle)
    report["validation, refitted, by seed"] = [
        score(one.head, data.validation)[first] for one in trained
    ]
    bundle.save(arguments.out / "best")
    try:
        table = held_out(store, bundle.head, data.train)
        if table is not None:
            report[TEST] = [score(one.head, table)[first] for one in trained]
            report["test videos"] = len(table)
    except NotComputed as error:
        print(f"not judged on the test videos: {error}")
    write_file(arguments.out / "tune.json", [f"{json.dumps(report, indent=1)}\n".encode()])
    _figures(arguments.out, study, search)
    print("\n".join(summary(report, first, larger=DIRECTIONS[first] == "maximize")))
    print(_command(arguments, name, settings, first_seed, len(search.folds)))
    print(f"bundle: {arguments.out / 'best'}; figures and tune.json beside it")


def _nested(
    arguments: argparse.Namespace, store: "Store", search: "Search", bundle: "Bundle"
) -> list[float]:
    from heads.data.folds import groups_of, k_folds
    from heads.tuning.nested import nested

    chosen = choice(arguments)
    learning, deciding = chosen.masks(store)
    whole = chosen.load_twice(store, bundle.head, learning | deciding)
    groups = groups_of(store, chosen.group_by)
    return nested(search, k_folds(whole, arguments.nested, groups), arguments.nested_trials)


def _command(
    arguments: argparse.Namespace, head: str, settings: Mapping[str, str], seed: int, folds: int
) -> str:
    """What gives the best trial's number again."""
    if folds > 1:
        return f"the best trial's number is the mean of {folds} folds, with seed {seed}"
    words = ["telltale", "train", "--store", str(arguments.store), "--head", head]
    for name in ("protocol", "validation_protocol", "validation", "stop", "group_by"):
        value = getattr(arguments, name)
        if value:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for source in arguments.source:
        words += ["--source", source]
    words += ["--seed", str(seed), "--out", str(arguments.out / "again")]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return f"the best trial again: {shlex.join(words)}"


def _figures(out: Path, study: "optuna.Study", search: "Search") -> None:
    from features_store.commit import write_file
    from heads.figures import tuning as charts
    from heads.tuning.search import DIRECTIONS

    trials = study.get_trials(deepcopy=False)
    larger = DIRECTIONS[search.metrics[0]] == "maximize"
    pictures = {
        "history": charts.history(trials, search.metrics[0], larger=larger),
        "importances": charts.importances(study)[1],
        "settings": charts.settings(trials, search.metrics[0], larger=larger),
        "front": charts.front(study, search.metrics) if len(search.metrics) > 1 else "",
    }
    for name, picture in pictures.items():
        if picture:
            write_file(out / f"{name}.svg", [picture.encode()])
