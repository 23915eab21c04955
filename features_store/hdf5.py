"""A whole store in one HDF5 file, for sharing, and back, bit for bit.

The file holds each Zarr array as it is stored (quantised ones with their scales), so a round trip
changes nothing. One shard is in memory at a time. An interrupted export leaves no file; an
interrupted import goes on when it is run again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from features_store import commit, documents
from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.errors import BadInput, NotAStore, StoreExists, WriteFailed
from features_store.installing import how_to_install
from features_store.outputs import Product
from features_store.place import Location
from features_store.schema import FORMAT_VERSION, BranchSpec, Layout, Status
from features_store.shard_content import NUL, ShardContent
from features_store.store import Store
from features_store.video_files import PREFIX as VIDEOS

Progress = Callable[[int, int], None]
Hdf5: TypeAlias = Any
"""A file, group or data set; h5py is untyped."""

_ATTRIBUTE = "telltale"


def export_store(
    store: Store, path: Path, progress: Progress | None = None, *, overwrite: bool = False
) -> None:
    """Write everything that is committed into a new file."""
    product = Product(path, "store export", overwrite=overwrite)
    made_from = {"store": store.place.name, "content": _state(store)}
    if product.check(made_from):
        return
    branches = [
        store.open_branch(protocol, group)
        for protocol in store.protocols()
        for group in store.branches(protocol)
    ]
    commit.make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{commit.TEMPORARY_SUFFIX}")
    try:
        with _create(temporary) as file:
            file.attrs[_ATTRIBUTE] = json.dumps(
                {"format": store.layout.format, "scheme": store.scheme, "classes": store.classes}
            )
            for name in store.layout.columns:
                _write_whole(file, f"videos/{name}", store.videos.column(name))
            done, total = 0, sum(branch.shards for branch in branches)
            for branch in branches:
                group = file.create_group(branch.prefix)
                group.attrs[_ATTRIBUTE] = json.dumps(branch.groups)
                _create_datasets(group, branch, store.videos.count)
                for shard in range(branch.shards):
                    _export_shard(group, branch, shard)
                    done += 1
                    if progress:
                        progress(done, total)
        product.publish([temporary], made_from)
    finally:
        temporary.unlink(missing_ok=True)


def _state(store: Store) -> str:
    """Tells a store from itself with other content: its commit records do, which name the data."""
    place = store.place
    found = hashlib.sha256(place.get(documents.document_key(VIDEOS)) or b"")
    for protocol in store.protocols():
        for group in store.branches(protocol):
            branch = store.open_branch(protocol, group)
            found.update(f"\0{branch.prefix}\0".encode())
            keys = [branch.files.records.key(shard) for shard in range(branch.shards)]
            for shard, record in enumerate(place.get_many(keys)):
                found.update(b"%d" % shard + (record or b""))
    return found.hexdigest()


def import_store(path: Path, where: Location, progress: Progress | None = None) -> Store:
    """Make a store from an exported file, or finish one that an interrupted import began."""
    with _open(path) as file:
        root = _attributes(file, path)
        if root.get("format", FORMAT_VERSION + 1) > FORMAT_VERSION:
            raise NotAStore(
                f"{path} has format {root.get('format')}; this version reads up to "
                f"{FORMAT_VERSION}. Update Telltale: git pull, then {how_to_install()}."
            )
        store = _open_or_create(where, root)
        _import_videos(file, path, store, Layout(format=root["format"]))
        groups = [file[f"{protocol}/{name}"] for protocol, name in _branch_names(file)]
        branches = [_import_branch(group, path, store) for group in groups]
        done, total = 0, sum(branch.shards for branch in branches)
        for group, branch in zip(groups, branches, strict=True):
            missing = set(branch.missing_shards())
            for shard in range(branch.shards):
                if shard in missing:
                    _import_shard(group, branch, shard, path)
                done += 1
                if progress:
                    progress(done, total)
    return store


@contextmanager
def _create(path: Path) -> Iterator[Hdf5]:
    try:
        with h5py.File(path, "w", libver="v110") as file:
            yield file
    except OSError as error:
        raise WriteFailed(
            f"{path}: {error}. The store is as it was; make room and export again."
        ) from error


@contextmanager
def _open(path: Path) -> Iterator[Hdf5]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError as error:
        raise NotAStore(f"{path} does not exist; give a file made by `store export`.") from error
    except OSError as error:
        raise NotAStore(
            f"{path} cannot be read as HDF5 ({error}); it may be cut off. Copy it again."
        ) from error


def _write_whole(file: Hdf5, name: str, values: Array) -> None:
    if isinstance(values.dtype, np.dtypes.StringDType):
        text = h5py.string_dtype("utf-8")
        file.create_dataset(name, data=_texts(values), dtype=text)
    else:
        file.create_dataset(name, data=values)


def _texts(values: Array) -> Array:
    """HDF5 ends a text at its first NUL, which only stores of earlier versions can hold."""
    return np.array([str(value).replace("\0", NUL) for value in values], object)


def _create_datasets(group: Hdf5, branch: BranchArrays, count: int) -> None:
    kinds: dict[str, tuple[tuple[int, ...], Any]] = {
        "status": ((), np.uint8),
        "error": ((), h5py.string_dtype("utf-8")),
    }
    for name in branch.spec.arrays:
        for part, array in branch.stored(name).items():
            kinds[part] = (array.row_shape, array.numpy_dtype)
    for name, (shape, dtype) in kinds.items():
        group.create_dataset(
            name,
            (count, *shape),
            dtype,
            chunks=(branch.shard_rows, *shape),
            maxshape=(None, *shape),
            fletcher32=dtype is not kinds["error"][1],
        )


def _export_shard(group: Hdf5, branch: BranchArrays, shard: int) -> None:
    content = branch.read_shard(shard)
    rows = branch.rows(shard)
    place = slice(rows.start, rows.stop)
    group["status"][place] = content.status
    for name, values in content.parts.items():
        group[name][place] = values
    if content.errors is not None:
        group["error"][place] = _texts(content.errors)


def _open_or_create(where: Location, root: dict[str, Any]) -> Store:
    try:
        store = Store.open(where)
    except NotAStore:
        return Store.create(where, scheme=root["scheme"], classes=root["classes"])
    if (store.scheme, list(store.classes)) != (root["scheme"], root["classes"]):
        raise StoreExists(
            f"{store.place.name} holds {store.scheme} {list(store.classes)}, the file "
            f"{root['scheme']} {root['classes']}. Import into a new store."
        )
    return store


def _import_videos(file: Hdf5, path: Path, store: Store, layout: Layout) -> None:
    columns: dict[str, Array] = {}
    for name, column in layout.columns.items():
        dataset = _dataset(file, f"videos/{name}", path)
        columns[name] = dataset.asstr()[:] if column.dtype == "string" else dataset[:]
    rows = store.add_videos(columns, keep_existing=True)
    if not np.array_equal(rows, np.arange(len(rows))):
        raise StoreExists(
            f"{store.place.name} holds other videos than {path}; import into a new store."
        )


def _import_branch(group: Hdf5, path: Path, store: Store) -> BranchArrays:
    described = _attributes(group, path)
    try:
        spec = BranchSpec.from_json(described["branch"])
        protocol = str(described["protocol"]["name"])
        shard_rows = int(described["branch"]["shard_rows"])
        details = dict(described["protocol"]["details"])
    except (KeyError, TypeError, ValueError) as error:
        raise NotAStore(f"{path}: {group.name} describes no branch ({error}).") from error
    return store.branch(protocol, spec, shard_rows=shard_rows, protocol_details=details)


def _branch_names(file: Hdf5) -> list[tuple[str, str]]:
    protocols = sorted(name for name in file if name != "videos")
    return [(protocol, name) for protocol in protocols for name in sorted(file[protocol])]


def _import_shard(group: Hdf5, branch: BranchArrays, shard: int, path: Path) -> None:
    rows = branch.rows(shard)
    place = slice(rows.start, rows.stop)
    status = _dataset(group, "status", path)[place]
    if status.shape != (len(rows),) or not np.isin(status, (0, 1, 2)).all():
        raise BadInput(f"{path}: {group.name} has statuses that do not exist.")
    if not status.any():
        return
    parts: dict[str, Array] = {}
    for name in branch.spec.arrays if (status == Status.OK).any() else ():
        for part, array in branch.stored(name).items():
            dataset = _dataset(group, part, path)
            if dataset.shape[1:] != array.row_shape or dataset.dtype != array.numpy_dtype:
                raise BadInput(f"{path}: {dataset.name} is {dataset.dtype}{dataset.shape}.")
            parts[part] = dataset[place]
    failed = (status == Status.FAILED).any()
    errors = _dataset(group, "error", path).asstr()[place] if failed else None
    branch.commit(shard, ShardContent(parts=parts, status=status, errors=errors))


def _dataset(group: Hdf5, name: str, path: Path) -> Hdf5:
    """A data set of this very file: links to others would read files that nobody named."""
    link = group.get(name, getlink=True)
    dataset = group[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise NotAStore(f"{path}: {name!r} is missing or lies outside the file.")
    return dataset


def _attributes(group: Hdf5, path: Path) -> dict[str, Any]:
    try:
        described = json.loads(group.attrs[_ATTRIBUTE])
    except (KeyError, TypeError, ValueError) as error:
        raise NotAStore(f"{path} was not made by `telltale store export`.") from error
    if not isinstance(described, dict):
        raise NotAStore(f"{path} was not made by `telltale store export`.")
    return described
