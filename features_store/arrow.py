"""Videos and pooled features as Arrow tables, and from there as Parquet or pandas."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features_store.chunks import Array
from features_store.errors import BadInput
from features_store.schema import COLUMNS

if TYPE_CHECKING:
    import pandas as pd


def videos_table(columns: Mapping[str, Array], classes: Sequence[str]) -> pa.Table:
    """Columns of the videos table; labels become class names, what is not given null."""
    found = {}
    for name, values in columns.items():
        if name == "label":
            found[name] = _names(values, classes)
        elif COLUMNS[name].dtype == "string":
            texts = values.tolist()
            found[name] = pa.array([text or None for text in texts], pa.string())
        else:
            given = np.isnan(values) if values.dtype.kind == "f" else values == COLUMNS[name].fill
            found[name] = pa.array(values, mask=given)
    return pa.table(found)


def features_table(
    columns: Mapping[str, Array], pooled: Mapping[str, Array], classes: Sequence[str]
) -> pa.Table:
    """Columns of the videos table, and beside them features of shape (videos, numbers)."""
    known = videos_table(columns, classes)
    for key, array in pooled.items():
        lists = pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
        known = known.append_column(key, lists)
    return known


def frame(table: pa.Table) -> "pd.DataFrame":
    """As pandas has it."""
    try:
        return table.to_pandas()
    except ImportError as error:
        raise BadInput("pandas is not installed; `to_arrow` does without it.") from error


def _names(labels: Array, classes: Sequence[str]) -> pa.Array:
    return pa.array(
        [None if label < 0 else classes[label] for label in labels.tolist()], pa.string()
    )
