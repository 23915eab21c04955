"""Stores made by earlier versions open for ever."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from features_store import Store, check
from features_store.place import LocalPlace
from tests.data.make_store_v1 import STORE, TOKENS
from tests.test_features_store import samples


def test_a_store_of_version_1_reads_as_it_was_written() -> None:
    store = Store.open(STORE)
    assert (store.scheme, store.classes) == ("hfv4", samples.CLASSES)
    assert check.verify(LocalPlace(STORE)) == []
    table = store.table(["internvideo2/cls", "internvideo2/depth"])
    assert table.rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    for i, row in enumerate(table.rows.tolist()):
        assert table.ids[i] == f"generator {row % 3}/clip é{row}.mp4"
        for name in ("cls", "depth"):
            assert np.array_equal(
                table.arrays[f"internvideo2/{name}"][i], samples.numbers(name, row)
            )
    assert store.open_branch(samples.PROTOCOL, "internvideo2").errors() == {
        3: "clip 3 has no frames"
    }


def test_quantised_and_compressed_arrays_of_version_1_too() -> None:
    store = Store.open(STORE)
    table = store.table(["depthpro/tokens", "depthpro/zipped"], allow_missing=True)
    assert table.rows.tolist() == [0, 1, 2, 4]
    expected = np.load(STORE.with_name("store_v1_tokens.npy"))
    assert np.array_equal(table.arrays["depthpro/tokens"], expected)
    for i, row in enumerate(table.rows.tolist()):
        zipped = samples.numbers("zipped", row, TOKENS)
        assert np.array_equal(table.arrays["depthpro/zipped"][i], zipped)


def test_a_store_of_version_1_can_be_extended(tmp_path: Path) -> None:
    path = Path(shutil.copytree(STORE, tmp_path / "s"))
    store = Store.open(path)
    store.add_videos(samples.video_columns(9, 13))
    branch = store.branch(samples.PROTOCOL, samples.SPEC)
    for shard in branch.missing_shards():
        status = branch.read_status(shard)
        assert (status == 0).any()
        samples.write(branch, shard)
    assert len(store.table(["internvideo2/cls"])) == 11
    with pytest.raises(ValueError, match="read-only"):
        store.videos.column("label")[0] = 1
