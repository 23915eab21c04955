"""What may stand in the columns of the videos table."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.schema import COLUMNS, check_id

FIXED = ("label", "rank", "source", "split")
"""Columns that may not differ when a video is added again."""
_SHOWN = 3


def check_known(name: str) -> None:
    if name not in COLUMNS:
        raise BadInput(f"Column {name!r} unknown; have: {', '.join(COLUMNS)}.")


def filling(name: str) -> tuple[Any, Any]:
    """What stands for «not given» in a column, and its type."""
    column = COLUMNS[name]
    return column.fill, np.dtypes.StringDType() if column.dtype == "string" else column.dtype


def checked(
    columns: Mapping[str, Sequence[Any] | Array], classes: Sequence[str]
) -> dict[str, Array]:
    """All columns of new videos, those that were not given filled."""
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown or "id" not in columns:
        raise BadInput(
            f"Columns {sorted(columns)}: 'id' is needed, {', '.join(COLUMNS)} are known."
        )
    ids = [check_id(video) for video in columns["id"]]
    if len(set(ids)) != len(ids):
        twice = [video for video, times in Counter(ids).items() if times > 1]
        raise BadInput(f"Video id given twice: {_shown(twice)}. Ids are unique in a store.")
    found: dict[str, Array] = {}
    for name in COLUMNS:
        values = columns.get(name)
        if values is None:
            found[name] = np.full(len(ids), *filling(name))
            continue
        if len(values) != len(ids):
            raise BadInput(f"Column {name!r} has {len(values)} values for {len(ids)} videos.")
        found[name] = typed(name, values)
    _check_values(found, classes)
    return found


def check_existing(
    there: Mapping[str, Array], given: Mapping[str, Array], *, keep_existing: bool
) -> None:
    """Refuse videos that the store has already, or where they are not what they were."""
    if not keep_existing:
        raise BadInput(
            f"Already in the store: {_shown(list(given['id']))}. Ids are unique; pass "
            f"keep_existing=True to leave those rows as they are."
        )
    for name, values in there.items():
        differs = values != given[name]
        if name == "rank":
            differs &= ~(np.isnan(values) & np.isnan(given[name]))
        if differs.any():
            raise BadInput(
                f"{name} of {_shown(list(given['id'][differs]))} differs from the "
                f"store's ({values[differs][0]} there, {given[name][differs][0]} now). Rows are "
                f"never changed: make a new store, or give the values it was made with."
            )


def _check_values(columns: Mapping[str, Array], classes: Sequence[str]) -> None:
    labels, ranks = columns["label"], columns["rank"]
    wrong = (labels < -1) | (labels >= len(classes))
    if wrong.any():
        raise BadInput(
            f"Label {labels[wrong][0]} of {columns['id'][wrong][0]!r}: this store's classes "
            f"are {', '.join(f'{i} {name}' for i, name in enumerate(classes))}, or -1."
        )
    wrong = (ranks < 0) | (ranks > 1)
    if wrong.any():
        raise BadInput(
            f"Rank {ranks[wrong][0]} of {columns['id'][wrong][0]!r} is not in [0, 1]; leave "
            f"it out (NaN) where there is none."
        )


def typed(name: str, values: Sequence[Any] | Array) -> Array:
    """A column's values as they are kept."""
    dtype = COLUMNS[name].dtype
    if dtype == "string":
        texts = [str(value) for value in values]
        try:
            joined = "".join(texts)
            joined.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"Column {name!r} holds text that is not valid Unicode.") from error
        if "\0" in joined:
            raise BadInput(f"Column {name!r} holds a NUL; take it out, HDF5 cannot keep it.")
        return np.array(texts, np.dtypes.StringDType())
    try:
        array = np.asarray(values)
        found = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"Column {name!r} holds something that is no {dtype}: {error}.") from error
    if dtype.startswith("int") and not np.array_equal(found, array):
        raise BadInput(f"Column {name!r} holds values that do not fit {dtype}.")
    return found


def _shown(ids: Sequence[object]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(repr(str(video)) for video in ids[:_SHOWN]) + more
