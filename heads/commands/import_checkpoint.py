"""`telltale import-checkpoint`. Mounted by `heads.commands.main`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.commands.data import add_overwrite_option
from heads.errors import BadSetting

if TYPE_CHECKING:
    from extract.networks import weights
    from features_store.outputs import Folder
    from heads.bundle import Bundle

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Commands") -> None:
    """Add the command to the `telltale` parser."""
    command = commands.add_parser(
        "import-checkpoint",
        help="take a released HumanSAM or AltFreezing checkpoint apart",
        description="Splits a checkpoint into branch weights (safetensors) and a bundle, with "
        "which `telltale score` gives the checkpoint's own predictions.",
    )
    command.add_argument(
        "checkpoint", type=Path, help="a .pth that HumanSAM's or AltFreezing's training saved"
    )
    command.add_argument("--out", required=True, type=Path, help="a new folder")
    command.add_argument(
        "--precision", default="float32", choices=("float32", "bfloat16", "float16"),
        help="that the branches compute in; part of their fingerprints (default: float32)",
    )  # fmt: skip
    command.add_argument(
        "--boxes", type=Path, metavar="FACES",
        help="AltFreezing: a file of faces by the detector that will be used, part of the "
        "branch's fingerprint",
    )  # fmt: skip
    add_overwrite_option(command)
    command.set_defaults(run=_import_checkpoint)


def _import_checkpoint(arguments: argparse.Namespace) -> int:
    from extract.networks import weights
    from extract.released.altfreezing import is_altfreezing

    state = weights.read_state(arguments.checkpoint)
    return _faces(arguments, state) if is_altfreezing(state) else _humansam(arguments)


def _humansam(arguments: argparse.Namespace) -> int:
    from extract.networks import weights
    from extract.released.humansam import import_checkpoint, save_imported
    from heads.scoring.imported import imported_bundle

    if arguments.boxes is not None:
        raise BadSetting("--boxes is for AltFreezing's checkpoints; HumanSAM looks at no faces.")
    imported = import_checkpoint(arguments.checkpoint)
    made_from = {
        "weights": weights.content_hash({**imported.video, **imported.depth}),
        "head": weights.content_hash(imported.head),
        "precision": arguments.precision,
    }
    folder = _begun(arguments, made_from)
    if folder is None:
        return 0
    files = save_imported(imported, arguments.out, arguments.checkpoint.name)
    bundle = imported_bundle(
        imported, arguments.out, arguments.checkpoint.name, arguments.precision
    )
    return _finished(arguments, folder, files, bundle)


def _faces(arguments: argparse.Namespace, state: "weights.State") -> int:
    from extract.networks import weights
    from extract.released.altfreezing import import_faces, save_faces
    from heads.scoring.imported_faces import imported_faces_bundle

    if arguments.boxes is None:
        raise BadSetting(
            f"{arguments.checkpoint} is AltFreezing's, which looks at faces: give --boxes FACES, a "
            f"file of faces with five points each, by the detector that will be used."
        )
    imported = import_faces(state)
    boxes = arguments.boxes.expanduser().absolute()
    made_from = {
        "weights": weights.content_hash(imported.model.state_dict()),
        "boxes": str(boxes), "precision": arguments.precision,
    }  # fmt: skip
    folder = _begun(arguments, made_from)
    if folder is None:
        return 0
    files = save_faces(imported, arguments.out, arguments.checkpoint.name)
    options = f"boxes={boxes}&precision={arguments.precision}"
    bundle = imported_faces_bundle(imported, arguments.out, arguments.checkpoint.name, options)
    return _finished(arguments, folder, files, bundle)


def _begun(arguments: argparse.Namespace, made_from: dict[str, str]) -> "Folder | None":
    """The new folder; none where it is there already."""
    from features_store.outputs import Folder

    folder = Folder(arguments.out, "import-checkpoint", overwrite=arguments.overwrite)
    if folder.begin(made_from):
        print(f"{arguments.out} (there already, of this checkpoint)")
        return None
    return folder


def _finished(
    arguments: argparse.Namespace, folder: "Folder", files: list[Path], bundle: "Bundle"
) -> int:
    bundle.save(arguments.out / "bundle")
    folder.finish()
    for path in [*files, arguments.out / "bundle"]:
        print(path)
    return 0
