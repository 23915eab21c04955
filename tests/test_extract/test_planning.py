"""Planning by columns and by folders says what row by row and file by file would say."""

import csv
import difflib
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.errors import BadManifest, BadSetting
from extract.manifest import folders, texts
from extract.manifest.manifest import ManifestOptions, Video, read_manifest
from extract.manifest.names import escaped
from extract.manifest.segments import split_name
from extract.manifest.texts import Names, Texts
from extract.manifest.video_table import VideoTable
from features_store.look_up import rows_of

CLASSES = ("appearance", "spatial", "motion", "real")


def made_up_tree(root: Path) -> list[str]:
    """Folders with files and links in every direction, and names of rows, right ones and wrong."""
    outside = root.parent / "outside"
    for folder in (outside, root / "a", root / "b" / "c", root / "é", root / "back\\x41"):
        folder.mkdir(parents=True)
        for name in ("0.mp4", "#t=1,2", "one#t=0.0,1.5"):
            (folder / name).touch()
    (root / "in").symlink_to("b/c")
    (root / "out").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "a" / "here.mp4").symlink_to("../b/c/0.mp4")
    (root / "a" / "there.mp4").symlink_to(outside / "0.mp4")
    (root / "a" / "lost.mp4").symlink_to("nowhere.mp4")
    (outside / "home.mp4").symlink_to(root / "a" / "0.mp4")
    (outside / "root").symlink_to(root)
    bases = ("", "a/", "./a//", "b/c/", "b/../a/", "in/", "out/", "out/root/a/", "loop/", "gone/",
             "../", f"../{root.name}/a/", "é/", "back\\x41/", f"{root}/a/",
             "a/0.mp4/", "/")  # fmt: skip
    names = ("0.mp4", "#t=1,2", "one#t=0.0,1.5", "0.mp4#t=1.0,2", "0.mp4#t=2,1", "here.mp4",
             "there.mp4", "lost.mp4", "home.mp4", ".", "..", "", "x\\x5c.mp4")  # fmt: skip
    return [base + name for base in bases for name in names]


def place(root: str, file: str) -> tuple[str, str] | str:
    """Id and path of one row, or what is wrong with it: every file by itself."""
    if not file:
        return "no file name"
    path = os.path.normpath(os.path.join(root, file))  # noqa: PTH118, bytes-exact
    segment, wrong = None, ""
    if not os.path.lexists(path):
        try:
            path, segment = split_name(path)
        except BadSetting as error:
            wrong = str(error)
    relative = os.path.relpath(path, root)
    if relative in (".", "..") or relative.startswith("../"):
        return "; ".join(filter(None, (wrong, f"file {file!r} leaves the root {root!r}")))
    inside = os.path.realpath(root)
    if os.path.commonpath([os.path.realpath(path), inside]) != inside:
        return "; ".join(filter(None, (wrong, f"file {file!r} is a link that leaves the root")))
    return wrong or (escaped(relative) + str(segment or ""), path)


def planned(root: str, rows: Sequence[tuple[str, ...]]) -> tuple[list[Video], list[str]]:
    """The videos of such a list, and its problems."""
    first: dict[str, tuple[int, Video]] = {}
    problems = []
    for line, (file, label, rank, split) in enumerate(rows, start=2):
        found = place(root, file)
        if isinstance(found, str):
            problems += [f"list.csv:{line}: {text}" for text in found.split("; ")]
            continue
        video = Video(
            id=found[0], path=found[1], label=CLASSES.index(label), split=split,
            rank=float(rank or "nan"), source=label[0],
        )  # fmt: skip
        line_before, before = first.setdefault(video.id, (line, video))
        if before is video:
            continue
        alike = before.label == video.label and repr(before.rank) == repr(video.rank)
        if {before.split, split} == {"val", "test"} and alike:
            merged = Video(**{name: getattr(before, name) for name in before.__slots__}
                           | {"split": "val+test"})  # fmt: skip
            first[video.id] = line_before, merged
        else:
            problems.append(
                f"list.csv:{line}: {video.id!r} was given before, at list.csv:{line_before}"
            )
    return [video for _, video in first.values()], problems


@pytest.mark.parametrize("listed_from", [1, 3, 64])
def test_any_list_is_planned_as_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed_from: int
) -> None:
    monkeypatch.setattr(folders, "_LISTED_FROM", listed_from)
    root = tmp_path / "root"
    root.mkdir()
    names = made_up_tree(root)
    draw = random.Random(listed_from)
    options = ManifestOptions(scheme="hfv4", root=root)
    kinds = set()
    for count in [*[len(names)] * 3, *[4] * 150]:
        rows = [
            (draw.choice(names), draw.choice(CLASSES[:2]), draw.choice(("", "0.5")),
             draw.choice(("val", "test")))
            for _ in range(count)
        ]  # fmt: skip
        listing = tmp_path / "list.csv"
        with listing.open("w") as file:
            lines = [(*row, row[1][0]) for row in rows]
            csv.writer(file).writerows([("path", "label", "rank", "split", "source"), *lines])
        videos, problems = planned(str(root), rows)
        kinds.add(bool(problems))
        if problems:
            with pytest.raises(BadManifest) as caught:
                read_manifest(listing, options)
            assert list(caught.value.problems) == problems
        else:
            found = read_manifest(listing, options)
            assert repr(list(found.videos)) == repr(videos)  # repr: NaN is NaN
            assert list(found.columns()["path"]) == [escaped(video.path) for video in videos]
    assert kinds == {True, False}


def test_a_folder_with_more_entries_than_rows_is_not_listed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at all of a folder is never more than a few times what its rows cost."""
    for number in range(300):
        (tmp_path / f"{number}.mp4").touch()
    monkeypatch.setattr(folders, "_LISTED_FROM", 2)
    seen = list[str]()
    scandir = os.scandir

    def counted(path: str) -> object:
        seen.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    folder = folders.Folders(str(tmp_path)).of(str(tmp_path), "0.mp4")
    assert folder is not None
    for number in range(100):
        assert not folder[0].has_link(f"{number}.mp4")
    assert len(seen) == 6  # at 2, 4, …, 32 rows too many are there, at 64 rows they are not


def test_names_of_columns_are_looked_at_once_for_all_lines_that_repeat_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, near = [], difflib.get_close_matches

    def counted(name: str, *arguments: Any, **options: Any) -> list[str]:  # noqa: ANN401
        seen.append(name)
        return near(name, *arguments, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    lines = [f'{{"path": "{number}.mp4", "of my own": 1}}\n' for number in range(20)]
    (tmp_path / "t.jsonl").write_text("".join(lines))
    assert len(read_manifest(tmp_path / "t.jsonl").videos) == 20
    assert sorted(seen) == ["of my own", "path"]


def test_a_table_is_read_like_a_tuple() -> None:
    videos = (
        Video(id="a.mp4", path="/r/a.mp4", label=1, rank=0.5, source="s", split="val", group="g"),
        Video(id="b.mp4#t=0.0,1.0", path="/r/b.mp4", score=2.0),
        Video(id="é", path="/elsewhere/\udcff"),
    )
    table = VideoTable.of("/r", videos)
    assert table == videos
    assert table[1:] == videos[1:]
    assert table[-1] == videos[2]
    assert tuple(table.take([2, 0])) == (videos[2], videos[0])
    assert VideoTable.of("/r", table) is table
    with pytest.raises(IndexError):
        table[3]
    assert math.isnan(table[1].rank)


@pytest.mark.parametrize("at_once", [2, 100])
def test_texts_and_names_keep_what_they_are_given(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_AT_ONCE", at_once)
    given = ["", "a", "ü" * 300, "\udcff", "a"]
    for kind in (Texts, Names):
        found = kind(given)
        assert list(found) == given
        assert found[1:4] == given[1:4]
        assert found[-1] == "a"
    names = Names(given)
    names.change(4, "b")
    assert names[4] == "b"
    assert names.among(["a", "b", "c"]).tolist() == [False, True, False, False, True]
    names.change(1, "b")
    assert sorted(names.known()) == sorted({"", "b", "ü" * 300, "\udcff"})


class _Alike(str):
    """A text whose hash others have too."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


def test_rows_are_found_by_their_texts_where_hashes_agree() -> None:
    ids = np.array([f"{number}.mp4" for number in range(50)], np.dtypes.StringDType())
    wanted = ["7.mp4", "no", "49.mp4", "0.mp4"]
    assert rows_of(ids, wanted).tolist() == [7, -1, 49, 0]
    assert rows_of(ids[:0], wanted).tolist() == [-1] * 4
    assert rows_of(ids, []).tolist() == []
    column = np.array([_Alike("a"), _Alike("b")], object)
    assert rows_of(column, [_Alike("b"), _Alike("c")]).tolist() == [1, -1]
    assert rows_of(column[:1], [_Alike("c"), _Alike("a")]).tolist() == [-1, 0]
