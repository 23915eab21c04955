"""Features computed elsewhere, put into a store beside those of our branches.

A file holds ids and, for each id, one or several arrays: `.npz`, `.h5`, `.safetensors` and
`.parquet` by their names, `.npy` one array called `x`. Rows become videos of the store by their
ids. The fingerprint follows from ids and numbers, so the same features are the same branch,
whatever file they came in, and changed ones are another.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features_store.branch_arrays import BranchArrays
from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.schema import ArraySpec, BranchSpec, Status, fingerprint
from features_store.store import Store

ONE_ARRAY = "x"
"""What the array of a file without names is called."""
SUFFIXES = (".npy", ".npz", ".parquet", ".h5", ".hdf5", ".safetensors")
_IDS = ("id", "ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFeatures:
    """Arrays (n, views, …) and the ids of their n rows."""

    ids: tuple[str, ...]
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        if len(set(self.ids)) < len(self.ids):
            twice = next(each for each in self.ids if self.ids.count(each) > 1)
            raise BadInput(f"Id {twice!r} stands twice; give each video one row.")
        for name, array in self.arrays.items():
            if len(array) != len(self.ids):
                raise BadInput(
                    f"Array {name!r} has {len(array)} rows, there are {len(self.ids)} ids."
                )
        if not self.arrays or not self.ids:
            raise BadInput("There is nothing to import: no ids, or no numeric array.")

    @property
    def content(self) -> str:
        """A hash of ids and numbers, in the order of the ids."""
        order = np.argsort(np.array(self.ids, np.dtypes.StringDType()))
        hashed = hashlib.sha256("\n".join(self.ids[i] for i in order).encode())
        for name in sorted(self.arrays):
            array = self.arrays[name]
            hashed.update(f"\0{name} {array.dtype} {array.shape}\0".encode())
            for row in order:
                hashed.update(np.ascontiguousarray(array[row]).tobytes())
        return hashed.hexdigest()


def read_own_features(path: Path, ids: Path | None = None) -> OwnFeatures:
    """Read a file of features. `ids` is a text file with an id per line, for files without ids."""
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path}: suffix {path.suffix!r} unknown; have: {', '.join(SUFFIXES)}.")
    try:
        found = dict(_read(path))
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    own = next((found.pop(name) for name in _IDS if name in found), None)
    if ids is not None:
        names: Sequence[str] = ids.read_text(encoding="utf-8").splitlines()
    elif own is not None:
        names = [each.decode() if isinstance(each, bytes) else str(each) for each in own.tolist()]
    else:
        raise BadInput(f"{path} has no array 'id'; give --ids FILE, a text with an id per line.")
    arrays = {name: _checked(name, array) for name, array in found.items()}
    return OwnFeatures(ids=tuple(names), arrays=arrays)


def import_own_features(
    store: Store, features: OwnFeatures, *, name: str, protocol: str, source: str = ""
) -> tuple[BranchArrays, list[str]]:
    """Write them as branch `name` (`clip-b32`: branch clip, preset b32) under a protocol.

    Returns the branch and the ids that the store does not know; those are left out. A row with a
    number that is not finite becomes a failed video with that reason.
    """
    rows = {str(each): row for row, each in enumerate(store.videos.column("id"))}
    unknown = [each for each in features.ids if each not in rows]
    if len(unknown) == len(features.ids):
        raise BadInput(
            f"{store.place.name} has none of the {len(unknown)} ids, {unknown[0]!r} for one; its "
            f"first is {next(iter(rows), 'missing: it has no videos')!r}."
        )
    branch, _, preset = name.partition("-")
    specs = {
        key: ArraySpec(shape=array.shape[1:], dtype=str(array.dtype))
        for key, array in features.arrays.items()
    }
    about = {"own features": features.content, "name": name}
    spec = BranchSpec(
        name=branch, preset=preset or "own", fingerprint=fingerprint(about), arrays=specs,
        provenance={"imported from": source, "content": features.content},
    )  # fmt: skip
    target = store.branch(protocol, spec)
    position = np.full(store.videos.count, -1, np.int64)
    for index, each in enumerate(features.ids):
        if each in rows:
            position[rows[each]] = index
    for shard in range(target.shards):
        wanted = position[target.rows(shard).start : target.rows(shard).stop]
        if (wanted >= 0).any():
            target.write_shard(shard, *_shard(features, wanted))
    return target, unknown


def _shard(features: OwnFeatures, wanted: Array) -> tuple[dict[str, Array], Array, dict[int, str]]:
    """What `write_shard` takes for rows of which some have features."""
    there = np.flatnonzero(wanted >= 0)
    status = np.full(len(wanted), Status.MISSING, np.uint8)
    status[there] = Status.OK
    arrays: dict[str, Array] = {}
    errors: dict[int, str] = {}
    for name, array in features.arrays.items():
        part = np.zeros((len(wanted), *array.shape[1:]), array.dtype)
        part[there] = array[wanted[there]]
        for row in there[~np.isfinite(part[there].reshape(len(there), -1)).all(1)].tolist():
            status[row] = Status.FAILED
            errors[row] = f"its {name} is not finite"
            part[row] = 0
        arrays[name] = part
    return arrays, status, errors


def _checked(name: str, array: Array) -> Array:
    """(n, views, …), in a type that a store keeps."""
    if array.ndim == 0 or array.dtype.kind not in "fiu":
        raise BadInput(f"Array {name!r} is {array.dtype}{list(array.shape)}; numbers are needed.")
    return array.reshape(len(array), 1, -1) if array.ndim < 3 else array


def _read(path: Path) -> Iterator[tuple[str, Array]]:
    if path.suffix == ".npy":
        yield ONE_ARRAY, np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            yield from file.items()
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        yield from load_file(path).items()
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    else:
        import h5py

        with h5py.File(path) as file:
            for name, dataset in file.items():
                if isinstance(dataset, h5py.Dataset):
                    yield name, dataset[()]


def _parquet(path: Path) -> Iterator[tuple[str, Array]]:
    """Columns of lists are arrays of their own; columns of single numbers are one, in order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    single = []
    table = pq.read_table(path)
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name in _IDS:
            yield name, np.array(column.to_pylist(), object)
        elif pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            yield (
                name,
                np.stack([np.asarray(each) for each in column.to_numpy(zero_copy_only=False)]),
            )
        elif pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            single.append(column.to_numpy(zero_copy_only=False))
    if single:
        yield ONE_ARRAY, np.stack(single, 1)
