"""Which videos a generator is judged on: its own, and reals.

Real videos that are a source of their own belong to no generator and join every one: a generator
without reals has no AUC. Where sources bring reals of their own, those stay with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features_store.table import Table
from heads.errors import BadTable
from heads.measuring.metrics import REAL

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of some videos."""

    generators: tuple[str, ...]
    reals: tuple[str, ...]
    """Sources that have real videos only."""
    masks: Mapping[str, Mask]
    """Generator → its videos and those of `reals`. Without generators: each source by itself."""


def sources_of(
    names: Sequence[str], labels: NDArray[np.integer], classes: Sequence[str]
) -> Sources:
    """The one rule for every table with a column for each generator."""
    found = np.array([str(name) for name in names], dtype=object)
    real = labels == (list(classes).index(REAL) if REAL in classes else -1)
    own = {name: found == name for name in sorted(set(found.tolist()))}
    reals = tuple(name for name, mask in own.items() if real[mask].all())
    generators = tuple(name for name in own if name not in reals)
    shared = np.logical_or.reduce([own[name] for name in reals]) if reals else real & False
    masks = {name: own[name] | shared for name in generators} or own
    return Sources(generators=generators, reals=reals, masks=masks)


def sources_of_table(table: Table, *, at_least: int = 1) -> Sources:
    """Of a table's videos; fewer generators than asked for are refused."""
    found = sources_of(table.sources.tolist(), table.labels, table.classes)
    if len(found.generators) < at_least:
        raise BadTable(
            f"{at_least} generators or more are needed; there is "
            f"{', '.join(found.generators) or 'none'}. One of reals alone is none."
        )
    return found


def of(table: Table, sources: Sequence[str]) -> Mask:
    """Which videos are of these sources."""
    mask: Mask = np.isin(table.sources, np.array(sources, np.dtypes.StringDType()))
    return mask
