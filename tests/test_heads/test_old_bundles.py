"""Bundles made by earlier versions load for ever, and say what they said."""

from pathlib import Path

import numpy as np
import pytest

from heads.bundle import Bundle
from tests.test_heads.tables import table

OLD = Path(__file__).parent.parent / "data" / "bundles_v1"
NAMES = sorted(path.name for path in OLD.iterdir() if path.is_dir())


def test_there_is_one_of_every_head_of_then() -> None:
    assert NAMES == ["fusion", "gbdt", "knn", "linear"]


@pytest.mark.parametrize("name", NAMES)
def test_an_old_bundle_says_what_it_said(name: str, tmp_path: Path) -> None:
    bundle = Bundle.load(OLD / name)
    expected = np.load(OLD / f"{name}.npy")
    np.testing.assert_allclose(bundle.predict(table(seed=4)), expected, atol=2e-6)
    bundle.save(tmp_path / name)
    again = Bundle.load(tmp_path / name)
    np.testing.assert_allclose(again.predict(table(seed=4)), expected, atol=2e-6)
