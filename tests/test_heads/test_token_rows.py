"""Token heads and fine-tuning read the views that they learn from, and no others."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from features_store.shard_files import ShardFiles
from heads.parts.tokens import one_view
from tests.test_features_store.test_lazy import KEY, filled, spec


def test_one_view_of_each_row_is_all_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "s", spec())
    whole, lazy = store.table([KEY]).arrays[KEY], store.table([KEY], lazy=[KEY]).lazy[KEY]
    rows, views = np.array([7, 2, 2, 9, 7]), np.array([3, 0, 1, 0, 3])
    read: list[NDArray[np.generic]] = []
    rows_of = ShardFiles.rows_of

    def watched(files: ShardFiles, *given: object, **named: object) -> NDArray[np.generic]:
        read.append(rows_of(files, *given, **named))  # type: ignore[arg-type]
        return read[-1]

    monkeypatch.setattr(ShardFiles, "rows_of", watched)
    found = one_view(lazy, rows, views)
    np.testing.assert_array_equal(found, whole[rows, views])
    np.testing.assert_array_equal(one_view(whole, rows, views), found)
    assert sum(part.shape[0] * part.shape[1] for part in read) == 4  # one sample came twice
