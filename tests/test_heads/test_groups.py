"""Near-duplicates: which rows of an archive look like copies of one another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from heads.errors import BadSetting
from heads.judging import duplicates
from heads.scoring.archive import VideoRun, score_store, score_videos
from heads.scoring.groups import check_protocol, with_groups
from heads.scoring.inputs import read_inputs
from heads.scoring.output import Output, read_about
from tests.test_extract.clips import write_clip
from tests.test_heads.archives import branches, rows, scorer

Hashes = NDArray[np.int64]


def copied(random: np.random.Generator, *, clear: int = 60) -> Hashes:
    """Looks of different videos, and of copies of some; some frames have nothing in them."""
    looks = random.integers(-(2**63), 2**63, (clear, 4), np.int64)
    again = looks[random.integers(0, clear, clear)]
    flips = random.random((clear, 4, 64)) < random.choice([0.0, 0.03, 0.06, 0.1], (clear, 1, 1))
    bits = (flips.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(2, dtype=np.uint64)
    looks = np.concatenate([looks, again ^ bits.view(np.int64)])
    looks[random.random(looks.shape) < 0.2] = 0
    return looks


def one_camera(random: np.random.Generator, *, pictures: int = 70) -> Hashes:
    """Looks of one place, some bits apart, half of them behind the same title card."""
    flips = random.random((pictures, 4, 64)) < random.choice([0.02, 0.04, 0.06], (pictures, 1, 1))
    bits = (flips.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(2, dtype=np.uint64)
    looks: Hashes = random.integers(-(2**63), 2**63, (1, 4), np.int64) ^ bits.view(np.int64)
    looks[::2, 0] = 0x0123456789ABCDEF
    looks[random.random(looks.shape) < 0.1] = 0
    return looks


def pairs_plainly(looks: Hashes) -> list[tuple[int, int]]:
    """By comparing every video with every other: the later row and the earlier one."""
    found = []
    for one in range(len(looks)):
        for other in range(one):
            both = [(int(a), int(b)) for a, b in zip(*looks[[one, other]], strict=True) if a and b]
            bits = sum(((a ^ b) & (2**64 - 1)).bit_count() for a, b in both)
            if len(both) >= 2 and bits <= 4 * len(both):
                found.append((one, other))
    return found


def plainly(looks: Hashes) -> list[int]:
    """The least row of each one's group, else -1."""
    group = list(range(len(looks)))
    for pair in pairs_plainly(looks):
        low, high = sorted(group[row] for row in pair)
        group = [low if each == high else each for each in group]
    return [each if group.count(each) > 1 else -1 for each in group]


def least_rows(groups: Hashes) -> list[int]:
    return [int(np.flatnonzero(groups == each)[0]) if each >= 0 else -1 for each in groups]


def test_a_frame_that_everybody_shows_costs_little_and_hides_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(7)
    looks = random.integers(-(2**63), 2**63, (3000, 4), np.int64)
    looks[:, 1] = 0x0123456789ABCDEF
    looks[2990:] = looks[:10] ^ np.array([1, 0, 6, 8])  # a few bits each
    compared = []
    near = duplicates._near

    def counted(a: Hashes, b: Hashes) -> NDArray[np.bool_]:
        compared.append(len(a))
        return near(a, b)

    monkeypatch.setattr(duplicates, "_near", counted)
    groups = duplicates.groups(looks)
    assert (groups[:10] >= 0).all()
    np.testing.assert_array_equal(groups[:10], groups[2990:])
    assert (groups[10:2990] == -1).all()
    assert sum(compared) < 3000 * 300


def test_whichever_four_bits_differ_a_copy_is_found() -> None:
    random = np.random.default_rng(3)
    looks = random.integers(-(2**63), 2**63, (600, 4), np.int64)
    places = np.argsort(random.random((600, 64)), axis=1)[:, :4].astype(np.uint64)
    bits = (np.uint64(1) << places).sum(1, dtype=np.uint64).view(np.int64)
    groups = duplicates.groups(np.concatenate([looks, looks ^ bits[:, None]]))
    assert len(set(groups.tolist())) == 600
    np.testing.assert_array_equal(groups[:600], groups[600:])


@pytest.mark.parametrize("made", [copied, one_camera])
@pytest.mark.parametrize("seed", range(3))
def test_groups_and_copies_are_those_that_comparing_all_with_all_finds(
    seed: int, made: Callable[[np.random.Generator], Hashes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = made(np.random.default_rng(seed))
    expected = plainly(looks)
    assert least_rows(duplicates.groups(looks)) == expected
    assert len(set(expected)) > (5 if made is copied else 1)
    assert -1 in expected
    pairs = duplicates.across_splits(looks, [""] * len(looks))["all videos"].pairs
    assert [(one, other) for one, other in pairs.tolist()] == pairs_plainly(looks)
    monkeypatch.setattr(duplicates, "_PAIRS", 3)
    assert least_rows(duplicates.groups(looks)) == expected


@pytest.mark.parametrize("size", [1, 7, 200])
def test_neither_order_nor_blocks_matter(size: int) -> None:
    looks = copied(np.random.default_rng(5))
    names = [f"{number:03}.mp4" for number in range(len(looks))]
    texts = ["".join(f"{int(each) & (2**64 - 1):016x}" for each in row) for row in looks]

    def grouped(order: list[int]) -> dict[str, str | None]:
        whole = pa.table(
            {
                "id": [names[i] for i in order],
                "frame_hashes": pa.array([texts[i] if looks[i].any() else None for i in order]),
                "group": pa.nulls(len(order), pa.string()),
            }
        )
        blocks = [whole.slice(start, size) for start in range(0, len(whole), size)]
        found = pa.concat_tables(with_groups(lambda: iter(blocks)))
        return dict(zip(found["id"].to_pylist(), found["group"].to_pylist(), strict=True))

    found = grouped(list(range(len(looks))))
    assert found == grouped(np.random.default_rng(0).permutation(len(looks)).tolist())
    assert [found[name] for name in names] == [
        None if row < 0 else names[row] for row in plainly(looks)
    ]
    assert list(with_groups(lambda: iter([]))) == []


Score = Callable[[Path], dict[str, dict[str, object]]]


@pytest.fixture
def score(tmp_path: Path) -> Score:
    def call(out: Path) -> dict[str, dict[str, object]]:
        videos = VideoRun(
            manifest=read_inputs([str(tmp_path / "in")], None, None), branches=branches,
            settings=Settings(protocol="val", max_failed=1.0), groups=True,
            run=lambda extraction: not extraction.run(workers=1, bar=False).stopped,
        )  # fmt: skip
        score_videos(scorer(), videos, Output(out, {"groups": True}))
        return rows(out)

    return call


def test_copies_of_clips_are_a_group_also_beside_rows_that_were_kept(
    tmp_path: Path, score: Score
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "m.mp4")
    write_clip(folder / "other.mp4", options={"crf": "20", "preset": "fast"}, first=500)
    (folder / "z.mp4").write_text("no video")
    out = tmp_path / "s.csv"
    assert {name: row["group"] for name, row in score(out).items()} == dict.fromkeys(
        ["m.mp4", "other.mp4", "z.mp4"]
    )
    write_clip(folder / "re.mp4", options={"crf": "35", "preset": "ultrafast"})
    write_clip(folder / "a.mp4", codec="mpeg4", options={})
    found = score(out)
    groups = {name: row["group"] for name, row in found.items()}
    assert groups == {
        "a.mp4": "a.mp4", "m.mp4": "a.mp4", "re.mp4": "a.mp4", "other.mp4": None, "z.mp4": None
    }  # fmt: skip
    assert read_about(out)["inputs"]
    assert found["z.mp4"]["frame_hashes"] is None
    assert len(str(found["a.mp4"]["frame_hashes"])) == 64


def test_a_store_is_grouped_without_its_videos(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / "in" / name)
    kept = []

    def run(extraction: Extraction) -> bool:
        kept.append(extraction.store)
        return not extraction.run(workers=1, bar=False).stopped

    videos = VideoRun(
        manifest=read_inputs([str(tmp_path / "in")], None, None), branches=branches, run=run,
        settings=Settings(protocol="val", max_failed=1.0), keep=str(tmp_path / "s"),
    )  # fmt: skip
    score_videos(scorer(), videos, Output(tmp_path / "plain.csv", {}))
    output = Output(tmp_path / "t.jsonl", {"groups": True})
    score_store(scorer(), kept[0], "val", output, groups=True)
    assert [row["group"] for row in rows(output.out).values()] == ["a.mp4", "a.mp4"]


def test_frames_that_are_drawn_are_not_compared() -> None:
    with pytest.raises(BadSetting, match=r"train-8 draws them; give --protocol val"):
        check_protocol("train-8")
