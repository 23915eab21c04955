"""What is to be scored, as columns: ids, paths and versions of files."""

import os
from pathlib import Path

import pytest

from extract.manifest.texts import Texts
from heads.scoring import versions
from heads.scoring.inputs import read_inputs
from heads.scoring.rows import Inputs


def test_several_inputs_are_one_manifest_in_which_a_video_is_once(tmp_path: Path) -> None:
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("path,source\na/2.mp4,mine\nb/1.mp4,mine\n")
    inputs = [str(tmp_path / name) for name in ("a", "list.csv", "b/1.mp4")]
    found = read_inputs(inputs, None, None)
    assert found.root == tmp_path
    videos = [(video.id, video.path, video.source) for video in found.videos]
    assert videos == [
        ("a/1.mp4", str(tmp_path / "a/1.mp4"), ""),
        ("a/2.mp4", str(tmp_path / "a/2.mp4"), ""),
        ("b/1.mp4", str(tmp_path / "b/1.mp4"), "mine"),
    ]


def test_many_files_have_the_versions_that_each_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_PATHS_AT_ONCE", 2)
    names = ["0.mp4", "gone.mp4", "2 \udcff.mp4", "3.mp4", "4.mp4"]
    paths = [str(tmp_path / name) for name in names]
    for number, path in enumerate(paths):
        if "gone" not in path:
            Path(path).write_bytes(b"x" * number)
            os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number))
    found = versions.versions(iter(paths))
    each = [versions.version(path) for path in paths]
    assert [(row["size"], row["modified"]) for row in found.to_pylist()] == each
    assert each[1] == (None, None)
    assert each[3] == (3, "2020-09-13T12:26:40.123456792Z")
    ids = Texts(f"{number}.mp4" for number in range(5))
    inputs = Inputs(ids=ids, paths=ids, sources=ids, labels=ids, versions=found)
    assert versions.keys(inputs) == [
        versions.key(name, which) for name, which in zip(ids, each, strict=True)
    ]
