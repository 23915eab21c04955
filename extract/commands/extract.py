"""`telltale extract`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.cutting import add_segments_option, cut_manifest
from extract.commands.data import add_limit_options, add_manifest_options, limits, read
from extract.errors import one_line
from extract.exit_codes import DONE, INTERRUPTED, SOME_FAILED

if TYPE_CHECKING:
    from extract.running.extraction import Extraction
    from extract.running.pipeline import Settings
    from extract.running.run import Run
    from extract.running.summary import Summary

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SHOWN = 5
NOTICE = (
    "telltale: finishing what has begun (ctrl-C again stops at once); run the same command again "
    "to go on."
)


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "extract",
        help="run the networks over every video once, and keep what they say",
        description="Decodes each video once, for all protocols, views and branches, and writes "
        "shards to a feature store. What is there already is skipped, so the same command "
        "resumes. Exit status: 0 all ok, 3 some videos failed, 1 nothing could be done, 130 "
        "interrupted.",
    )
    add_manifest_options(parser)
    parser.add_argument("--store", required=True, help="folder or URL; made where there is none")
    parser.add_argument(
        "--protocol",
        default="val",
        help="val, test-4x3, train-8, pairs-32, frames-16@8, windows-4x32, … with +blur3 …; of "
        "all branches that name none of their own (default: %(default)s)",
    )
    parser.add_argument(
        "--branch",
        action="append",
        required=True,
        metavar="NAME=PRESET[:WEIGHTS]",
        help="internvideo2=L14:weights.bin, depthpro=L16:depth_pro.pt, or =tiny; give it once for "
        "each branch; ?outputs=cls,avg,attn,tokens and other options may follow, "
        "?protocol=frames-16@8 for a protocol of its own: still one decode a video; "
        "?crop=person&boxes=FILE looks at one person in place of the whole frame",
    )
    parser.add_argument("--split", help="only the videos of this split")
    add_segments_option(parser)
    parser.add_argument(
        "--canonical", action="store_true", help="encode every video the same way first, so that "
        "no codec setting tells it; the same as +canonical in the protocol's name",
    )  # fmt: skip
    parser.add_argument("--retry-failed", action="store_true", help="try failed videos again")
    parser.add_argument(
        "--changed", choices=("say", "recompute", "ignore"), default="say",
        help="videos whose files changed since they were extracted: say so and leave them, do them "
        "anew, or do not look (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and cost")
    parser.add_argument(
        "--max-failed", type=float, default=0.2, metavar="SHARE",
        help="stop when more of the videos fail, after the first 100 (default: %(default)s)",
    )  # fmt: skip
    _add_engine_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of train views (default: 0)")
    parser.add_argument("--shard-rows", type=int, help="videos a shard (default: 64 MiB, ≤ 256)")
    parser.add_argument("--decoder", default="pyav", help="pyav or decord (default: pyav)")
    parser.add_argument("--log", type=Path, help="append progress to this file, as JSON lines")
    parser.add_argument(
        "--failures", type=Path, help="CSV of failed videos (default: STORE.failures.csv)"
    )
    add_limit_options(parser)
    parser.set_defaults(run=_extract)


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, or several: cuda:0,cuda:1 (a process "
        "each); default: every GPU there is, or the CPU",
    )  # fmt: skip
    group.add_argument(
        "--workers", type=int,
        help="decode processes, of all devices together (default: one a core, ≤ 16 a device); "
        "with Ray, of each runner",
    )  # fmt: skip
    group.add_argument("--batch", type=int, help="views at a time (default: as many as fit)")
    group.add_argument("--part", default="1/1", metavar="I/N", help="this machine's share: 3/8")
    group.add_argument("--engine", choices=("local", "ray"), default="local")
    group.add_argument("--address", help="of the Ray cluster (default: a Ray on this machine)")
    group.add_argument("--runners", type=int, default=1, help="Ray: how many devices to use")


def _extract(arguments: argparse.Namespace) -> int:
    from extract.running.carry_out import carry_out
    from extract.running.failures import check_failures_file
    from extract.running.interrupt import Interrupt

    run = _run(arguments)
    if arguments.dry_run:
        from extract.running.estimate import estimate

        print("\n".join(estimate(run).lines()))
        return DONE
    check_failures_file(_failures_path(arguments))
    with Interrupt(NOTICE) as interrupt:
        extraction, summary = carry_out(
            run, announce=_announce, stop=lambda: interrupt.asked, bar=True
        )
    _report(arguments, extraction, summary)
    if summary.stopped:
        return INTERRUPTED
    return SOME_FAILED if summary.failures else DONE


def _run(arguments: argparse.Namespace) -> "Run":
    """What was asked for, checked as far as it can be without loading anything."""
    from dataclasses import replace

    from extract.branch import BranchRequest
    from extract.running.run import Cluster, Run
    from extract.running.workload import Part

    on_ray = arguments.engine == "ray"
    devices = ray_device(arguments.device) if on_ray else device_names(arguments.device)
    settings, part = _settings(arguments), Part.parse(arguments.part)
    asked = (BranchRequest.parse(text).under("") for text in arguments.branch)
    requests = tuple(
        replace(one, protocol=protocol_name(arguments, one.protocol)) if one.protocol else one
        for one in asked
    )
    manifest = read(arguments)
    cut = cut_manifest(arguments, manifest)
    manifest = cut.manifest if cut else manifest
    return Run(
        manifest=manifest.only_split(arguments.split) if arguments.split else manifest,
        store=arguments.store,
        branches=requests,
        settings=settings,
        devices=tuple(devices),
        workers=arguments.workers,
        part=part,
        log=arguments.log,
        cluster=Cluster(address=arguments.address, runners=arguments.runners) if on_ray else None,
    )


def _announce(extraction: "Extraction", memory: int) -> None:
    work = extraction.work
    failed = f", {work.failed} failed before (--retry-failed)" if work.failed else ""
    print(
        f"{work.asked} videos asked for, {len(work)} to do{failed}; at most "
        f"{memory / 2**30:.2f} GiB beside the networks",
        flush=True,
    )
    changed = [extraction.video(row).id for row in extraction.changed[:SHOWN].tolist()]
    if changed:
        count = len(extraction.changed)
        more = f" and {count - SHOWN} more" if count > SHOWN else ""
        anew = extraction.settings.changed == "recompute"
        done = "extracted anew" if anew else "left as they are; --changed recompute does them anew"
        print(
            f"{count} videos are other files than those that were extracted, {done}: "
            f"{', '.join(map(one_line, changed))}{more}",
            flush=True,
        )


def _report(arguments: argparse.Namespace, extraction: "Extraction", summary: "Summary") -> None:
    from extract.running.failures import failure_reasons, write_failures

    print("\n".join(summary.lines()))
    reasons = failure_reasons(extraction.targets.values(), extraction.rows.tolist())
    if reasons and not summary.stopped:  # the list is of a whole run
        path = _failures_path(arguments)
        write_failures(path, {extraction.video(row).id: why for row, why in reasons.items()})
        print(f"{len(reasons)} failed videos and their reasons: {path}")
    left = len(extraction.work) - summary.done
    if summary.stopped:
        print(f"stopped with {left} videos left; run the same command again to go on.")


def _failures_path(arguments: argparse.Namespace) -> Path:
    """Beside the store where none is named; of a store that is no folder, here."""
    if arguments.failures is not None:
        return Path(arguments.failures)
    name = Path(arguments.store.rstrip("/"))
    whole = name.name if "://" in arguments.store else name
    return Path(f"{whole}.failures.csv")


def ray_device(text: str) -> list[str]:
    """What `--device` means on a cluster: a kind of device, which this machine need not have."""
    from extract.errors import BadSetting

    if text == "auto":
        import torch

        return ["cuda" if torch.cuda.is_available() else "cpu"]
    if text not in ("cpu", "cuda"):
        raise BadSetting(
            f"--device {text} with --engine ray: give cpu or cuda, and their number by --runners."
        )
    return [text]


def device_names(text: str) -> list[str]:
    """What `--device` means on this machine."""
    import torch

    from extract.errors import BadSetting

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return [f"cuda:{number}" for number in range(count)] or ["cpu"]
    for name in text.split(","):
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise BadSetting(f"Device {name!r} unknown; give cpu, cuda or cuda:0.") from error
        if device.type == "cuda" and (device.index or 0) >= count:
            raise BadSetting(f"Device {name!r} is not there; this machine has {count} GPUs.")
    return text.split(",")


def protocol_name(arguments: argparse.Namespace, name: str) -> str:
    """A protocol, with `--canonical` where it is asked for."""
    from dataclasses import replace

    from extract.views.protocol import Protocol

    return replace(Protocol.parse(name), canonical=True).name if arguments.canonical else name


def _settings(arguments: argparse.Namespace) -> "Settings":
    from extract.running.pipeline import Settings

    return Settings(
        protocol=protocol_name(arguments, arguments.protocol),
        seed=arguments.seed,
        decoder=arguments.decoder,
        limits=limits(arguments),
        batch=arguments.batch,
        retry_failed=arguments.retry_failed,
        changed=arguments.changed,
        max_failed=arguments.max_failed,
        shard_rows=arguments.shard_rows,
    )
