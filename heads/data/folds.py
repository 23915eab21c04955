"""Videos cut into parts that judge in turn: classes are spread evenly, and videos of one group (a
prompt, a person, an original clip) are never on both sides.

A fold follows from ids, labels, groups and a seed alone.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features_store.errors import BadInput
from features_store.store import Store
from features_store.table import Table
from heads.data.generators import of, sources_of_table
from heads.data.sides import Data, Mask, by_id
from heads.errors import BadSetting, BadTable

Groups = NDArray[np.object_] | None


def groups_of(store: Store, pattern: str | None) -> Groups:
    """A group for every video of a store: `group` for the manifest's column, else what a regular
    expression finds in the id (its first bracket, or all of it). A video it does not match is a
    group of its own."""
    if pattern is None:
        return None
    if pattern in ("group", "source"):
        return _column(store, pattern)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise BadSetting(f"--group-by {pattern!r} is no regular expression: {error}.") from error
    found = []
    for name in store.videos.column("id").tolist():
        match = expression.search(str(name))
        found.append(str(name) if match is None else (match.group(1 if match.re.groups else 0)))
    if len(set(found)) == len(found):
        raise BadSetting(
            f"--group-by {pattern!r} puts each video into a group of its own. Give an expression "
            f"that names what they share, such as '([^/]+)-[0-9]+\\.mp4'."
        )
    return np.array(found, dtype=object)


def _column(store: Store, name: str) -> NDArray[np.object_]:
    try:
        found = store.videos.column(name)
    except BadInput as error:
        raise BadSetting(
            f"{store.place.name} has no column {name!r}; give --group-by an expression over ids."
        ) from error
    names = store.videos.column("id").tolist()
    each = [str(one) or str(own) for one, own in zip(found.tolist(), names, strict=True)]
    return np.array(each, dtype=object)


def fold_numbers(
    ids: NDArray[np.generic], labels: NDArray[np.integer], count: int, groups: Groups, seed: int = 0
) -> NDArray[np.int64]:
    """Which fold judges each video; rows of one video are in one fold."""
    if groups is None and len(np.unique(ids)) < len(ids):
        groups = np.array([str(name) for name in ids], object)
    if count < 2:
        raise BadSetting(f"{count} folds: give 2 or more.")
    rows = np.argsort([str(name) for name in ids], kind="stable")  # whatever order they come in
    rarest = int(np.bincount(labels)[np.unique(labels)].min())
    if rarest < count:
        raise BadTable(
            f"{count} folds need {count} videos of each class; the rarest has {rarest}. "
            f"Give fewer folds."
        )
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # a second to import

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    found = np.zeros(len(ids), np.int64)
    ordered = None if groups is None else groups[rows]
    for number, (_, judged) in enumerate(splitter.split(rows, labels[rows], ordered)):
        found[rows[judged]] = number
    if ordered is not None and len(np.unique(found)) < count:
        raise BadTable(
            f"{count} folds of {len(np.unique(ordered))} groups: some fold would be empty. Give "
            f"fewer folds, or --group-by that makes smaller groups."
        )
    return found


def k_folds(whole: Data, count: int, groups: Groups = None, seed: int = 0) -> list[Data]:
    """Each video judges once. `whole` has every video twice: as it is learnt from, and as it
    judges; `groups` has one of each video of the store."""
    table = whole.validation
    own = None if groups is None else groups[table.rows]
    numbers = fold_numbers(table.ids, table.labels, count, own, seed)
    number_of = dict(zip(table.rows.tolist(), numbers.tolist(), strict=True))
    learning = np.array([number_of.get(row, -1) for row in whole.train.rows.tolist()])
    return [
        Data(
            train=whole.train.take((learning != fold) & (learning >= 0)),
            validation=table.take(numbers == fold),
        )
        for fold in range(count)
    ]


def leave_one_out(whole: Data) -> list[Data]:
    """Each generator judges once; reals of their own source are learnt from by a half."""
    found = sources_of_table(whole.train, at_least=2)
    return [
        Data(
            train=whole.train.take(~_judges(whole.train, name, found.reals)),
            validation=whole.validation.take(_judges(whole.validation, name, found.reals)),
        )
        for name in found.generators
    ]


def _judges(table: Table, name: str, reals: Sequence[str]) -> Mask:
    return of(table, [name]) | (of(table, reals) & ~by_id(table.ids, 0.5))


def with_stopping(data: Data, share: float, groups: Groups = None, seed: int = 0) -> Data:
    """A share of the videos learnt from decides when to stop instead, so that what judges a head
    has decided nothing about it."""
    table = data.train
    count = max(2, round(1 / share))
    own = None if groups is None else groups[table.rows]
    stops = fold_numbers(table.ids, table.labels, count, own, seed) == 0
    return replace(data, train=table.take(~stops), stopping=table.take(stops))
