"""`telltale score`. Mounted by `heads.commands.main`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.cutting import cut_manifest
from extract.commands.data import add_limit_options
from extract.running.interrupt import Interrupt
from heads.commands import watching
from heads.commands.asked import add_more_options, asked
from heads.commands.bundled import add_bundle_option, add_machine_options, add_network_options
from heads.commands.outcome import a_line_each, end, one_video
from heads.commands.segmented import say_segments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from extract.manifest.manifest import Manifest
    from features_store import Store
    from heads.bundle import Bundle
    from heads.commands.picture import Picture
    from heads.scoring.archive import Result
    from heads.scoring.output import Output
    from heads.scoring.scorer import Scorer

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_ON_SCREEN = 20
"""Videos whose verdicts need no file."""


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "score",
        help="say of videos whether they are generated, and what is wrong with them",
        description="Scores videos, folders, manifests or a store with a bundle. One row per "
        "input, also for those that fail. The same command goes on after an interruption, and "
        "scores what is new or was replaced. Exit status: 0 all scored, 3 some failed, 1 nothing "
        "could be done, 130 interrupted.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="videos, folders, HFV roots, .csv, .parquet, .jsonl, .txt, - for a list on standard "
        "input; or a store",
    )  # fmt: skip
    parser.add_argument("--scheme", help="of labels that are to be taken along: hfv4, …")
    parser.add_argument("--root", type=Path, help="where the paths in a manifest start")
    add_bundle_option(parser)
    parser.add_argument(
        "--out", type=Path, help=".parquet, .csv or .jsonl; up to 20 videos may go without"
    )
    parser.add_argument(
        "--overwrite", action="store_true",
        help="replace results that are there, whoever made them from what",
    )  # fmt: skip
    parser.add_argument(
        "--retry-failed", action="store_true", help="score videos that failed once more"
    )
    parser.add_argument("--protocol", help="default: the bundle's own, val for a training one")
    add_network_options(parser)
    parser.add_argument("--store", help="keep features here")
    parser.add_argument("--reference", help="a store: name each video's nearest example in it")
    parser.add_argument("--error-rate", help="of the sets of classes, one that the bundle has "
                        "thresholds for (default: 0.1)")  # fmt: skip
    add_machine_options(parser)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="of the Ray cluster")
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS",
        help="a folder: look for new files again and again; --out must be .jsonl",
    )  # fmt: skip
    parser.add_argument(
        "--exec", metavar="COMMAND",
        help="with --watch: run it for each row, which it reads as JSON from standard input",
    )  # fmt: skip
    parser.add_argument(
        "--explain", type=Path, metavar="PICTURE", help="one video: why, as a picture (.png, …)"
    )
    add_more_options(parser)
    add_limit_options(parser)
    parser.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    from features_store import Store
    from heads.bundle import Bundle
    from heads.commands.device import one_device
    from heads.errors import BadSetting
    from heads.scoring.branches import check_weights
    from heads.shipped.places import default_bundle

    if arguments.exec is not None and arguments.watch is None:
        raise BadSetting("--exec runs a command for each row of --watch; give --watch SECONDS.")
    arguments.device = one_device(arguments.device)
    check_weights(arguments.weights)
    arguments.bundle = arguments.bundle or default_bundle()
    bundle = Bundle.load(arguments.bundle)
    scorer, reference = _scorer(arguments, bundle)
    if _is_store(arguments.inputs):
        _say_worth(bundle)
        return _from_store(arguments, scorer, Store.open(arguments.inputs[0]), reference)
    protocol = arguments.protocol or bundle.scoring_protocol
    if arguments.watch is not None:
        _say_worth(bundle)
        return watching.watch(arguments, scorer, protocol, reference)
    manifest = _manifest(arguments)
    found = cut_manifest(arguments, manifest)
    manifest = found.manifest if found else manifest
    return _from_videos(arguments, scorer, manifest, protocol, reference)


def _say_worth(bundle: "Bundle") -> None:
    """Before rows go to a file: what they are worth."""
    from heads.parts.model_card import first_lines

    print("\n".join(first_lines(bundle.about)))


def _scorer(arguments: argparse.Namespace, bundle: "Bundle") -> "tuple[Scorer, str | None]":
    """And what the reference was."""
    from features_store import Store
    from heads.scoring.about import reference_state
    from heads.scoring.neighbours import Neighbours
    from heads.scoring.scorer import Scorer

    if not arguments.reference:
        return Scorer(bundle=bundle, rate=arguments.error_rate), None
    store = Store.open(arguments.reference)
    names = store.protocols()
    wanted = arguments.protocol or bundle.scoring_protocol
    protocol = wanted if wanted in names else names[0]
    neighbours = Neighbours(store, protocol)
    scorer = Scorer(bundle=bundle, rate=arguments.error_rate, neighbours=neighbours)
    return scorer, reference_state(store, protocol)


def say_seen(bundle: "Bundle", ids: "Sequence[object]") -> None:
    """In the first lines: how many of these videos the bundle knows already, by their ids."""
    if seen := bundle.rows.seen(ids):
        print(f"careful: {seen}")


def _is_store(names: list[str]) -> bool:
    """A folder that has a store's document, or a URL of an object store."""
    (name, *more) = names
    remote = "://" in name and not name.startswith(("http://", "https://", "ftp://"))
    return not more and (remote or (Path(name) / "zarr.json").exists())


def _manifest(arguments: argparse.Namespace) -> "Manifest":
    from heads.scoring.inputs import read_inputs

    return read_inputs(arguments.inputs, arguments.scheme, arguments.root, sys.stdin)


def _output(
    arguments: argparse.Namespace, out: Path, scorer: "Scorer", plan: "dict[str, Any]"
) -> "Output":
    from heads.scoring.about import about
    from heads.scoring.output import Output

    papers = about(scorer, plan, arguments.bundle.name)
    return Output(out, plan, about=papers, overwrite=arguments.overwrite)


def _from_store(
    arguments: argparse.Namespace, scorer: "Scorer", store: "Store", reference: str | None
) -> int:
    from heads.errors import BadSetting
    from heads.scoring.about import plan
    from heads.scoring.archive import score_store
    from heads.scoring.run import NOTICE

    if arguments.out is None:
        raise BadSetting("A store's scores go to a file: give --out scores.parquet.")
    looks = (arguments.explain, arguments.watch, arguments.segments)
    flags = arguments.retry_failed or arguments.stress
    if flags or any(one is not None for one in looks):
        raise BadSetting(
            "--retry-failed, --explain, --segments, --stress and --watch look at videos, and this "
            "is a store of features; `telltale extract --retry-failed` tries failed videos again."
        )
    names = store.protocols()
    protocol = arguments.protocol or (
        names[0] if len(names) == 1 else scorer.bundle.scoring_protocol
    )
    say_seen(scorer.bundle, store.videos.column("id").tolist())
    made_from = plan(scorer, protocol, store.place.name, reference, **asked(arguments, protocol))
    output = _output(arguments, arguments.out, scorer, made_from)
    with Interrupt(NOTICE) as interrupt:
        result = score_store(
            scorer, store, protocol, output, lambda: interrupt.asked, groups=arguments.groups
        )
    return end(output, result, scorer.drift)


def _from_videos(
    arguments: argparse.Namespace,
    scorer: "Scorer",
    manifest: "Manifest",
    protocol: str,
    reference: str | None,
) -> int:
    import tempfile

    from extract.manifest.segments import segment_of
    from heads.errors import BadSetting
    from heads.scoring.about import plan
    from heads.scoring.meaning import Meaning

    table = manifest.table
    say_seen(scorer.bundle, table.ids)
    count = len(set(table.paths()))
    if count > 1 and arguments.explain is not None:
        raise BadSetting(f"--explain takes one video; {' '.join(arguments.inputs)} has {count}.")
    if count > _ON_SCREEN and arguments.out is None:
        raise BadSetting(f"{count:,} videos: give --out scores.parquet for their rows.")
    cut = any(map(segment_of, table.ids, table.paths()))
    meaning = Meaning.of(scorer.bundle, arguments.bundle.name)
    made_from = plan(scorer, protocol, str(manifest.root), reference, **asked(arguments, protocol))
    if arguments.out is not None and arguments.explain is None and not cut:
        _say_worth(scorer.bundle)
        output = _output(arguments, arguments.out, scorer, made_from)
        return end(output, _score_all(arguments, scorer, manifest, protocol, output), scorer.drift)
    picture = _picture(arguments, scorer.bundle, manifest, protocol)
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder) / "scores.parquet"
        output = _output(arguments, out, scorer, made_from)
        if cut:
            result = _score_all(arguments, scorer, manifest, protocol, output)
            return say_segments(arguments, output, result, meaning, picture, scorer.drift)
        if count == 1:
            return one_video(
                arguments, meaning, output,
                lambda: _score_all(arguments, scorer, manifest, protocol, output), picture,
            )  # fmt: skip
        result = _score_all(arguments, scorer, manifest, protocol, output)
        return a_line_each(meaning, manifest, output, result)


def _picture(
    arguments: argparse.Namespace, bundle: "Bundle", manifest: "Manifest", protocol: str
) -> "Picture | None":
    if arguments.explain is None:
        return None
    from heads.commands.picture import Picture  # brings matplotlib

    return Picture(arguments, bundle, manifest, protocol)


def _score_all(
    arguments: argparse.Namespace,
    scorer: "Scorer",
    manifest: "Manifest",
    protocol: str,
    output: "Output",
) -> "Result":
    from heads.scoring.archive import VideoRun, score_videos
    from heads.scoring.run import NOTICE, extract_settings, load_branches, runner

    with Interrupt(NOTICE) as interrupt:
        videos = VideoRun(
            manifest=manifest,
            branches=lambda: load_branches(arguments, scorer.bundle),
            settings=extract_settings(arguments, protocol),
            run=runner(arguments, interrupt, bar=len(manifest.videos) > 1),
            keep=arguments.store,
            retry_failed=arguments.retry_failed,
            cut=arguments.segments is not None,
            stress=arguments.stress,
            groups=arguments.groups,
        )
        return score_videos(scorer, videos, output)
