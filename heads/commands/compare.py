"""`telltale compare`. Mounted by `heads.commands.main`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.device import DEVICE_HELP

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    compare = commands.add_parser(
        "compare",
        help="many detectors on the same videos of one store: the paper's Tables 2 and 4",
        description="Trains each detector on the same videos, several seeds, and judges all on the "
        "videos that every one of them has features of: per generator and on average, with "
        "intervals, paired tests against one of them, floors, published figures and cost. What "
        "the store lacks is said. Run again, or with more detectors, it trains what is missing. "
        "Text, CSV, LaTeX, JSON and a figure go to --out; `telltale report` shows them.",
    )
    compare.add_argument(
        "--detectors", required=True, metavar="NAME,NAME",
        help="recipes (telltale detectors), or FILE.toml of your own; `ready`: all that need no "
        "download",
    )  # fmt: skip
    compare.add_argument("--store", required=True)
    compare.add_argument("--seeds", type=int, default=3, help="of each (default: %(default)s)")
    compare.add_argument(
        "--validation", type=float, metavar="SHARE",
        help="take this share of the training videos, chosen by id, instead of split `val`",
    )  # fmt: skip
    compare.add_argument(
        "--against", metavar="NAME", help="what the others are tested against (default: the first)"
    )
    compare.add_argument("--out", type=Path, default=Path("runs/compare"), help="%(default)s")
    compare.add_argument("--device", default="auto", help=DEVICE_HELP)
    add_overwrite_option(compare)
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from features_store import Store
    from features_store.commit import write_file
    from features_store.outputs import Folder
    from features_store.schema import fingerprint
    from heads.commands.device import one_device
    from heads.comparing.latex import latex
    from heads.comparing.run import Comparing, Plan
    from heads.comparing.tables import csv_text, document, text
    from heads.detectors.recipe import read_recipes
    from heads.figures.standings import standings
    from heads.judging.evaluation import ALL

    folder = Folder(arguments.out, "compare", overwrite=arguments.overwrite)
    store = Store.open(arguments.store)
    plan = Plan(
        recipes=read_recipes(arguments.detectors), seeds=arguments.seeds,
        validation=arguments.validation, against=arguments.against,
        device=one_device(arguments.device),
    )  # fmt: skip
    videos = {n: store.videos.column(n).tolist() for n in ("id", "label", "split")}
    made_from = {"videos": fingerprint(videos), "validation": arguments.validation}
    folder.check(made_from)
    comparing = Comparing(store, plan)
    folder.begin(made_from)
    for name, why in comparing.missing.items():
        print(f"not compared, {name}: {why}")
    for _ in tqdm(comparing.runs(arguments.out), total=comparing.total, unit="run", disable=None):
        pass
    found = comparing.collected()
    first = found.layouts[0]
    rows = {name: first.cell(name, ALL, "auc") for name in first.said}
    hollow = {one.name for one in found.entries if one.random}
    results = {
        "txt": text(found), "csv": csv_text(found), "tex": latex(found),
        "svg": standings(rows, hollow, f"AUC, percent, {first.title}, {ALL}"),
        "json": json.dumps(document(found), indent=1) + "\n",
    }  # fmt: skip
    for suffix, content in results.items():
        write_file(arguments.out / f"comparison.{suffix}", [content.encode()])
    print(results["txt"], end="")
    print(f"text, CSV, LaTeX, JSON, figure: {arguments.out}")
    return 0
