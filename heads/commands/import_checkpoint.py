"""`telltale import-checkpoint`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    command = commands.add_parser(
        "import-checkpoint",
        help="take a released HumanSAM checkpoint apart",
        description="Splits a checkpoint into branch weights (safetensors) and a bundle, with "
        "which `telltale score` gives the checkpoint's own predictions.",
    )
    command.add_argument("checkpoint", type=Path, help="a .pth that HumanSAM's training saved")
    command.add_argument("--out", required=True, type=Path, help="a new folder")
    command.add_argument(
        "--precision", default="float32", choices=("float32", "bfloat16", "float16"),
        help="that the branches compute in; part of their fingerprints (default: float32)",
    )  # fmt: skip
    add_overwrite_option(command)
    command.set_defaults(run=_import_checkpoint)


def _import_checkpoint(arguments: argparse.Namespace) -> int:
    from extract.networks import weights
    from extract.released.humansam import import_checkpoint, save_imported
    from features_store.outputs import Folder
    from heads.scoring.imported import imported_bundle

    folder = Folder(arguments.out, "import-checkpoint", overwrite=arguments.overwrite)
    imported = import_checkpoint(arguments.checkpoint)
    made_from = {
        "weights": weights.content_hash({**imported.video, **imported.depth}),
        "head": weights.content_hash(imported.head),
        "precision": arguments.precision,
    }
    if folder.begin(made_from):
        print(f"{arguments.out} (there already, of this checkpoint)")
        return 0
    files = save_imported(imported, arguments.out, arguments.checkpoint.name)
    bundle = imported_bundle(
        imported, arguments.out, arguments.checkpoint.name, arguments.precision
    )
    bundle.save(arguments.out / "bundle")
    folder.finish()
    for path in [*files, arguments.out / "bundle"]:
        print(path)
    return 0
