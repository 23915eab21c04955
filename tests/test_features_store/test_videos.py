"""What is noted of videos after they were added."""

import threading
from pathlib import Path

import numpy as np
import pytest

from features_store import Store, check
from features_store.errors import BadInput
from features_store.schema import COLUMNS
from features_store.video_files import CHUNK_ROWS


def store_of(folder: Path, count: int) -> Store:
    store = Store.create(folder / "s", scheme="hfv2", classes=("forgery", "real"))
    store.add_videos(
        {"id": [f"{n}.mp4" for n in range(count)], "label": [n % 2 for n in range(count)]}
    )
    return store


def test_what_is_noted_is_there_and_nothing_else_has_changed(tmp_path: Path) -> None:
    """In two chunks of the table; an open store sees it, and so does one that is opened later."""
    count = CHUNK_ROWS + 5
    store, other = store_of(tmp_path, count), Store.open(tmp_path / "s")
    assert other.videos.column("frames")[3] == -1
    rows = np.array([3, CHUNK_ROWS + 1])
    digests = np.array(["ab", "cd"], np.dtypes.StringDType())
    other.videos.note(rows, {"frames": np.array([9, 11], np.int32), "digest": digests})
    store.videos.note(np.array([4]), {"frames": np.array([5], np.int32)})
    for there in (store, Store.open(tmp_path / "s")):
        frames = there.videos.column("frames")
        assert (frames[3], frames[4], frames[CHUNK_ROWS + 1]) == (9, 5, 11)
        assert (frames >= 0).sum() == 3
        assert there.videos.column("digest")[rows].tolist() == ["ab", "cd"]
        assert there.videos.column("label").tolist() == [n % 2 for n in range(count)]
    store.add_videos({"id": ["new.mp4"]})
    assert store.videos.column("frames")[3] == 9
    assert check.verify(store.place) == []


def test_a_column_that_is_not_given_is_stored_as_if_its_filling_were(tmp_path: Path) -> None:
    ids = [f"{n}.mp4" for n in range(CHUNK_ROWS + 5)]
    stored = []
    for place, given in (("short", {}), ("full", COLUMNS)):
        store = Store.create(tmp_path / place, scheme="hfv2", classes=("forgery", "real"))
        for some in (ids[:9], ids[9:]):  # into an empty table, and behind what is there
            filled = {name: [column.fill] * len(some) for name, column in given.items()}
            store.add_videos({**filled, "id": some})
        files = sorted((tmp_path / place / "videos").rglob("c.*"))
        stored.append([(f"{file.parent.name}/{file.name}", file.read_bytes()) for file in files])
    assert stored[0] == stored[1]
    assert len(stored[0]) == 2 * len(COLUMNS)


def test_only_what_decoding_finds_out_is_noted(tmp_path: Path) -> None:
    store = store_of(tmp_path, 2)
    with pytest.raises(BadInput, match=r"\['label'\] never change; frames, fps, width"):
        store.videos.note(np.array([0]), {"label": np.array([1])})


def test_several_that_note_and_add_at_once_lose_nothing(tmp_path: Path) -> None:
    store_of(tmp_path, 8)

    def note(number: int) -> None:
        store = Store.open(tmp_path / "s")
        for step in range(5):
            frames = np.array([10 * number + step], np.int32)
            store.videos.note(np.array([number]), {"frames": frames})
            store.add_videos({"id": [f"more/{number}-{step}.mp4"]})

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store.open(tmp_path / "s")
    assert store.videos.column("frames")[:4].tolist() == [4, 14, 24, 34]
    assert store.videos.count == 8 + 20
    assert check.verify(store.place) == []
