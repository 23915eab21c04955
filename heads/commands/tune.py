"""`telltale tune`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.device import DEVICE_HELP, one_device
from heads.commands.train import (
    add_data_options,
    add_head_options,
    add_stop_option,
    choice,
    head_name,
    settings_of,
)

if TYPE_CHECKING:
    import optuna

    from features_store import Store
    from heads.data.sides import Data
    from heads.tuning.search import Search

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    tune = commands.add_parser(
        "tune",
        help="search a head's settings",
        description="Trials go to a study in a database; several `telltale tune` of the same "
        "--storage share it, and the same command resumes. The best settings are trained again "
        "with several seeds, saved as a bundle, and judged once on the test videos.",
    )
    add_data_options(tune)
    tune.add_argument(
        "--head", default="fusion", type=head_name, help="one or several: fusion,gbdt"
    )
    tune.add_argument("--trials", type=int, default=100, help="finished trials in all (100)")
    tune.add_argument(
        "--space", action="append", default=[], metavar="NAME=RANGE",
        help="lr=1e-5..1e-1:log, depth=true|false; replaces the head's own",
    )  # fmt: skip
    add_head_options(tune)
    tune.add_argument("--metric", action="append", help="auc (default), accuracy, f1, binary_auc, "
                      "calibration_error; several give a Pareto front")  # fmt: skip
    folds = tune.add_mutually_exclusive_group()
    folds.add_argument("--folds", type=int, help="judge each trial by so many folds")
    folds.add_argument("--leave-one-out", action="store_true", help="judge by unseen generators")
    tune.add_argument(
        "--nested", type=int, metavar="FOLDS", default=0,
        help="also say what such a search reaches on videos that chose nothing, by a search of its "
        "own in each of so many folds",
    )  # fmt: skip
    tune.add_argument(
        "--nested-trials", type=int, default=20, help="of each of those (default: 20)"
    )
    tune.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    add_stop_option(tune, 0.2)
    tune.add_argument(
        "--storage",
        help="database URL, such as postgresql://USER@HOST/NAME (default: OUT/study.db)",
    )
    tune.add_argument(
        "--processes", type=int, default=1, metavar="N",
        help="so many try settings beside each other (CPU; default: 1, which alone repeats itself)",
    )  # fmt: skip
    tune.add_argument("--seeds", type=int, default=3, help="of the final training (default: 3)")
    tune.add_argument("--device", default="auto", help=DEVICE_HELP)
    tune.add_argument("--out", type=Path, default=Path("runs/tune"), help="%(default)s")
    add_overwrite_option(tune)
    tune.set_defaults(run=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from features_store import Store
    from features_store.outputs import Folder
    from heads.commands.tuned import finish
    from heads.tuning.companions import Part, companions
    from heads.tuning.search import DIRECTIONS
    from heads.tuning.study import STUDY_FILES, finished, open_study
    from heads.tuning.trials import run_trials

    arguments.device = one_device(arguments.device)
    _check_processes(arguments)
    folder = Folder(arguments.out, "tune", overwrite=arguments.overwrite)
    store = Store.open(arguments.store)
    search, data = _search(arguments, store)
    print(data)
    directions = [DIRECTIONS[metric] for metric in search.metrics]
    plan = _plan(arguments, search, data)
    folder.begin(plan, outdated=STUDY_FILES)
    study = open_study(arguments.storage, arguments.out, directions, plan, arguments.seed)
    part = Part(
        storage=arguments.storage, folder=arguments.out, directions=directions, search=search,
        limit=arguments.trials,
    )  # fmt: skip
    there = len(finished(study))
    with (
        tqdm(total=arguments.trials, unit="trial", disable=None) as bar,
        companions(part, min(arguments.processes, arguments.trials - there) - 1),
    ):
        bar.update(there)
        for done in run_trials(study, search, arguments.trials):
            bar.n = done
            bar.set_postfix_str(_best(study, search))
    finish(arguments, store, study, search, data)
    return 0


def _check_processes(arguments: argparse.Namespace) -> None:
    from heads.errors import BadSetting
    from heads.head import is_of_a_file

    if arguments.processes < 1:
        raise BadSetting(f"{arguments.processes} processes: give 1 or more.")
    if arguments.processes == 1:
        return
    if arguments.device != "cpu":
        raise BadSetting(
            f"--processes is for a CPU; on {arguments.device} heads learn side by side anyway."
        )
    if own := [name for name in arguments.head.split(",") if is_of_a_file(name)]:
        raise BadSetting(
            f"--processes cannot hand on the head {own[0]!r} of a file of yours: start the same "
            f"command several times instead."
        )


def _plan(arguments: argparse.Namespace, search: "Search", data: "Data") -> dict[str, object]:
    """All that makes two searches one."""
    return {
        "spaces": {
            head: {name: repr(space) for name, space in sorted(found.items())}
            for head, found in search.spaces.items()
        },
        "settings": dict(search.fixed),
        "metrics": list(search.metrics),
        "folds": arguments.folds or ("leave one out" if arguments.leave_one_out else 1),
        "protocols": [data.train.protocol, data.validation.protocol],
        "features": dict(data.train.fingerprints),
        "videos": [len(data.train), len(data.validation)],
        "seed": arguments.seed,
        "stop": arguments.stop or 0,
    }


def _search(arguments: argparse.Namespace, store: "Store") -> "tuple[Search, Data]":
    from heads.config import assignments
    from heads.data.folds import groups_of, k_folds, leave_one_out, with_stopping
    from heads.errors import BadSetting
    from heads.head import head_class, make_head
    from heads.parts.space import space_of
    from heads.tuning.population_size import largest, population_size
    from heads.tuning.search import DIRECTIONS, Search
    from heads.zoo.fusion import Fusion

    names = arguments.head.split(",")
    metrics = arguments.metric or ["auc"]
    for metric in metrics:
        if metric not in DIRECTIONS:
            raise BadSetting(f"Metric {metric!r} unknown; have: {', '.join(DIRECTIONS)}.")
    if arguments.trials < 1 or arguments.seeds < 1:
        raise BadSetting("Give 1 or more trials, and 1 or more seeds.")
    own, fixed = assignments(arguments.space), settings_of(arguments)
    # A wrong setting is known before the first trial.
    heads = [make_head(name, fixed, store.classes) for name in names]
    widest = max(heads, key=lambda head: len(head.keys))
    if any(set(head.keys) - set(widest.keys) for head in heads):
        raise BadSetting(f"Heads {arguments.head} need different features; tune them separately.")
    chosen = choice(arguments)
    data = chosen.load(store, widest)
    folds = [data]
    if arguments.folds or arguments.leave_one_out:
        learning, deciding = chosen.masks(store)
        whole = chosen.load_twice(store, widest, learning | deciding)
        groups = groups_of(store, chosen.group_by)
        folds = k_folds(whole, arguments.folds, groups) if arguments.folds else leave_one_out(whole)
        if chosen.stopping is not None:
            folds = [with_stopping(fold, chosen.stopping, groups) for fold in folds]
    spaces = {}
    for name in names:
        known = head_class(name).Config.__dataclass_fields__
        mine = {n: text for n, text in own.items() if len(names) == 1 or n in known}
        spaces[name] = {n: s for n, s in space_of(name, mine).items() if n not in fixed}
    size = 1
    if Fusion.name in spaces:
        space = spaces[Fusion.name]
        hidden, batch = (largest(name, fixed, space) for name in ("hidden", "batch"))
        columns = sum(array.shape[-1] for array in data.train.arrays.values())
        size = population_size(arguments.device, columns, hidden, batch)
    return Search(
        spaces=spaces, fixed=fixed, metrics=metrics, folds=folds, classes=store.classes,
        device=arguments.device, population=size, seed=arguments.seed,
    ), data  # fmt: skip


def _best(study: "optuna.Study", search: "Search") -> str:
    try:
        trial = study.best_trials[0]
    except (ValueError, IndexError):
        return ""
    return f"best {search.metrics[0]} {trial.values[0]:.4f}"
