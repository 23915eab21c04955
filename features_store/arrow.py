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

    from features_store.table import Table


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


def features_table(table: "Table") -> pa.Table:
    """Rows of a table of features, arrays averaged over their views."""
    found = {
        "id": pa.array(table.ids.tolist(), pa.string()),
        "label": _names(table.labels, table.classes),
        "rank": pa.array(table.ranks, mask=np.isnan(table.ranks)),
        "source": pa.array(table.sources.tolist(), pa.string()),
        "split": pa.array(table.splits.tolist(), pa.string()),
    }
    for key in table.arrays:
        pooled = table.matrix(key)
        found[key] = pa.FixedSizeListArray.from_arrays(pa.array(pooled.ravel()), pooled.shape[1])
    return pa.table(found)


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
