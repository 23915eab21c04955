"""`telltale finetune`. Mounted by `heads.commands.main`."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.train import add_data_options, add_set_option, choice

if TYPE_CHECKING:
    from collections.abc import Collection

    from heads.finetuning.setup import Prepared, Request

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "finetune",
        help="train the backbone too: its pool, its last blocks, or all of it",
        description="pool and blocks=K learn from cached tokens, end-to-end from raw video or "
        "cached frames, with cached depth features; the depth network never runs. Writes "
        "OUT/backbone.safetensors (branch weights) and OUT/head (a bundle). The same command goes "
        "on after an interruption. Under torchrun, every process takes its share of each batch.",
    )
    add_data_options(parser)
    parser.add_argument(
        "--branch", required=True, metavar="internvideo2=PRESET[:WEIGHTS]", help="the backbone"
    )
    parser.add_argument("--depth", default="pool", help="pool (default), blocks=K or end-to-end")
    parser.add_argument(
        "--start", type=Path, metavar="BUNDLE", help="a fusion bundle to start from"
    )
    parser.add_argument(
        "--videos",
        metavar="MANIFEST",
        help="decode these instead of reading cached tokens or frames",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for what comes out")
    add_set_option(parser)
    parser.add_argument(
        "--head-set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the fusion head, without --start",
    )  # fmt: skip
    parser.add_argument(
        "--official", action="store_true", help="group parameters as the released code does"
    )
    parser.add_argument(
        "--alternate", metavar="spatial:temporal=1:20",
        help="spatial and temporal weights learn in turns, for so many steps each (AltFreezing)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--workers", type=int, default=2, help="decode processes (default: 2)")
    parser.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB",
        help="of decoded clips that are kept (default: %(default)s)",
    )  # fmt: skip
    add_overwrite_option(parser)
    parser.epilog = (
        "Several GPUs or machines: torchrun --nproc-per-node N -m heads finetune …, or accelerate "
        "launch --multi_gpu --num_processes N -m heads finetune …; both start the same processes. "
        "A backbone that does not fit one GPU is shared out with --set shard=true; its checkpoints "
        "are those of runs without. OUT has to be a folder that all machines see."
    )
    parser.set_defaults(run=_finetune)


def _finetune(arguments: argparse.Namespace) -> int:
    from features_store.outputs import Folder
    from heads.commands.device import one_device
    from heads.data.sides import Data
    from heads.errors import BadSetting
    from heads.finetuning.loop import CHECKPOINT
    from heads.finetuning.processes import processes
    from heads.finetuning.setup import prepared

    if arguments.start is not None and arguments.head_set:
        raise BadSetting("--start brings the head's settings along; leave --head-set out.")
    arguments.device = one_device(arguments.device)
    folder = Folder(arguments.out, "finetune", overwrite=arguments.overwrite)
    with ExitStack() as stack:
        found = stack.enter_context(processes(arguments.device))
        if arguments.overwrite and found.first:  # begin anew
            (arguments.out / CHECKPOINT).unlink(missing_ok=True)
        found.wait()
        ready = stack.enter_context(prepared(_request(arguments), found))
        if found.first:
            folder.begin(ready.finetuner.run.describe())
        finetuner, run = ready.finetuner, ready.finetuner.run
        if found.first:
            data = Data(train=run.train.table, validation=run.validation.table)
            print(f"{data}; from step {finetuner.step}")
        report = finetuner.fit()
        before = report.history[finetuner.metric][0]
        bundle = ready.save(arguments.out)
        found.wait()
    if bundle is None:
        return 0
    print(f"{report.metric}: {before:.4f} before, {report.best:.4f} at best "
          f"(epoch {report.best_epoch + 1}; {report.seconds:.1f} s)")  # fmt: skip
    _say_what_is_next(arguments, ready, bundle.about.branches.values())
    return 0


def _say_what_is_next(
    arguments: argparse.Namespace, ready: "Prepared", branches: "Collection[str]"
) -> None:
    from heads.finetuning.setup import BACKBONE, HEAD
    from heads.parts.model_card import warning

    branch = ready.branch
    if words := warning(branches):
        print(words)
    print(f"bundle: {arguments.out / HEAD}\nits features come from:")
    print(f"  telltale extract … --branch internvideo2={branch.preset}:{arguments.out / BACKBONE}")


def _request(arguments: argparse.Namespace) -> "Request":
    from dataclasses import replace

    from extract.branch import BranchRequest
    from extract.manifest.manifest import read_manifest
    from features_store import Store
    from heads.config import assignments, build
    from heads.finetuning.config import FinetuneConfig
    from heads.finetuning.setup import Request
    from heads.zoo.fusion import FusionConfig

    settings = assignments(arguments.set)
    if arguments.official:
        settings["official"] = "true"
    if arguments.alternate is not None:
        settings["alternate"] = arguments.alternate
    backbone = replace(BranchRequest.parse(arguments.branch), device=arguments.device)
    return Request(
        store=Store.open(arguments.store),
        backbone=backbone,
        reach=arguments.depth,
        config=build(FinetuneConfig, settings, "finetune"),
        choice=choice(arguments),
        head=build(FusionConfig, assignments(arguments.head_set), "Head fusion"),
        start=arguments.start,
        videos=None if arguments.videos is None else read_manifest(arguments.videos),
        workers=arguments.workers,
        memory=int(arguments.memory * 2**30),
        seed=arguments.seed,
        out=arguments.out,
    )
