"""`telltale report`. Mounted by `heads.commands.main`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    report = commands.add_parser(
        "report",
        help="one HTML page of all that a run's folder holds",
        description="Gathers what train, evaluate, compare, ablate, tune, cross, audit and score "
        "left in RUN and two levels below, in one file that opens from disk and needs no network.",
    )
    report.add_argument("folder", type=Path, metavar="RUN", help="folder with the run's results")
    report.add_argument("--out", type=Path, metavar="PAGE", help="default: RUN/report.html")
    add_overwrite_option(report)
    report.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from heads.reporting.page import write_report

    def bar(total: int) -> Callable[[], object]:
        progress = tqdm(total=total, desc="frames", unit=" videos", disable=None)
        return lambda: progress.update()

    written = write_report(arguments.folder, arguments.out, bar, overwrite=arguments.overwrite)
    print(f"shown: {', '.join(written.sections)}")
    for problem in written.problems:
        print(f"not shown: {problem}")
    print(f"page: {written.page}")
    return 0
