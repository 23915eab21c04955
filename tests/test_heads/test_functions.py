"""The commands as functions, stores as tables, a torch data set: as a script of a user has them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import heads
from features_store import Store
from features_store.own_features import import_own_features, read_own_features
from heads.data.dataset import LABEL, ROW, StoreDataset
from tests.test_heads.test_own_features import COUNT, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Imported features that tell the label."""
    from extract.manifest.manifest import ManifestOptions, read_manifest
    from extract.running.extraction import open_store

    write(tmp_path)
    manifest = read_manifest(tmp_path / "videos.csv", ManifestOptions(scheme="hfv2"))
    made = open_store(tmp_path / "s.zarr", manifest)
    made.add_videos(manifest.columns())
    own = read_own_features(tmp_path / "own.npz")
    import_own_features(made, own, name="own", protocol="own")
    return made


def test_train_evaluate_compare_score(store: Store, tmp_path: Path) -> None:
    good = heads.train(store, "linear", settings={"arrays": "own/signal"})
    bad = heads.train(store.place.name, "linear", settings={"arrays": "own/noise"})
    good.save(str(tmp_path / "good"))
    result = heads.evaluate(str(tmp_path / "good"), store)
    assert result.sources["all videos"].metrics.accuracy > 0.9
    difference = heads.compare(bad, good, store)["accuracy"]
    assert difference.interval.value > 0.1
    rows = heads.score(tmp_path / "good", store)
    assert rows.num_rows == COUNT
    assert set(rows["verdict"].to_pylist()) <= {"forgery", "real", "unsure"}


def test_importing_heads_costs_nothing() -> None:
    code = "import sys, heads; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        heads.trian  # noqa: B018


def test_videos_and_features_as_tables(store: Store) -> None:
    videos = store.videos.to_arrow()
    assert videos["label"].to_pylist()[:2] == ["forgery", "real"]
    assert videos["frames"].null_count == COUNT
    table = store.table(["own/signal", "own/noise"])
    assert table.matrix().shape == (COUNT, 10)
    assert np.array_equal(table.matrix("own/noise"), table.arrays["own/noise"][:, 0])
    rows = table.to_arrow()
    assert rows["own/signal"][3].as_py() == table.arrays["own/signal"][3, 0].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_the_videos_out(store: Store, workers: int) -> None:
    batches = StoreDataset(store.place.name, ["own/signal"], batch=16, shuffle=3)
    seen: list[int] = []
    context = "spawn" if workers else None
    loader = DataLoader(
        batches, batch_size=None, num_workers=workers, multiprocessing_context=context
    )
    known = store.table(["own/signal"])
    for batch in loader:
        rows = batch[ROW].tolist()
        assert np.array_equal(batch[LABEL].numpy(), known.labels[rows])
        assert np.array_equal(batch["own/signal"].numpy(), known.arrays["own/signal"][rows])
        seen += rows
    assert sorted(seen) == list(range(COUNT))
