"""`telltale verdict`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "verdict",
        help="say what a row of a file of scores means, from the file alone",
        description="Explains rows of what `telltale score --out` wrote, with neither bundle nor "
        "video at hand: the verdict, the threshold and its promise, what made it and when. "
        "Without an ID: what the file says of itself.",
    )
    parser.add_argument("scores", type=Path, metavar="FILE", help=".parquet, .csv or .jsonl")
    parser.add_argument("ids", nargs="*", metavar="ID", help="of rows, as the column `id` has them")
    parser.add_argument(
        "--evidence", action="store_true",
        help="read the videos too, where they still lie as they were scored: content credentials "
        "(C2PA, extra `c2pa`), and traces of the programs that wrote them",
    )  # fmt: skip
    parser.set_defaults(run=_verdict)


def _verdict(arguments: argparse.Namespace) -> int:
    from heads.errors import BadSetting
    from heads.scoring.evidence import evidence_of, on_screen
    from heads.scoring.formats import SUFFIXES
    from heads.scoring.meaning import Meaning, only_id, rows_of
    from heads.scoring.output import read_about
    from heads.scoring.screen import file_lines, screen

    out: Path = arguments.scores
    if out.suffix not in SUFFIXES:
        raise BadSetting(f"{out}: give a file that ends in {', '.join(SUFFIXES)}.")
    meaning = Meaning.read(out)
    ids = arguments.ids or [name for name in [only_id(out)] if name]
    if not ids:
        print("\n".join(file_lines(read_about(out), meaning)))
        return 0
    for number, row in enumerate(rows_of(out, ids)):
        print(*([""] if number else []), *screen(row, meaning), *version_lines(row), sep="\n")
        if arguments.evidence:
            print(*on_screen(evidence_of(row)), sep="\n")
    return 0


def version_lines(row: dict[str, object]) -> list[str]:
    """Which file it was, where that was seen."""
    if row.get("size") is None:
        return []
    return [f"  of {row['path']}, {row['size']:,} bytes, changed last {row['modified']}"]
