"""`telltale features import`: features computed elsewhere, beside those of our branches."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extract.exit_codes import SOME_FAILED

if TYPE_CHECKING:
    from features_store.store import Store

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_SHOWN = 3


def add_commands(commands: "Commands") -> None:
    """Add `features` to the `telltale` parser."""
    parser = commands.add_parser("features", help="bring features of your own into a store")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    load = actions.add_parser(
        "import",
        help="put arrays computed elsewhere beside ours",
        description="Reads .npy, .npz, .parquet, .h5 or .safetensors: an array `id` and one or "
        "several numeric arrays (videos, numbers) or (videos, views, numbers). Every command then "
        "takes them by name, as in `telltale train --arrays clip-b32/x`. Exit status: 0 all there, "
        "3 some ids are unknown or some numbers not finite, 1 nothing was imported.",
    )
    load.add_argument("file", metavar="FILE", type=Path)
    load.add_argument("--store", required=True, help="folder or URL")
    load.add_argument(
        "--name", required=True, help="what they are called: clip-b32, or another BRANCH-PRESET"
    )
    load.add_argument("--protocol", default="own", help="which views they are of")
    load.add_argument("--ids", type=Path, metavar="TXT", help="an id per line, where FILE has none")
    load.add_argument(
        "--videos", metavar="MANIFEST",
        help="ids, labels, sources and splits, for a store that is not there yet or lacks videos",
    )  # fmt: skip
    load.add_argument("--scheme", help="label scheme of the manifest: hfv4, hfv4-paper or hfv2")
    load.add_argument("--root", type=Path, help="where the manifest's paths start")
    load.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    from features_store.own_features import import_own_features, read_own_features

    features = read_own_features(arguments.file, arguments.ids)
    store = _store(arguments)
    branch, unknown = import_own_features(
        store, features, name=arguments.name, protocol=arguments.protocol,
        source=arguments.file.name,
    )  # fmt: skip
    arrays = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in branch.spec.arrays.items())
    failed = len(branch.errors())
    print(f"{branch.prefix}: {arrays}; {len(features.ids) - len(unknown) - failed} videos")
    if failed:
        print(f"{failed} videos have numbers that are not finite; they count as failed")
    if unknown:
        print(
            f"{len(unknown)} ids are not in the store and were left out: "
            f"{', '.join(map(repr, unknown[:_SHOWN]))}{' …' if len(unknown) > _SHOWN else ''}"
        )
    return SOME_FAILED if unknown or failed else 0


def _store(arguments: argparse.Namespace) -> "Store":
    from features_store.store import Store

    if arguments.videos is None:
        return Store.open(arguments.store)
    from extract.manifest.manifest import ManifestOptions, read_manifest
    from extract.running.extraction import open_store

    options = ManifestOptions(scheme=arguments.scheme, root=arguments.root)
    manifest = read_manifest(arguments.videos, options)
    store = open_store(arguments.store, manifest)
    store.add_videos(manifest.columns(), keep_existing=True)
    return store
