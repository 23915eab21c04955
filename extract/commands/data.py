"""Commands that look at videos. Mounted by `heads.commands.main`."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands import cutting
from extract.exit_codes import SOME_FAILED
from extract.processes import default_workers

if TYPE_CHECKING:
    from extract.decoding.containers import Limits
    from extract.decoding.job import Outcome
    from extract.manifest.manifest import Manifest

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add this package's commands to the `telltale` parser."""
    _add_synth(commands)
    _add_manifest(commands)
    _add_probe(commands)


def _add_synth(commands: "Commands") -> None:
    synth = commands.add_parser(
        "synth", help="write a small made-up data set", description="Writes the HFV layout."
    )
    synth.add_argument("--out", required=True, type=Path, help="a new folder")
    synth.add_argument("--videos", required=True, type=int, help="how many clips")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument(
        "--difficulty", type=float, default=0.3, help="0: obvious anomalies … 1: hardly visible"
    )
    synth.add_argument(
        "--shot", choices=("full", "close"), default="full",
        help="the whole person, or head to hips with hands and face large (default: full)",
    )  # fmt: skip
    add_overwrite_option(synth)
    synth.set_defaults(run=_synth)


def _add_manifest(commands: "Commands") -> None:
    manifest = commands.add_parser(
        "manifest", help="check a manifest, rank its scores, or cut its videos"
    )
    actions = manifest.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read a manifest and report every problem")
    add_manifest_options(check)
    check.add_argument("--require-ranks", action="store_true", help="labelled rows need a rank")
    check.add_argument("--names-only", action="store_true", help="do not look for the files")
    check.set_defaults(run=_manifest_check)
    rank = actions.add_parser(
        "rank",
        help="make ranks from raw anomaly scores",
        description="Ranks scores inside each class, r/n: small means more obvious.",
    )
    add_manifest_options(rank)
    rank.add_argument("--out", required=True, type=Path, help="the CSV to write")
    rank.add_argument(
        "--obvious",
        choices=("high", "low"),
        default="high",
        help="which scores belong to the obvious anomalies (default: high)",
    )
    add_overwrite_option(rank)
    rank.set_defaults(run=_manifest_rank)
    cut = cutting.add_action(actions)
    add_manifest_options(cut)
    add_overwrite_option(cut)
    add_limit_options(cut)


def add_manifest_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "manifest",
        metavar="MANIFEST",
        help="HFV root or folder, .csv, .parquet, .jsonl, .txt, a folder of videos, or - for a "
        "list on standard input",
    )
    parser.add_argument("--scheme", help="label scheme: hfv4, hfv4-paper or hfv2")
    parser.add_argument("--root", type=Path, help="where the manifest's paths start")
    parser.add_argument(
        "--layout", metavar="NAME[:VERSION]", help="another benchmark's files: "
        "deepfakebench[:c23], genvideo, genvidbench, synthforensics[:crf23], aigvdbench, clips",
    )  # fmt: skip


def _add_probe(commands: "Commands") -> None:
    probe = commands.add_parser(
        "probe",
        help="open and decode every video, and say which ones fail and why",
        description="Decodes each video's frames for a protocol in worker processes and reports "
        "one line a video. Exit status: 0 all ok, 3 some failed, 1 nothing could be done.",
    )
    add_manifest_options(probe)
    probe.add_argument("--protocol", default="val", help="val, test-4x3, train-8, … (default: val)")
    probe.add_argument("--decoder", default="pyav", help="pyav or decord (default: pyav)")
    probe.add_argument("--workers", type=int, default=default_workers())
    probe.add_argument("--quiet", action="store_true", help="only failures and the summary")
    add_limit_options(probe)
    probe.set_defaults(run=_probe)


def add_overwrite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a result that is there, whoever made it"
    )


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits of one video")
    group.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="of decoding, for each protocol"
    )
    group.add_argument("--memory-limit", type=int, metavar="BYTES")
    group.add_argument("--max-pixels", type=int, metavar="N", help="of a frame")
    group.add_argument("--max-seconds", type=float, metavar="SECONDS", help="duration")
    group.add_argument("--max-bytes", type=int, metavar="BYTES", help="file size")


def _synth(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from extract.synthesis.data_set import SyntheticOptions, write_data_set

    options = SyntheticOptions(
        videos=arguments.videos, seed=arguments.seed, difficulty=arguments.difficulty,
        shot=arguments.shot,
    )  # fmt: skip
    written = write_data_set(arguments.out, options, overwrite=arguments.overwrite)
    count = sum(1 for _ in tqdm(written, total=options.videos, unit="clip", disable=None))
    there = "" if count else "; there already"
    print(f"{options.videos} clips in {arguments.out} (HFV layout, scheme hfv4{there})")
    return 0


def read(arguments: argparse.Namespace, *, ranks: bool = False, files: bool = False) -> "Manifest":
    from extract.manifest.manifest import ManifestOptions, read_manifest

    options = ManifestOptions(
        scheme=arguments.scheme, root=arguments.root, layout=arguments.layout,
        require_ranks=ranks, check_files=files,
    )  # fmt: skip
    return read_manifest(arguments.manifest, options, listing=sys.stdin)


def _manifest_check(arguments: argparse.Namespace) -> int:
    from collections import Counter

    manifest = read(arguments, ranks=arguments.require_ranks, files=not arguments.names_only)
    classes = manifest.scheme.classes if manifest.scheme else ()
    labels = Counter(
        classes[video.label] if video.label >= 0 else "no label" for video in manifest.videos
    )
    for title, counts in (
        ("label", labels),
        ("split", Counter(video.split or "none" for video in manifest.videos)),
        ("source", Counter(video.source or "none" for video in manifest.videos)),
    ):
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        print(f"{title + ':':8} {listed}")
    for note in manifest.notes:
        print(f"not here: {note}")
    ranked = sum(video.rank == video.rank for video in manifest.videos)
    scheme = manifest.scheme.name if manifest.scheme else "none"
    print(f"{len(manifest.videos)} videos, {ranked} with a rank, scheme {scheme}: no problems")
    return 0


def _manifest_rank(arguments: argparse.Namespace) -> int:
    import csv
    import io
    from dataclasses import replace

    from extract.manifest.manifest import table_rows
    from extract.manifest.ranks import with_ranks
    from features_store.outputs import Product

    out = Product(arguments.out, "manifest rank", overwrite=arguments.overwrite)
    made_from = {"manifest": arguments.manifest, "obvious": arguments.obvious}
    out.check(made_from)
    manifest = read(arguments)
    ranked = with_ranks(manifest.videos, obvious=arguments.obvious)
    folder = Path(os.path.abspath(arguments.out.parent))  # noqa: PTH100, links stay links
    moved = [
        replace(video, id=Path(os.path.relpath(video.path, folder)).as_posix()) for video in ranked
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table_rows(moved, manifest.scheme))
    out.write([text.getvalue().encode()], made_from)
    print(f"{sum(video.rank == video.rank for video in ranked)} ranks in {arguments.out}")
    return 0


def _probe(arguments: argparse.Namespace) -> int:
    from collections import Counter

    from tqdm import tqdm

    from extract.decoding.job import Job, Look, Plan
    from extract.decoding.pool import DecodePool

    manifest = read(arguments)
    plan = Plan(
        looks=(Look(protocol=arguments.protocol),),
        root=str(manifest.root),
        decoder=arguments.decoder,
        limits=limits(arguments),
    )
    jobs = (
        Job(index=index, id=video.id, path=video.path)
        for index, video in enumerate(manifest.videos)
    )
    results: Counter[str] = Counter()
    total = len(manifest.videos)
    with (
        DecodePool(plan, workers=min(arguments.workers, total)) as pool,
        tqdm(total=total, unit="video", disable=None) as progress,
    ):
        for outcome in pool.run(jobs):
            progress.update()
            results["ok" if outcome.ok else "failed"] += 1
            if not (outcome.ok and arguments.quiet):
                progress.write(_line(outcome), file=sys.stdout)
    print(f"{total} videos: {results['ok']} ok, {results['failed']} failed")
    return SOME_FAILED if results["failed"] else 0


def _line(outcome: "Outcome") -> str:
    from extract.errors import one_line

    name = one_line(outcome.job.id)
    if outcome.info is None:
        return f"failed  {name}: {outcome.failure}"
    info = outcome.info
    return (
        f"ok      {name}: {info.frames} frames, {info.width}x{info.height}, {info.fps:.4g} fps, "
        f"{info.codec} by {info.decoder}"
    )


def limits(arguments: argparse.Namespace) -> "Limits":
    from dataclasses import replace

    from extract.decoding.containers import Limits

    names = ("time_limit", "memory_limit", "max_pixels", "max_seconds", "max_bytes")
    given = {name: getattr(arguments, name) for name in names}
    return replace(Limits(), **{name: value for name, value in given.items() if value is not None})
