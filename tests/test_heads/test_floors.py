"""A planted shortcut is found, named and controlled; floors stand beside a result."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features_store import Store
from heads.commands.main import main
from heads.errors import BadTable
from heads.judging import floors
from heads.judging.matched import matched
from tests.test_heads.facts_stores import Facts, facts_store, ordinary, write_facts
from tests.test_heads.stores import write_features
from tests.test_heads.tables import CLASSES, table

REAL = CLASSES.index("real")
VIDEOS = 960


def shortcut_store(place: Path) -> Store:
    """Real videos last longer, and features know nothing but how long a video is."""
    random = np.random.default_rng(0)
    found = table(VIDEOS, seed=5, video_signal=0.0)
    duration = random.uniform(2, 8, VIDEOS) + 3.0 * (found.labels == REAL)
    arrays = dict(found.arrays)
    for key in ("internvideo2/cls", "internvideo2/avg", "internvideo2/attn"):
        array = arrays[key].astype(np.float32)
        array[..., 0] += 3 * duration[:, None]
        arrays[key] = array.astype(np.float16)
    store = Store.create(place, scheme="hfv4", classes=CLASSES)
    splits = [("train", "train", "val", "test")[n // 4 % 4] for n in range(VIDEOS)]
    store.add_videos(
        {
            "id": [str(name) for name in found.ids], "label": found.labels,
            "rank": found.ranks,
            "source": [f"s{n // 16 % 2}" for n in range(VIDEOS)], "split": splits,
        }
    )  # fmt: skip
    write_features(store, replace(found, arrays=arrays))
    known = {**ordinary(VIDEOS), "width": [640] * VIDEOS, "height": [360] * VIDEOS}
    looks = random.integers(1, 2**62, (VIDEOS, 4))
    known |= {"duration": duration.tolist(), "fps": [25.0] * VIDEOS}
    known |= {"hashes": [tuple(row) for row in looks.tolist()]}
    write_facts(store, known)
    return store


def test_a_planted_shortcut_is_found_named_and_controlled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def telltale(*arguments: str | Path) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    shortcut_store(tmp_path / "s")
    assert "most of all duration" in telltale("audit", tmp_path / "s")
    telltale("train", "--store", tmp_path / "s", "--head", "linear", "--out", tmp_path / "b")
    store = ("--store", tmp_path / "s")
    said = telltale("evaluate", tmp_path / "b", *store, "--out", tmp_path / "e.json")
    assert "floor, facts about the files alone: accuracy" in said
    assert "more than chance" in said
    assert "real against real: this head's p(real) tells s" in said
    assert "copies: 0 of 240 judged videos look like one of split train" in said
    before = json.loads((tmp_path / "e.json").read_text())[str(tmp_path / "b")]
    assert before["sources"]["all videos"]["binary_auc"] > 0.8
    out = ("--matched", "--out", tmp_path / "m.json")
    said = telltale("evaluate", tmp_path / "b", *store, *out)
    assert "pairs alike in duration, fps, width, height" in said
    after = json.loads((tmp_path / "m.json").read_text())[str(tmp_path / "b")]
    assert 0.35 < after["sources"]["all videos"]["binary_auc"] < 0.65
    assert after["floors"]["facts alone"]["p"] > 0.05


def test_pairs_are_alike_and_as_many_as_can_be(tmp_path: Path) -> None:
    labels = [REAL] * 20 + [0] * 30
    seconds = [*np.linspace(2, 4, 20), *np.linspace(3, 5, 30)]
    alike: Facts = {
        "width": [640] * 50,
        "height": [480] * 50,
        "fps": [24.0] * 49 + [float("nan")],
    }
    store = facts_store(tmp_path / "s", labels, {"duration": seconds, **alike})
    found = matched(store, np.arange(50), np.array(labels), CLASSES)
    ratios = np.array(seconds)[found.real] / np.array(seconds)[found.generated]
    assert np.abs(np.log(ratios)).max() <= np.log(1.03) + 1e-9
    assert len(set(found.real.tolist())) == len(set(found.generated.tolist())) == len(found)
    possible = sum(second >= 3 / 1.03 for second in seconds[:20])
    assert len(found) == possible
    assert str(found).startswith(f"{possible} pairs alike")
    fast = {"duration": [*[2.0] * 20, *[3.0] * 30], **alike}
    other = facts_store(tmp_path / "t", labels, fast)
    with pytest.raises(BadTable, match=r"Only 0 of 20 real and 30 generated videos make pairs"):
        matched(other, np.arange(50), np.array(labels), CLASSES)
    with pytest.raises(BadTable, match="need a class 'real'"):
        matched(store, np.arange(50), np.array(labels), ("a", "b"))


def test_a_score_that_knows_the_camera_is_told() -> None:
    random = np.random.default_rng(0)
    sources = np.repeat(["k400", "ucf", "few"], [40, 40, 3])
    found = floors.reals_apart(random.normal(size=83) + (sources == "ucf"), sources)
    assert found is not None
    assert found.videos == 80
    assert found.auc > 0.65
    assert found.p < 0.05
    nothing = floors.reals_apart(random.normal(size=83), sources)
    assert nothing is not None
    assert nothing.p > 0.05
    assert floors.reals_apart(random.normal(size=40), sources[:40]) is None


def test_what_a_store_lacks_for_a_floor_is_said(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", scheme="hfv4", classes=CLASSES)
    store.add_videos({"id": [f"{n}.mp4" for n in range(8)], "label": [0, 3] * 4})
    write_features(store, table(8))
    labels = store.videos.column("label").astype(np.int64)
    found = floors.floors(store, np.arange(8), labels, np.full((8, 4), 0.25), CLASSES)
    assert found.lines() == [
        "floor, facts alone: not to be had, the store holds no facts about its files",
        "floor, real against real: not to be had, it needs 10 real videos of each of two sources",
        "floor, copies: not looked for, the store has no hashes of frames",
    ]
