"""Features of forged views as a table to learn from: a row a view, labelled by its fault.

Under a protocol `forged-V` every video was looked at as it is and forged in several ways (see
`extract.views.forgeries`). Forged views of a real video are of the class of their fault (of
`forgery` where classes are two) and of a source of their own, `forged:KIND`, so that kinds are left
out, balanced and judged as generators are. Of videos that are not real only views as they are
remain. So a head can learn from reals alone. It is used on views as they are, see `plain`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadProtocol
from extract.views.forgeries import ANOMALIES, WHOLE, kind_of_view
from extract.views.protocol import Protocol
from features_store.lazy import LazyRows
from features_store.table import Table
from heads.errors import BadTable
from heads.measuring.metrics import REAL

FORGERY = "forgery"
SOURCE = "forged:"
"""Before the kind, in the source of a forged view."""
_WINDOWS = 4


def is_forged(protocol: str) -> bool:
    return _parsed(protocol) is not None


def plain(protocol: str) -> str:
    """What shows as many frames of a video as a forged protocol's views do, as they are; any other
    protocol stays itself."""
    found = _parsed(protocol)
    if found is None:
        return protocol
    kept = replace(found, kind="windows", windows=_WINDOWS, samples=1)
    return kept.name


def by_view(table: Table) -> Table:
    """A row per view, where the views are forged; every other table as it is."""
    if not is_forged(table.protocol):
        return table
    if REAL not in table.classes:
        raise BadTable(f"Classes {', '.join(table.classes)}: there is no {REAL!r} to forge.")
    views = next(rows.shape[1] for kept in (table.arrays, table.lazy) for rows in kept.values())
    real = table.labels == table.classes.index(REAL)
    kinds = [kind_of_view(view) for view in range(views)]
    everything = np.ones(len(table), bool)
    taken = [np.flatnonzero(real if kind else everything) for kind in kinds]
    whole, videos = replace(table, lazy={}), np.concatenate(taken)
    parts = [_view(whole, view, kind).take(taken[view]) for view, kind in enumerate(kinds)]
    numbers = np.repeat(np.arange(views), [len(rows) for rows in taken])
    lazy = {key: rows.by_view(videos, numbers) for key, rows in table.lazy.items()}
    return _joined(parts, lazy)


def _parsed(protocol: str) -> Protocol | None:
    try:
        found = Protocol.parse(protocol)
    except BadProtocol:  # a name of the user's own
        return None
    return found if found.kind == "forged" else None


def _view(table: Table, view: int, kind: str) -> Table:
    """One view of every video."""
    arrays = {key: array[:, view : view + 1] for key, array in table.arrays.items()}
    if kind == WHOLE:
        return replace(table, arrays=arrays)
    sources = np.full(len(table), f"{SOURCE}{kind}", np.dtypes.StringDType())
    labels = np.full(len(table), _label(kind, table.classes), table.labels.dtype)
    return replace(table, arrays=arrays, sources=sources, labels=labels)


def _label(kind: str, classes: tuple[str, ...]) -> int:
    name = ANOMALIES[kind] if ANOMALIES[kind] in classes else FORGERY
    if name not in classes:
        raise BadTable(f"A {ANOMALIES[kind]} forgery is none of the classes {', '.join(classes)}.")
    return classes.index(name)


def _joined(parts: list[Table], lazy: Mapping[str, LazyRows]) -> Table:
    """Views of one video side by side, in the videos' order."""

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([np.asarray(getattr(part, name)) for part in parts])

    order = np.argsort(column("rows"), kind="stable")
    first = parts[0]
    return replace(
        first, rows=column("rows"), ids=column("ids"),
        labels=column("labels"), ranks=column("ranks"), sources=column("sources"),
        splits=column("splits"),
        arrays={
            key: np.concatenate([part.arrays[key] for part in parts]) for key in first.arrays
        },
        lazy=lazy,
    ).take(order)  # fmt: skip
