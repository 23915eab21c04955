"""How work is dealt: parts, blocks and pieces, by arithmetic alone."""

import numpy as np
import pytest

from benchmarks.bench_dealing import dealt, draw, pieces
from extract.running.workload import Part, Rows, Target, Workload, piece_rows, workload


def work_of(rows: Rows, *shard_rows: int) -> Workload:
    targets = [
        Target(name=f"t{n}", status=np.zeros(4000, np.uint8), shard_rows=each)
        for n, each in enumerate(shard_rows)
    ]
    return workload(rows, targets)


@pytest.mark.parametrize("processes", [1, 2, 8, 1000])
def test_pieces_are_all_of_the_work_in_its_order(processes: int) -> None:
    rows = np.flatnonzero(np.random.default_rng(0).random(3000) < 0.3)
    work = work_of(rows, 64, 16)
    pieces = list(work.pieces(processes))
    np.testing.assert_array_equal(np.concatenate([piece.rows for piece in pieces]), work.rows)
    for piece in pieces:
        assert len(np.unique(piece.rows // work.block_rows)) == 1
        assert 0 < len(piece) <= 64
        np.testing.assert_array_equal(piece.needed("t0"), piece.rows)
    if processes == 1:
        assert len(pieces) == len(np.unique(work.rows // 64))


@pytest.mark.parametrize(
    ("left", "processes", "most"),
    [(10**6, 1, None), (3000, 8, 32), (300, 8, 8), (12, 2, 8), (10**6, 8, 8192)],
)
def test_the_less_is_left_the_smaller_the_pieces(
    left: int, processes: int, most: int | None
) -> None:
    """3,000 videos are 12 blocks of 256: eight devices would do them in two rounds."""
    assert piece_rows(left, processes) == most


@pytest.mark.parametrize(("videos", "least"), [(300, 0.6), (3_000, 0.95), (30_000, 0.98)])
def test_devices_of_which_one_is_slow_end_together(videos: int, least: float) -> None:
    """Fake ones, which take what a draw says for each video, and hold two pieces at a time."""
    busy = [dealt(pieces(videos, 8), *draw(videos, 8, seed)) for seed in range(9)]
    assert np.median(busy) >= least


def test_no_work_has_no_pieces() -> None:
    assert list(work_of(np.empty(0, np.int64), 4).pieces()) == []


def test_parts_share_blocks_out() -> None:
    work = work_of(np.arange(100), 8)
    parts = [work.part(Part(number=n, count=3)) for n in (1, 2, 3)]
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(100))
    for part in parts:
        assert {len(piece) for piece in part.pieces()} <= {8, 4}


def test_what_follows_is_no_reason_to_decode() -> None:
    """A video whose branches are done is left alone, whatever else could be known of its file."""
    done, nothing = np.array([1, 0], np.uint8), np.zeros(2, np.uint8)
    targets = [
        Target(name="branch", status=done, shard_rows=4),
        Target(name="file", status=nothing, shard_rows=4, follows=True),
    ]
    work = workload(np.arange(2), targets)
    assert work.rows.tolist() == [1]
    assert work.needed("file").tolist() == [1]
