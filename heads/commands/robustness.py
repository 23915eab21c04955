"""`telltale robustness`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option

if TYPE_CHECKING:
    from heads.judging.robustness import Robustness

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_SHOWN = 5


def add_commands(commands: "Commands") -> None:
    """Add this module's command to the `telltale` parser."""
    robustness = commands.add_parser(
        "robustness",
        help="what JPEG, blur, re-encoding, screens … do to a bundle's verdicts",
        description="The paper's Table 5: every perturbed protocol of the store against the "
        "undamaged one, on the same videos, with the verdicts that flip.",
    )
    robustness.add_argument("bundle", type=Path)
    robustness.add_argument("--store", required=True)
    robustness.add_argument(
        "--protocol", help="the undamaged one (default: as evaluate chooses it)"
    )
    robustness.add_argument("--split", default="test", help="'all' for every video")
    robustness.add_argument(
        "--out", type=Path, help="a folder for robustness.json, .txt, .svg and flips.csv"
    )
    add_overwrite_option(robustness)
    robustness.set_defaults(run=_robustness)


def _robustness(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from features_store.outputs import Folder
    from heads.bundle import Bundle
    from heads.data.splits import in_split
    from heads.functions import split_table
    from heads.judging.robustness import robustness

    folder = None
    if arguments.out is not None:
        folder = Folder(arguments.out, "robustness", overwrite=arguments.overwrite)
    store, bundle = Store.open(arguments.store), Bundle.load(arguments.bundle)
    base = split_table(bundle, store, arguments.protocol, arguments.split).protocol
    mask = store.videos.column("label") >= 0
    if arguments.split != "all":
        mask = mask & in_split(store, arguments.split)
    if folder is not None:
        made_from = {"bundle": bundle.content, "store": store.place.name, "protocol": base,
                     "split": arguments.split}  # fmt: skip
        folder.begin(made_from)
    found = robustness(bundle, store, base, mask)
    print(found.text())
    flips = found.flips()
    for video, damage in list(flips.items())[:_SHOWN]:
        print(f"flips most: {video} under {', '.join(damage)}")
    if arguments.out is not None:
        _write(found, flips, arguments.out)
    return 0


def _write(found: "Robustness", flips: dict[str, list[str]], folder: Path) -> None:
    import csv
    import json

    from heads.figures import charts

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "robustness.json").write_text(json.dumps(found.to_json(), indent=1) + "\n")
    (folder / "robustness.txt").write_text(found.text() + "\n")
    curves = found.curves()
    if curves:
        (folder / "robustness.svg").write_text(charts.strengths(curves, found.columns[""].auc))
    with (folder / "flips.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id", "flips", "under"))
        writer.writerows((name, len(damage), " ".join(damage)) for name, damage in flips.items())
    print(f"table, curves and every flip: {folder}")
