"""`telltale finetune`. Mounted by `heads.commands.main`."""

import argparse
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.commands.device import DEVICE_HELP, one_device
from heads.commands.train import add_data_options, add_set_option, choice

if TYPE_CHECKING:
    from extract.manifest.manifest import Manifest
    from features_store import Store
    from features_store.outputs import Folder
    from heads.bundle import Bundle
    from heads.finetuning.setup import Prepared, Request

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    parser = commands.add_parser(
        "finetune",
        help="train the backbone too: its pool, its last blocks, or all of it",
        description="Any branch that names its layers can be trained: internvideo2, altfreezing, "
        "image=efficientnet-lite0, anatomy on pictures that are crops already, detectors of single "
        "frames (npr, cnndet, patchcraft, f3net, genconvit), one of your own. It learns from raw "
        "video (--videos) or cached frames; pool and blocks=K of a transformer from cached tokens. "
        "Other networks' cached features may stand beside it, such as depth; those networks never "
        "run. Writes OUT/backbone.safetensors (branch weights) and OUT/head (a bundle). The same "
        "command goes on after an interruption. Under torchrun, every process takes its share of "
        "each batch.",
    )
    add_data_options(parser)
    parser.add_argument(
        "--branch",
        required=True,
        metavar="NAME=PRESET[:WEIGHTS]",
        help="the backbone, such as internvideo2=L14:FILE or image=efficientnet-lite0",
    )
    parser.add_argument(
        "--depth", default="pool", help="pool (default), blocks=K or end-to-end: layers that learn"
    )
    parser.add_argument(
        "--start", type=Path, metavar="BUNDLE",
        help="a fusion or linear bundle on the backbone's cached features to start from",
    )  # fmt: skip
    parser.add_argument(
        "--head", choices=["fusion", "linear"],
        help="without --start: what sits on the backbone (default: fusion on internvideo2, else "
        "linear)",
    )  # fmt: skip
    parser.add_argument(
        "--videos",
        metavar="MANIFEST",
        help="decode these instead of reading cached tokens or frames",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for what comes out")
    add_set_option(parser)
    parser.add_argument(
        "--head-set", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the head, without --start",
    )  # fmt: skip
    parser.add_argument(
        "--official", action="store_true", help="group parameters as the released code does"
    )
    parser.add_argument(
        "--alternate", metavar="spatial:temporal=1:20",
        help="spatial and temporal kernels learn in turns, for so many steps each (AltFreezing); "
        "for networks that have such kernels",
    )  # fmt: skip
    parser.add_argument(
        "--calibrate-on", metavar="SPLIT|STORE",
        help="temperature and sets from these videos, which nothing was learnt from or decided by; "
        "out of fold is for `telltale train`: each fold would be a fine-tuning of its own",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help=DEVICE_HELP)
    parser.add_argument("--workers", type=int, default=2, help="decode processes (default: 2)")
    parser.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB",
        help="of decoded clips that are kept (default: %(default)s)",
    )  # fmt: skip
    add_overwrite_option(parser)
    parser.epilog = (
        "Several GPUs or machines: torchrun --nproc-per-node N -m heads finetune …, or accelerate "
        "launch --multi_gpu --num_processes N -m heads finetune …; both start the same processes. "
        "What a step takes is counted first: where memory is short, blocks are computed twice, and "
        "where that is not enough, batches are cut into parts (--set checkpointing=…, --set "
        "accumulate=… to say it yourself): slower, the same numbers but for rounding, unless the "
        "network's own batch norms learn (--set norms=batch). "
        "A backbone that does not fit one GPU is shared out with --set shard=true; its checkpoints "
        "are those of runs without. OUT has to be a folder that all machines see."
    )
    parser.set_defaults(run=_finetune)


def _finetune(arguments: argparse.Namespace) -> int:
    from features_store.outputs import Folder
    from heads.commands.calibrate import say_left_out
    from heads.data.sides import Data
    from heads.errors import BadSetting
    from heads.finetuning.calibration import calibrating
    from heads.finetuning.loop import CHECKPOINT
    from heads.finetuning.processes import processes
    from heads.finetuning.setup import HEAD, prepared

    if arguments.start is not None and (arguments.head_set or arguments.head):
        raise BadSetting("--start brings the head along; leave --head-set and --head out.")
    arguments.device = one_device(arguments.device)
    folder = Folder(arguments.out, "finetune", overwrite=arguments.overwrite)
    with ExitStack() as stack:
        found = stack.enter_context(processes(arguments.device))
        if arguments.overwrite and found.first:  # begin anew
            (arguments.out / CHECKPOINT).unlink(missing_ok=True)
        found.wait()
        ready = stack.enter_context(prepared(_request(arguments), found))
        if found.first:
            folder.begin(_made_from(ready, folder))
        finetuner, run = ready.finetuner, ready.finetuner.run
        if found.first:
            data = Data(train=run.train.table, validation=run.validation.table)
            print(f"{data}; from step {finetuner.step}")
            if finetuner.memory is not None:
                print(finetuner.memory)
        promises = None
        if arguments.calibrate_on is not None:
            promises = stack.enter_context(calibrating(ready, arguments.calibrate_on))
        report = finetuner.fit()
        before = report.history[finetuner.metric][0]
        bundle = ready.save(arguments.out)
        if promises is not None:
            bundle = promises.give(ready, bundle)
            if bundle is not None:
                say_left_out(promises.left_out)
                bundle = bundle.save(arguments.out / HEAD)
        found.wait()
    if bundle is None:
        return 0
    print(f"{report.metric}: {before:.4f} before, {report.best:.4f} at best "
          f"(epoch {report.best_epoch + 1}; {report.seconds:.1f} s)")  # fmt: skip
    _say_what_is_next(arguments, ready, bundle)
    return 0


def _made_from(ready: "Prepared", folder: "Folder") -> dict[str, object]:
    """What the folder's record says of the run. How a step was made to fit is the checkpoint's to
    say: without one a run may begin otherwise. Records that say it keep what they have."""
    there = {} if folder.found is None else folder.found.made_from
    run, chosen = ready.finetuner.run.describe(), ("accumulate", "checkpointing")
    plain = {name: value for name, value in run.items() if name not in chosen}
    return {**plain, **{name: there[name] for name in chosen if name in there}}


def _say_what_is_next(arguments: argparse.Namespace, ready: "Prepared", bundle: "Bundle") -> None:
    from heads.finetuning.setup import BACKBONE, HEAD
    from heads.parts.model_card import calibration_line, warning

    branch = ready.branch
    if words := warning(bundle.about.branches.values()):
        print(words)
    print(calibration_line(bundle.about))
    folder, backbone = arguments.out / HEAD, arguments.out / BACKBONE
    if not bundle.about.conformal:
        print(f"  telltale calibrate {folder} --reals …, or this command with --calibrate-on SPLIT")
    print(f"bundle: {folder}\nits features come from:")
    options = {n: v for n, v in branch.request.options.items() if n not in ("outputs", "random")}
    query = "&".join(f"{name}={value}" for name, value in options.items())
    asked = f"{branch.request.name}={branch.preset}:{backbone}{'?' if query else ''}{query}"
    print(f"  telltale extract … --branch {shlex.quote(asked)}")


def _request(arguments: argparse.Namespace) -> "Request":
    from dataclasses import replace

    from extract.branch import BranchRequest
    from features_store import Store
    from heads.config import assignments, build
    from heads.finetuning.config import FinetuneConfig
    from heads.finetuning.setup import Request

    store = Store.open(arguments.store)
    settings = assignments(arguments.set)
    if arguments.official:
        settings["official"] = "true"
    if arguments.alternate is not None:
        settings["alternate"] = arguments.alternate
    backbone = replace(BranchRequest.parse(arguments.branch), device=arguments.device)
    return Request(
        store=store,
        backbone=backbone,
        reach=arguments.depth,
        config=build(FinetuneConfig, settings, "finetune"),
        choice=choice(arguments),
        head=arguments.head,
        head_settings=assignments(arguments.head_set),
        start=arguments.start,
        videos=None if arguments.videos is None else _videos(arguments.videos, store),
        workers=arguments.workers,
        memory=int(arguments.memory * 2**30),
        seed=arguments.seed,
        out=arguments.out,
    )


def _videos(place: str, store: "Store") -> "Manifest":
    """A list need not say by which scheme it labels videos: the store knows their labels."""
    from extract.manifest.manifest import ManifestOptions, read_manifest

    scheme = None if Path(place).is_dir() else store.scheme
    return read_manifest(place, ManifestOptions(scheme=scheme))
