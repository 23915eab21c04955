"""`telltale ablate --strategies`. Mounted by `heads.commands.judge`."""

import argparse

from heads.commands.results import data_state
from heads.commands.train import choice, settings_of


def ablate_strategies(arguments: argparse.Namespace) -> int:
    """Which strategy helps on a generator that was left out."""
    from tqdm import tqdm

    from features_store import Store
    from features_store.commit import write_file
    from features_store.outputs import Folder
    from heads.errors import BadSetting
    from heads.head import Head, make_head
    from heads.judging.unseen import PLAIN, Trial, folds
    from heads.training.strategy import strategy_names

    if arguments.grid:
        raise BadSetting("--strategies is a grid of its own; leave out --grid.")
    named = [name for name in arguments.strategies.split(",") if name != "all"]
    names = [PLAIN, *(name for name in named or strategy_names() if name != PLAIN)]
    folder = Folder(arguments.out, "ablate", overwrite=arguments.overwrite)
    store, settings = Store.open(arguments.store), settings_of(arguments)

    def make(strategy: str) -> Head:
        return make_head(arguments.head, {**settings, "strategy": strategy}, store.classes)

    for name in names:  # a wrong one is known before the first run
        make(name)
    chosen = choice(arguments)
    labelled = chosen.labelled(store)
    whole = chosen.load_twice(store, make(PLAIN), labelled)
    trial = Trial(
        make=make, strategies=names, seeds=arguments.seeds, folds=folds(whole), must=bool(named)
    )
    folder.begin(
        {"head": arguments.head, "settings": settings, "strategies": names,
         "videos": data_state(whole)}
    )  # fmt: skip
    for _ in tqdm(trial.run(arguments.out), total=trial.count, unit="run", disable=None):
        pass
    found = trial.found(arguments.out)
    print(found.text())
    for suffix, text in {"txt": found.text() + "\n", "csv": found.csv()}.items():
        write_file(arguments.out / f"strategies.{suffix}", [text.encode()])
    print(f"views: {whole.train.protocol}; text and CSV: {arguments.out}")
    return 0
