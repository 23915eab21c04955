"""Equations 1 and 2 and the split, against their plainest statement."""

import math
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from extract.labelling.prior_labels import (
    CLASSES,
    PRIORS,
    Ranked,
    rank_generators,
    split_generated,
    split_real,
)

Row = tuple[str, tuple[float, float, float]]
NUMBERS = st.one_of(st.integers(0, 3).map(float), st.floats(0, 1, allow_subnormal=False))
ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.tuples(NUMBERS, NUMBERS, NUMBERS)), max_size=40
)


def ranked(rows: list[Row]) -> list[Ranked]:
    columns = {prior: np.array([scores[i] for _, scores in rows]) for i, prior in enumerate(PRIORS)}
    return rank_generators(columns, [source for source, _ in rows])


@given(ROWS)
def test_ranks_and_labels_are_the_papers(rows: list[Row]) -> None:
    for (source, scores), found in zip(rows, ranked(rows), strict=True):
        mates = [other for name, other in rows if name == source]
        plain = {}
        for i, prior in enumerate(PRIORS):
            above = sum(other[i] > scores[i] for other in mates)
            equal = sum(other[i] == scores[i] for other in mates)
            plain[prior] = above + (equal + 1) / 2  # the mean of the places that equals share
        assert found.ranks == plain
        assert found.count == len(mates)
        best = min(plain.values())
        assert plain[found.proposed] == best
        ties = [prior for prior in PRIORS if plain[prior] == best]
        assert found.proposed == ties[0]
        assert found.tied == (tuple(ties) if len(ties) > 1 else ())
        top = {prior for prior in PRIORS if plain[prior] <= len(mates) / 5}
        assert set(found.also) == (top - {found.proposed} if len(top) > 1 else set())
        assert 0 <= found.doubt <= 1
        assert found.normalised(found.proposed) == best / len(mates)
        assert math.isnan(found.normalised("real"))


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[Row], random: Random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    one, two = ranked(rows), ranked([rows[i] for i in order])
    assert [one[i] for i in order] == two


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(CLASSES), st.integers(1, 5)), max_size=60
    )
)
def test_the_best_fifth_of_a_generators_class_is_for_validation(
    rows: list[tuple[str, str, int]],
) -> None:
    ids = [f"v{i}" for i in range(len(rows))]
    splits = split_generated(
        ids, [row[0] for row in rows], [row[1] for row in rows], [row[2] / 5 for row in rows]
    )
    for key in {row[:2] for row in rows}:
        mine = [i for i, row in enumerate(rows) if row[:2] == key]
        chosen = [i for i in mine if splits[i] == "val"]
        left = [i for i in mine if splits[i] == "train"]
        assert len(chosen) + len(left) == len(mine)
        assert abs(len(chosen) - 0.2 * len(mine)) <= 0.5
        assert all(rows[a][2] <= rows[b][2] for a in chosen for b in left)


def test_real_videos_are_split_by_their_ids() -> None:
    splits = [split_real(f"train_data/real/{i}.mp4") for i in range(2000)]
    assert 0.17 < splits.count("val") / 2000 < 0.23
    assert splits[7] == split_real("train_data/real/7.mp4")
