"""`telltale label`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from extract.exit_codes import INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extract.labelling.label import Labelling
    from extract.people.spots import Spot

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

NOTICE = "telltale: finishing what has begun; run the same command again to go on."


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "label",
        help="label a generator's videos by three prior scores, and check them by eye",
        description="Scores every video (spatial, appearance, motion), ranks the scores inside "
        "each generator, takes the highest-ranked anomaly as the label, splits, and writes the "
        "HFV layout with a review page. Decisions from that page are merged with --apply. Exit "
        "status: 0 all ok, 3 some videos have no label, 1 nothing could be done, 130 interrupted.",
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="a generator's videos, one each"
    )
    parser.add_argument("--out", required=True, type=Path, help="the labelled set's folder")
    parser.add_argument(
        "--real", type=Path, metavar="FOLDER", help="real videos: split, not ranked"
    )
    parser.add_argument("--store", help="where scores are kept (default: OUT/priors.zarr)")
    parser.add_argument(
        "--pairs", type=int, default=32, metavar="N",
        help="pairs of adjacent frames that are scored in each video (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
    parser.add_argument(
        "--scorer", action="append", default=[], metavar="NAME=PRESET[:WEIGHTS][?OPTIONS]",
        help="a network for a score, in place of the one without weights; repeatable. "
        "motion=raft:raft-things.pth, spatial=depthpro:FOLDER?raft=raft-things.pth",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="auto", help="of the networks: cpu, cuda or cuda:1 (default: a GPU if "
        "there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--review", type=int, default=400, metavar="N",
        help="clips in review.html, the most doubtful first; 0 for no page (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--findings", type=Path, metavar="SCORES",
        help="scores of OUT by a bundle that looks at persons (telltale score OUT … --out "
        "SCORES.parquet): the page shows the frame and the box that look worst in each video",
    )  # fmt: skip
    parser.add_argument(
        "--apply", type=Path, metavar="CSV", help="merge decisions of the review page into OUT"
    )
    add_overwrite_option(parser)
    parser.set_defaults(run=_label)


def _label(arguments: argparse.Namespace) -> int:
    from extract.errors import BadSetting

    if arguments.apply is not None:
        if arguments.folders or arguments.real or arguments.findings:
            raise BadSetting("--apply changes a set that is there; give it --out, no folders.")
        return _apply(arguments)
    if not arguments.folders:
        raise BadSetting("Nothing to label; give FOLDER…, or --apply decisions.csv.")
    return _make(arguments)


def _apply(arguments: argparse.Namespace) -> int:
    from extract.labelling import labelled_set

    before = labelled_set.read(arguments.out)
    decisions = labelled_set.read_decisions(arguments.apply)
    after = before.with_decisions(decisions)
    labelled_set.write(arguments.out, after)
    changed = sum(
        old.label != new.label for old, new in zip(before.entries, after.entries, strict=True)
    )
    print(f"{len(decisions)} decisions, {changed} labels changed")
    print("\n".join(after.summary()))
    return 0


def _make(arguments: argparse.Namespace) -> int:
    from extract.branch import BranchRequest
    from extract.commands.extract import device_names
    from extract.errors import BadSetting
    from extract.labelling.label import LabelOptions, label
    from extract.people.spots import read_spots
    from extract.running.interrupt import Interrupt
    from features_store.outputs import Folder

    if "," in arguments.device:
        raise BadSetting(f"--device {arguments.device}: labelling uses one device; name one.")
    spots = {} if arguments.findings is None else read_spots(arguments.findings)
    folder = Folder(arguments.out, "label", overwrite=arguments.overwrite)
    folder.begin({})
    options = LabelOptions(
        folders=tuple(arguments.folders),
        out=arguments.out,
        real=arguments.real,
        store=arguments.store,
        pairs=arguments.pairs,
        workers=arguments.workers,
        scorers=tuple(BranchRequest.parse(text) for text in arguments.scorer),
        device=device_names(arguments.device)[0],
    )
    with Interrupt(NOTICE) as interrupt:
        found = label(options, stop=lambda: interrupt.asked)
        if found.summary.stopped:
            return INTERRUPTED
    scored_by = f"scored by: {', '.join(found.scored_by)}"
    print("\n".join([*found.summary.lines(), scored_by, *found.made.summary()]))
    if arguments.review:
        _review(arguments, found, spots)
    print(f"labelled set: {arguments.out} (HFV layout, scheme hfv4)")
    if found.failures:
        print(f"{len(found.failures)} videos have no label: {arguments.out / 'failures.csv'}")
    return SOME_FAILED if found.failures else 0


def _review(arguments: argparse.Namespace, found: "Labelling", spots: "Mapping[str, Spot]") -> None:
    from extract.labelling.review import write_page

    page = arguments.out / "review.html"
    shown = write_page(page, found, arguments.review, arguments.workers, spots)
    known = sum(entry.id in spots for entry in found.made.entries)
    marked = "" if arguments.findings is None else f", {known} videos with what looks worst"
    print(f"review page: {page} ({shown} clips{marked})")
    if arguments.findings is not None and not known:
        print(_none_known(arguments, list(spots), [entry.id for entry in found.made.entries]))


def _none_known(arguments: argparse.Namespace, has: list[str], wanted: list[str]) -> str:
    """Why the page shows nothing of the findings, and what to do."""
    from extract.errors import one_line

    if not has:
        return f"{arguments.findings} knows of no video in which somebody looks worst."
    named, called = (", ".join(map(one_line, sorted(ids)[:3])) for ids in (has, wanted))
    return (
        f"{arguments.findings} has {len(has)} other videos ({named}{', …' * (len(has) > 3)}); here "
        f"they are {called}{', …' * (len(wanted) > 3)}. Score the labelled set itself and label "
        f"again: telltale score {arguments.out} --bundle BUNDLE --out {arguments.findings}"
    )
