"""`telltale store …`: look at, check, heal, tidy and share feature stores."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features_store.check import Finding
    from features_store.store import Store

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DAMAGED = 3
"""Exit status of `verify` when it found damage: 1 is for commands that could not
do their work, 2 for a wrong command line."""

_ROUNDS = 10
"""Of looking and repairing: a store is three levels deep."""


def add_commands(commands: "Commands") -> None:
    """Add `store` to the `telltale` parser."""
    parser = commands.add_parser("store", help="look at, check, heal and share a feature store")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    info = _action(actions, "info", _info, "what a store holds and what is still missing")
    info.add_argument("--json", action="store_true", help="print JSON")
    _action(actions, "ls", _ls, "every array, one a line")

    _action(actions, "verify", _verify, f"read every byte; exit {DAMAGED} and name what is damaged")

    repair = _action(actions, "repair", _repair, "mark damaged shards missing, restore metadata")
    repair.add_argument("--dry-run", action="store_true", help="say what would be done")

    gc = _action(actions, "gc", _gc, "remove what killed writers left, and branches you name")
    gc.add_argument(
        "--branch", action="append", default=[], metavar="PROTOCOL/BRANCH@FINGERPRINT",
        help="remove this branch and its features too (repeatable)",
    )  # fmt: skip
    gc.add_argument(
        "--older-than", type=float, default=3600, metavar="SECONDS",
        help="leave younger temporary files to their writers (default: %(default)s)",
    )  # fmt: skip
    gc.add_argument("--dry-run", action="store_true", help="say what would be removed")

    export = _action(actions, "export", _export, "write everything into one HDF5 file")
    export.add_argument("file", metavar="FILE.h5", type=Path)
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")

    load = actions.add_parser("import", help="make a store from an exported HDF5 file")
    load.add_argument("file", metavar="FILE.h5", type=Path)
    load.add_argument("store", metavar="STORE", help="a new folder or URL")
    load.set_defaults(run=_import)


def _action(
    actions: "Commands", name: str, run: Callable[[argparse.Namespace], int], explained: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=explained, description=explained.capitalize() + ".")
    action.add_argument("store", metavar="STORE", help="the store's folder, or a URL (s3://…)")
    action.set_defaults(run=run)
    return action


def _open(arguments: argparse.Namespace) -> "Store":
    from features_store.store import Store

    return Store.open(arguments.store)


def _info(arguments: argparse.Namespace) -> int:
    info = _open(arguments).info()
    if arguments.json:
        print(json.dumps(info, indent=2, ensure_ascii=False))
        return 0
    print(f"{info['place']}  (format {info['format']})")
    classes = ", ".join(f"{count} {name}" for name, count in info["classes"].items() if count)
    print(f"{info['videos']} videos ({info['scheme']}): {classes or 'none yet'}")
    for protocol, branches in info["protocols"].items():
        print(f"\n{protocol}")
        for branch in branches:
            print(f"  {branch['branch']}  {_progress_words(branch)}, {_size(branch['bytes'])}")
            for name, kind in branch["arrays"].items():
                print(f"    {name:<12} {kind}")
    return 0


def _progress_words(branch: dict[str, Any]) -> str:
    words = [f"{branch['ok']} ok"]
    words += [f"{branch[state]} {state}" for state in ("failed", "missing") if branch[state]]
    return ", ".join(words)


def _ls(arguments: argparse.Namespace) -> int:
    info = _open(arguments).info()
    for protocol, branches in info["protocols"].items():
        for branch in branches:
            for name, kind in branch["arrays"].items():
                print(f"{protocol}/{branch['branch']}/{name}\t{kind}\t{_progress_words(branch)}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from features_store import check
    from features_store.place import open_place

    with _bar("verify", "shards") as progress:
        findings = check.verify(open_place(arguments.store), progress)
    for finding in findings:
        print(finding)
    if not findings:
        print("no damage")
        return 0
    print(
        f"{len(findings)} damaged; `telltale store repair {arguments.store} --dry-run` says what "
        f"can be done",
        file=sys.stderr,
    )
    return DAMAGED


def _repair(arguments: argparse.Namespace) -> int:
    from features_store import check
    from features_store.place import open_place

    place = open_place(arguments.store)
    repaired = 0
    left: list[check.Finding] = []
    for _ in range(_ROUNDS):  # restored metadata brings more into sight
        with _bar("verify", "shards") as progress:
            findings = check.verify(place, progress)
        for finding in findings:
            print(f"{finding}: {_what_happens(finding, dry_run=arguments.dry_run)}")
        for line in _losses(findings, dry_run=arguments.dry_run):
            print(line)
        if arguments.dry_run:
            print(f"{len(findings)} findings, nothing changed (--dry-run)")
            return 0
        left = check.repair(place, findings)
        repaired += len(findings) - len(left)
        if len(left) == len(findings):
            break
    print(f"{repaired} repaired, {len(left)} left")
    return 1 if left else 0


def _what_happens(finding: "Finding", *, dry_run: bool) -> str:
    if not finding.repairable:
        return "cannot be repaired"
    would = "would be " if dry_run else ""
    if finding.shard is None:
        return f"{would}restored from its second copy"
    return f"{would}marked missing; extract again to compute it"


def _losses(findings: "Sequence[Finding]", *, dry_run: bool) -> Iterator[str]:
    """What has to be computed again, per branch: a shard's videos lose all arrays of the branch."""
    shards: dict[str, dict[int, int]] = {}
    for finding in findings:
        if finding.repairable and finding.shard is not None:
            shards.setdefault(finding.prefix, {})[finding.shard] = finding.videos
    for prefix, videos in shards.items():
        would = "would have" if dry_run else "have"
        count = sum(videos.values())
        yield f"{prefix}: {count} videos in {len(videos)} shards {would} to be extracted again"


def _gc(arguments: argparse.Namespace) -> int:
    from features_store import sweep

    store = _open(arguments)
    leftovers = sweep.leftovers(store.place, arguments.older_than)
    would = "would remove" if arguments.dry_run else "removed"
    for prefix in arguments.branch:
        keys = sweep.branch_keys(store, prefix)
        if not arguments.dry_run:
            sweep.remove_branch(store, prefix)
        print(f"{would} {prefix} ({len(keys)} files)")
    for key in leftovers:
        if not arguments.dry_run:
            store.place.delete(key)
        print(f"{would} {key}")
    print(f"{would} {len(arguments.branch)} branches, {len(leftovers)} leftovers")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from features_store import hdf5

    with _bar("export", "shards") as progress:
        hdf5.export_store(_open(arguments), arguments.file, progress, overwrite=arguments.overwrite)
    print(f"{arguments.file}: {_size(arguments.file.stat().st_size)}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from features_store import hdf5

    with _bar("import", "shards") as progress:
        store = hdf5.import_store(arguments.file, arguments.store, progress)
    print(f"{store.place.name}: {store.videos.count} videos")
    return 0


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=f" {unit}", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
