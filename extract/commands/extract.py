"""`telltale extract`. Mounted by `heads.commands.main`."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import SOME_FAILED, add_limit_options, add_manifest_options, limits, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extract.branch import Branch
    from extract.manifest.manifest import Manifest
    from extract.running.extraction import Extraction
    from extract.running.pipeline import Settings
    from extract.running.progress import Summary
    from extract.running.workload import Part

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

NOTICE = (
    "telltale: finishing what has begun (ctrl-C again stops at once); run the same command again "
    "to go on."
)


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "extract",
        help="run the networks over every video once, and keep what they say",
        description="Decodes each video once, for all its views and all branches, and writes "
        "shards to a feature store. What is there already is skipped, so the same command "
        "resumes. Exit status: 0 all ok, 3 some videos failed, 1 nothing could be done, 130 "
        "interrupted.",
    )
    add_manifest_options(parser)
    parser.add_argument("--store", required=True, help="folder or URL; made where there is none")
    parser.add_argument(
        "--protocol",
        default="val",
        help="val, test-4x3, train-8, pairs-32, frames-16@8, windows-4x32, … with +blur3 …",
    )
    parser.add_argument(
        "--branch",
        action="append",
        required=True,
        metavar="NAME=PRESET[:WEIGHTS]",
        help="internvideo2=L14:weights.bin, depthpro=L16:depth_pro.pt, or =tiny; give it once for "
        "each branch; ?outputs=cls,avg,attn,tokens and other options may follow",
    )
    parser.add_argument("--split", help="only the videos of this split")
    parser.add_argument("--retry-failed", action="store_true", help="try failed videos again")
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
    group.add_argument("--workers", type=int, help="decode processes (default: one a core, ≤ 16)")
    group.add_argument("--batch", type=int, help="views at a time (default: as many as fit)")
    group.add_argument("--part", default="1/1", metavar="I/N", help="this machine's share: 3/8")
    group.add_argument("--engine", choices=("local", "ray"), default="local")
    group.add_argument("--address", help="of the Ray cluster (default: a Ray on this machine)")
    group.add_argument("--runners", type=int, default=1, help="Ray: how many devices to use")
    group.add_argument("--child-log", type=Path, help=argparse.SUPPRESS)


def _extract(arguments: argparse.Namespace) -> int:
    from extract.running.workload import Part

    devices = device_names(arguments.device)
    part = Part.parse(arguments.part)
    manifest = read(arguments)
    if arguments.split:
        manifest = manifest.only_split(arguments.split)
    settings = _settings(arguments)
    if arguments.engine == "ray":
        return _on_ray(arguments, manifest, settings, devices[0])
    if len(devices) > 1 and not arguments.dry_run:
        from extract.running.devices import run_on_devices

        own = sys.argv[sys.argv.index("extract") + 1 :]
        return run_on_devices(own, devices, part, NOTICE)
    branches = _branches(arguments, devices[0])
    if arguments.dry_run:
        return _dry_run(arguments, manifest, branches, settings, part)
    return _run(arguments, manifest, branches, settings, part)


def _run(
    arguments: argparse.Namespace,
    manifest: "Manifest",
    branches: "Sequence[Branch]",
    settings: "Settings",
    part: "Part",
) -> int:
    from extract.running.extraction import Extraction, default_workers
    from extract.running.interrupt import INTERRUPTED, Interrupt

    child = arguments.child_log is not None
    parent = os.getppid()
    extraction = Extraction.begin(manifest, arguments.store, branches, settings, part)
    workers = arguments.workers or default_workers()
    _announce(extraction, extraction.pipeline.memory(workers))
    with Interrupt(NOTICE) as interrupt:
        summary = extraction.run(
            workers=workers,
            log=arguments.child_log or arguments.log,
            bar=not child,
            stop=lambda: interrupt.asked or (child and os.getppid() != parent),
        )
    _report(arguments, extraction, summary)
    if summary.stopped:
        return INTERRUPTED
    return SOME_FAILED if summary.failures else 0


def _announce(extraction: "Extraction", memory: int) -> None:
    work = extraction.work
    failed = f", {work.failed} failed before (--retry-failed)" if work.failed else ""
    print(
        f"{work.asked} videos asked for, {len(work)} to do{failed}; at most "
        f"{memory / 2**30:.2f} GiB beside the networks",
        flush=True,
    )


def _report(arguments: argparse.Namespace, extraction: "Extraction", summary: "Summary") -> None:
    from extract.running.failures import failure_reasons, write_failures

    print("\n".join(summary.lines()))
    reasons = failure_reasons(extraction.pipeline.targets.values(), extraction.rows.tolist())
    if reasons and not summary.stopped:  # the list is of a whole run
        path = arguments.failures or _failures_path(arguments.store)
        write_failures(path, {extraction.video(row).id: why for row, why in reasons.items()})
        print(f"{len(reasons)} failed videos and their reasons: {path}")
    left = len(extraction.work) - summary.done
    if summary.stopped:
        print(f"stopped with {left} videos left; run the same command again to go on.")


def _failures_path(store: str) -> Path:
    name = Path(store.rstrip("/"))
    return Path(f"{name.name}.failures.csv") if "://" in store else Path(f"{name}.failures.csv")


def _dry_run(
    arguments: argparse.Namespace,
    manifest: "Manifest",
    branches: "Sequence[Branch]",
    settings: "Settings",
    part: "Part",
) -> int:
    from extract.running.estimate import estimate
    from extract.running.extraction import default_workers

    workers = arguments.workers or default_workers()
    found = estimate(manifest, arguments.store, branches, settings, part, workers)
    print("\n".join(found.lines()))
    return 0


def _on_ray(
    arguments: argparse.Namespace, manifest: "Manifest", settings: "Settings", device: str
) -> int:
    from extract.running.cluster import ClusterOptions, run_on_ray
    from extract.running.extraction import Extraction
    from extract.running.interrupt import INTERRUPTED, Interrupt

    extraction = Extraction.begin(manifest, arguments.store, _branches(arguments, device), settings)
    _announce(extraction, extraction.pipeline.memory(arguments.workers or 1))
    options = ClusterOptions(
        address=arguments.address, runners=arguments.runners, device=device,
        decoders=arguments.workers,
    )  # fmt: skip
    with Interrupt(NOTICE) as interrupt:
        summary = run_on_ray(extraction, options, log=arguments.log, stop=lambda: interrupt.asked)
    _report(arguments, extraction, summary)
    if summary.stopped:
        return INTERRUPTED
    return SOME_FAILED if summary.failures else 0


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


def _branches(arguments: argparse.Namespace, device: str) -> "list[Branch]":
    from dataclasses import replace

    from extract.branch import BranchRequest, for_protocol, load_branch
    from extract.views.protocol import Protocol

    protocol = Protocol.parse(arguments.protocol)
    requests = [replace(BranchRequest.parse(text), device=device) for text in arguments.branch]
    return [load_branch(for_protocol(request, protocol)) for request in requests]


def _settings(arguments: argparse.Namespace) -> "Settings":
    from extract.running.pipeline import Settings

    return Settings(
        protocol=arguments.protocol,
        seed=arguments.seed,
        decoder=arguments.decoder,
        limits=limits(arguments),
        batch=arguments.batch,
        retry_failed=arguments.retry_failed,
        max_failed=arguments.max_failed,
        shard_rows=arguments.shard_rows,
    )
