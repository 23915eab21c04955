"""Files that change after they were extracted, and what the videos table knows of them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.errors import BadSetting
from extract.manifest.manifest import Manifest, read_manifest
from extract.running.extraction import Extraction
from features_store import Store, check
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import assert_equal_stores, extract, settings, tiny

COUNT = 6


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "data").mkdir()
    for number in range(COUNT):
        write_clip(tmp_path / "data" / f"{number}.mp4", frames=9 + number, size=(96, 64))
    return read_manifest(str(tmp_path / "data"))


def replace_video(manifest: Manifest, position: int) -> None:
    write_clip(Path(manifest.videos[position].path), frames=40, size=(64, 96))


def changed(manifest: Manifest, store: Path) -> list[int]:
    found = Extraction.begin(manifest, store, tiny("internvideo2"), settings())
    return found.changed.tolist()  # type: ignore[no-any-return]


def test_the_videos_table_knows_what_was_seen(manifest: Manifest, tmp_path: Path) -> None:
    extract(manifest, tmp_path / "s")
    store = Store.open(tmp_path / "s")
    assert store.videos.column("frames").tolist() == [9 + n for n in range(COUNT)]
    assert store.videos.column("fps").tolist() == [25.0] * COUNT
    assert store.videos.column("width").tolist() == [96] * COUNT
    assert store.videos.column("height").tolist() == [64] * COUNT
    assert len(set(store.videos.column("digest").tolist())) == COUNT
    assert {len(digest) for digest in store.videos.column("digest").tolist()} == {32}
    assert check.verify(store.place) == []


def test_a_file_that_changed_is_said_and_kept_until_it_is_asked_for(
    manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "s")
    digest = Store.open(tmp_path / "s").videos.column("digest")[2]
    replace_video(manifest, 2)
    for _ in range(2):
        assert changed(manifest, tmp_path / "s") == [2]
        assert extract(manifest, tmp_path / "s").done == 0
    assert extract(manifest, tmp_path / "s", settings(changed="ignore")).done == 0
    again = extract(manifest, tmp_path / "s", settings(changed="recompute"))
    assert (again.ok, again.done) == (1, 1)
    assert changed(manifest, tmp_path / "s") == []
    store = Store.open(tmp_path / "s")
    assert store.videos.column("frames")[2] == 40
    assert store.videos.column("digest")[2] != digest
    assert check.verify(store.place) == []
    extract(manifest, tmp_path / "anew")
    assert_equal_stores(tmp_path / "s", tmp_path / "anew")


def test_a_file_that_was_touched_or_copied_or_is_gone_has_not_changed(
    manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "s")
    os.utime(manifest.videos[0].path)
    Path(manifest.videos[1].path).unlink()
    shutil.copy(manifest.videos[3].path, tmp_path / "copy.mp4")
    (tmp_path / "copy.mp4").replace(manifest.videos[3].path)
    assert changed(manifest, tmp_path / "s") == []
    content = bytearray(Path(manifest.videos[4].path).read_bytes())
    content[-1] ^= 1
    Path(manifest.videos[4].path).write_bytes(content)
    assert changed(manifest, tmp_path / "s") == [4]


def test_a_recomputation_that_was_stopped_is_still_to_be_done(
    manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "s")
    for position in (1, 4):
        replace_video(manifest, position)
    anew = settings(changed="recompute")
    asked = iter([False, True])
    extraction = Extraction.begin(manifest, tmp_path / "s", tiny("internvideo2"), anew)
    summary = extraction.run(workers=1, bar=False, stop=lambda: next(asked, True))
    assert (summary.stopped, summary.done) == (True, 1)
    assert extract(manifest, tmp_path / "s").ok == 1
    assert changed(manifest, tmp_path / "s") == []
    extract(manifest, tmp_path / "anew")
    assert_equal_stores(tmp_path / "s", tmp_path / "anew")


def test_two_versions_of_a_file_are_not_mixed_between_branches(
    manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "s", branches=("internvideo2", "depthpro"))
    replace_video(manifest, 2)
    with pytest.raises(BadSetting, match=r"val/depthpro-tiny@.* holds 1 of the changed videos"):
        extract(manifest, tmp_path / "s", settings(changed="recompute"))
    both = ("internvideo2", "depthpro")
    assert extract(manifest, tmp_path / "s", settings(changed="recompute"), branches=both).ok == 1


def test_a_branch_that_is_added_leaves_changed_files_out(
    manifest: Manifest, tmp_path: Path
) -> None:
    extract(manifest, tmp_path / "s")
    replace_video(manifest, 2)
    both = ("internvideo2", "depthpro")
    assert extract(manifest, tmp_path / "s", branches=both).ok == COUNT - 1
    added = Store.open(tmp_path / "s").open_branch("val", "depthpro")
    assert added.status().tolist() == [1, 1, 0, 1, 1, 1]
    assert extract(manifest, tmp_path / "s", settings(changed="recompute"), branches=both).ok == 1
    extract(manifest, tmp_path / "anew", branches=both)
    assert_equal_stores(tmp_path / "s", tmp_path / "anew")


def test_stores_from_before_go_on_without_decoding_anew(manifest: Manifest, tmp_path: Path) -> None:
    """A store in which nothing is known of the files but what its branches say."""
    few = replace(manifest, videos=manifest.videos[:4])
    extract(few, tmp_path / "s")
    (group,) = (tmp_path / "s" / "val").glob("file-*")
    shutil.rmtree(group)
    assert changed(few, tmp_path / "s") == []
    assert extract(manifest, tmp_path / "s").done == COUNT - 4
    store = Store.open(tmp_path / "s")
    status = store.open_branch("val", "file").status()
    np.testing.assert_array_equal(status, [0] * 4 + [1] * (COUNT - 4))
