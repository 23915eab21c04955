"""`--segments`, and `telltale manifest cut`: long videos as rows that are segments of them."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from extract.exit_codes import SOME_FAILED

if TYPE_CHECKING:
    from extract.manifest.manifest import Manifest
    from extract.running.cutting import Cut

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

HOW = (
    "windows=10s: every so many seconds; shots: at shot boundaries, long shots in equal parts; "
    "shots:transnetv2: boundaries by the network TransNetV2, dissolves too (extra `shots`)"
)


def add_segments_option(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument("--segments", metavar="HOW", required=required, help=HOW)


def add_action(actions: "Actions") -> argparse.ArgumentParser:
    """Without the options that every manifest has."""
    parser = actions.add_parser(
        "cut",
        help="make a manifest of the segments of long videos",
        description="Writes a row PATH#t=START,END for each segment, in seconds, with its video's "
        "label, source, split and group (the video where it has none). Labels of segments can be "
        "changed in the CSV; extract, train and score take it as any manifest. Exit status: 0 all "
        "cut, 3 some could not be and stay whole, 1 nothing could be done.",
    )
    add_segments_option(parser, required=True)
    parser.add_argument("--out", required=True, type=Path, help="the CSV to write")
    parser.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
    parser.set_defaults(run=_manifest_cut)
    return parser


def cut_manifest(arguments: argparse.Namespace, manifest: "Manifest") -> "Cut | None":
    """As `--segments` says; None where it says nothing."""
    from tqdm import tqdm

    from extract.commands.data import limits
    from extract.decoding.cuts import Cutting
    from extract.errors import one_line
    from extract.processes import default_workers
    from extract.running.cutting import cut

    if arguments.segments is None:
        return None
    cutting = Cutting.parse(arguments.segments)
    with tqdm(total=len(manifest.videos), unit="video", desc="cutting", disable=None) as progress:
        found = cut(
            manifest, cutting, limits(arguments),
            workers=arguments.workers or default_workers(), done=progress.update,
        )  # fmt: skip
    for video, reason in found.failures:
        print(f"not cut  {one_line(video)}: {reason}")
    print(f"{found.videos} videos, {len(found.manifest.videos)} rows ({cutting})", flush=True)
    return found


def _manifest_cut(arguments: argparse.Namespace) -> int:
    import csv
    import io
    from dataclasses import replace

    from extract.commands.data import read
    from extract.manifest.manifest import table_rows
    from features_store.outputs import Product

    out = Product(arguments.out, "manifest cut", overwrite=arguments.overwrite)
    made_from = {"manifest": arguments.manifest, "segments": arguments.segments}
    out.check(made_from)
    found = cut_manifest(arguments, read(arguments))
    assert found is not None
    folder = Path(os.path.abspath(arguments.out.parent))  # noqa: PTH100, links stay links
    moved = []
    for video in found.manifest.videos:
        name = Path(os.path.relpath(video.path, folder)).as_posix()
        moved.append(replace(video, id=f"{name}{video.segment or ''}"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table_rows(moved, found.manifest.scheme))
    out.write([text.getvalue().encode()], made_from)
    print(arguments.out)
    return SOME_FAILED if found.failures else 0
