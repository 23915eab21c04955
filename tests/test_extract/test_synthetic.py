"""The made-up data set: readable as HFV, the same every time, anomalies where they belong."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extract.decoding.video import open_video
from extract.errors import BadSetting
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.synthesis.clip import render
from extract.synthesis.data_set import (
    CLASSES,
    GENERATORS,
    REAL,
    SyntheticOptions,
    plan_data_set,
    write_data_set,
)
from extract.synthesis.faults import KINDS
from features_store.errors import OutputExists
from heads.commands.main import main


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_written_twice_it_is_the_same(tmp_path: Path) -> None:
    options = SyntheticOptions(videos=18, seed=4)
    for name in ("one", "two"):
        assert len(list(write_data_set(tmp_path / name, options))) == 18
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    manifest = read_manifest(
        tmp_path / "one", ManifestOptions(require_ranks=True, check_files=True)
    )
    planned = plan_data_set(options)
    assert {video.id: (video.label, video.rank, video.split) for video in manifest.videos} == {
        f"{video.folder}/{video.file}": (video.label, video.rank, video.split) for video in planned
    }
    two = read_manifest(
        tmp_path / "one" / planned[0].folder / f"{planned[0].split}_2.csv",
        ManifestOptions(scheme="hfv2", root=tmp_path / "one" / planned[0].folder),
    )
    assert {video.label for video in two.videos} <= {0, 1}
    for video in planned:
        with open_video(tmp_path / "one" / video.folder / video.file) as opened:
            generator = video.generator
            assert opened.info.frames == generator.frames
            assert (opened.info.width, opened.info.height) == (generator.width, generator.height)
    assert list(write_data_set(tmp_path / "one", options)) == []
    with pytest.raises(OutputExists, match="with another seed"):
        list(write_data_set(tmp_path / "one", replace(options, seed=options.seed + 1)))
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "mine").write_text("")
    with pytest.raises(OutputExists, match="did not make it"):
        list(write_data_set(tmp_path / "three", options))


def test_a_longer_set_begins_as_the_shorter_one() -> None:
    short = plan_data_set(SyntheticOptions(videos=20))
    longer = plan_data_set(SyntheticOptions(videos=60))
    assert [video.clip for video in short] == [video.clip for video in longer[:20]]
    assert [video.split for video in short] == [video.split for video in longer[:20]]


def test_classes_generators_splits_and_ranks_are_spread() -> None:
    videos = plan_data_set(SyntheticOptions(videos=400))
    for generator in GENERATORS:
        own = [video for video in videos if video.generator == generator]
        assert {video.label for video in own} == set(range(len(CLASSES)))
        assert {video.split for video in own} == (
            {"test"} if generator.test_only else {"train", "val", "test"}
        )
    for label in range(len(CLASSES)):
        own = sorted((v for v in videos if v.label == label), key=lambda video: video.rank)
        severities = [video.clip.severity for video in own]
        assert severities == sorted(severities, reverse=True)
        assert 0 < own[0].rank < own[-1].rank <= 1
    assert CLASSES.index("real") == REAL
    assert KINDS.keys() == set(CLASSES)


def test_generator_split_action_and_quality_tell_no_class() -> None:
    videos = plan_data_set(SyntheticOptions(videos=480, seed=9))
    groups = Counter((v.generator.name, v.split, v.clip.action, v.label) for v in videos)
    for generator, split, action, _ in list(groups):
        counts = {groups[generator, split, action, label] for label in range(len(CLASSES))}
        assert len(counts) == 1, (generator, split, action)
    places = Counter((number % len(CLASSES), video.label) for number, video in enumerate(videos))
    assert min(places.values()) > 15  # nor does the place in a list
    qualities = [
        np.mean([v.quality - v.generator.quality for v in videos if v.label == label])
        for label in range(len(CLASSES))
    ]
    assert np.ptp(qualities) < 1.5


def test_anomalies_change_pixels_and_difficulty_hides_them() -> None:
    easy = plan_data_set(SyntheticOptions(videos=8, difficulty=0.0))
    hard = plan_data_set(SyntheticOptions(videos=8, difficulty=1.0))
    for first, second in zip(easy, hard, strict=True):
        a, b = render(first.clip), render(second.clip)
        assert a.shape == (first.clip.frames, first.clip.height, first.clip.width, 3)
        assert first.clip.severity > second.clip.severity
        same = np.array_equal(a, b)
        assert same == (CLASSES[first.label] == "real")
        np.testing.assert_array_equal(a, render(first.clip))


@pytest.mark.parametrize(
    "options",
    [{"videos": 0}, {"videos": 3, "difficulty": 2.0}, {"videos": 3, "shot": "wide"}],
)
def test_settings_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match=r"give|have"):
        SyntheticOptions(**options)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    assert main(["synth", "--out", str(data), "--videos", "8"]) == 0
    assert "8 clips in" in capsys.readouterr().out
    assert main(["manifest", "check", str(data)]) == 0
    assert "8 videos, 8 with a rank, scheme hfv4: no problems" in capsys.readouterr().out
    assert main(["probe", str(data), "--quiet", "--protocol", "test-2x3"]) == 0
    assert capsys.readouterr().out == "8 videos: 8 ok, 0 failed\n"
    scores = tmp_path / "scores.csv"
    scores.write_text("path,label,score\na.mp4,motion,3\nb.mp4,motion,9\nc.mp4,real,1\n")
    out = tmp_path / "ranked.csv"
    assert main(["manifest", "rank", str(scores), "--scheme", "hfv4", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"3 ranks in {out}\n"
    ranked = read_manifest(out, ManifestOptions(scheme="hfv4", require_ranks=True))
    assert {video.id: video.rank for video in ranked.videos} == {
        "a.mp4": 1.0,
        "b.mp4": 0.5,
        "c.mp4": 1.0,
    }
    assert main(["probe", str(data), "--protocol", "tset"]) == 1
    assert "Protocol 'tset' unknown; have: val" in capsys.readouterr().err
    assert main(["manifest", "check", str(scores)]) == 1
    assert "give --scheme hfv4" in capsys.readouterr().err
