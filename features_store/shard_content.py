"""What a writer hands in for a shard, checked and turned into what is stored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.quantise import quantise
from features_store.schema import ArraySpec, Status

_ERROR_CHARACTERS = 1000
NUL = "\N{SYMBOL FOR NULL}"
"""Stands for a NUL, which HDF5 and much else takes for the end of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardContent:
    """One shard as it is stored, one row per video."""

    parts: Mapping[str, Array]
    """Zarr array name → rows; empty where no video is OK."""
    status: Array
    errors: Array | None
    """Reasons, where any video failed."""


def checked(
    where: str,
    specs: Mapping[str, ArraySpec],
    rows: int,
    arrays: Mapping[str, Array],
    outcome: tuple[Array | None, Mapping[int, str]],
) -> ShardContent:
    """Refuse what does not fit the branch; quantise; blank the rows that are not OK.

    `outcome` is the rows' statuses (all OK where None) and why the failed ones failed.
    """
    status = _checked_status(where, rows, *outcome)
    _check_arrays(where, rows, arrays, specs)
    ok = status == Status.OK
    parts: dict[str, Array] = {}
    for name, spec in specs.items() if ok.any() else ():
        parts |= _parts(where, name, spec, arrays[name], ok)
    return ShardContent(parts=parts, status=status, errors=_error_texts(rows, outcome[1]))


def lengthened(content: ShardContent, rows: int) -> ShardContent:
    """The same with missing rows at its end, for a shard that has grown meanwhile."""
    more = rows - len(content.status)
    if not more:
        return content
    parts = {
        name: np.concatenate([part, np.zeros((more, *part.shape[1:]), part.dtype)])
        for name, part in content.parts.items()
    }
    errors = content.errors
    if errors is not None:
        errors = np.concatenate([errors, np.full(more, "", object)])
    status = np.concatenate([content.status, np.zeros(more, np.uint8)])
    return ShardContent(parts=parts, status=status, errors=errors)


def taken(new: Array, before: Array) -> Array:
    """Which rows of a new shard replace what is there.

    What is OK stays as it is, whoever comes later with whatever: numbers change only after they
    were forgotten. A row that was not done leaves an earlier failure in place.
    """
    mask: Array = (new != Status.MISSING) & (before != Status.OK)
    return mask


def merged_rows(new: Array, ok: Array, stored: Array, kept: Array) -> Array:
    """The rows `ok` of the new, `kept` of what is stored, zeros elsewhere."""
    rows = np.zeros_like(new)
    rows[ok] = new[ok]
    rows[kept] = stored[: len(new)][kept]
    return rows


def _checked_status(
    where: str, rows: int, status: Array | None, errors: Mapping[int, str]
) -> Array:
    checked = np.ones(rows, np.uint8) if status is None else np.asarray(status)
    if checked.shape != (rows,) or not np.isin(checked, (0, 1, 2)).all():
        raise BadInput(f"{where}: status must be {rows} numbers, each 0, 1 or 2.")
    failed = set(np.flatnonzero(checked == Status.FAILED).tolist())
    if failed != set(errors) or not all(errors.values()):
        raise BadInput(
            f"{where}: rows {sorted(failed)} failed and reasons were given for "
            f"{sorted(errors)}; give each failed row, and no other, a non-empty reason."
        )
    return checked.astype(np.uint8)


def _check_arrays(
    where: str, rows: int, arrays: Mapping[str, Array], specs: Mapping[str, ArraySpec]
) -> None:
    if set(arrays) != set(specs):
        raise BadInput(f"{where}: got {sorted(arrays)}, needs {sorted(specs)}.")
    for name, spec in specs.items():
        got, shape = arrays[name], (rows, *spec.shape)
        if not isinstance(got, np.ndarray):
            raise BadInput(f"{where}: {name!r} is a {type(got).__name__}, must be a NumPy array.")
        if got.shape != shape or got.dtype != np.dtype(spec.dtype):
            raise BadInput(
                f"{where}: {name!r} is {got.dtype}{list(got.shape)}, must be "
                f"{spec.dtype}{list(shape)}. Convert it before writing."
            )


def _parts(where: str, name: str, spec: ArraySpec, data: Array, ok: Array) -> dict[str, Array]:
    if not ok.all():
        data = data.copy()
        data[~ok] = 0  # the same bytes whatever a failed row happened to hold
    if spec.quantise == "none":
        return {name: data}
    numbers, scale = quantise(data, f"{where}, {name}")
    return {name: numbers, f"{name}.scale": scale}


def _error_texts(rows: int, errors: Mapping[int, str]) -> Array | None:
    if not errors:
        return None
    texts = np.full(rows, "", object)
    for position, text in errors.items():
        clean = text.encode(errors="replace").decode().replace("\0", NUL)
        texts[position] = clean[:_ERROR_CHARACTERS]
    return texts
