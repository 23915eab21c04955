"""Equations 1 and 2, the split, and decisions, against statements too simple to be wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import BadSetting
from extract.labelling import (
    REAL,
    Labelled,
    Scored,
    label_videos,
    most_anomalous,
    real_split,
    validation_count,
)
from extract.prior import SCORERS

SCORE = st.one_of(st.integers(0, 3).map(float), st.floats(-5, 5))


@st.composite
def scored(draw: st.DrawFn) -> list[Scored]:
    rows = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), SCORE, SCORE, SCORE), max_size=25)
    )
    return [
        Scored(
            id=f"{source}{'r' if real else ''}/{number}",
            source=f"{source}{'r' if real else ''}",
            real=real,
            scores=dict(zip(SCORERS, scores, strict=True)),
        )
        for number, (source, real, *scores) in enumerate(rows)
    ]


def place(score: float, others: list[float]) -> float:
    """Mean place among others, itself included, of the number of them."""
    above, equal = sum(x > score for x in others), sum(x == score for x in others)
    return (above + (equal + 1) / 2) / len(others)


@given(scored())
def test_labels_are_the_smallest_rank(videos: list[Scored]) -> None:
    for each in label_videos(videos):
        video = each.video
        if video.real:
            assert (each.label, each.ranks) == (REAL, {})
            continue
        peers = [other for other in videos if other.source == video.source]
        ranks = {
            name: place(video.scores[name], [other.scores[name] for other in peers])
            for name in SCORERS
        }
        assert {name: pytest.approx(rank) for name, rank in ranks.items()} == each.ranks
        least = min(each.ranks.values())
        best = [name for name in SCORERS if each.ranks[name] == least]
        assert each.label == best[0]
        assert each.tie == (len(best) > 1)
        assert 0 <= each.doubt <= 1
        assert (each.doubt == 1) == each.tie


@given(scored(), st.randoms(use_true_random=False))
def test_ranks_and_splits_inside_a_class(videos: list[Scored], random: object) -> None:
    labelled = label_videos(videos)
    groups: dict[tuple[str, str], list[Labelled]] = {}
    for each in labelled:
        groups.setdefault((each.video.source, each.label), []).append(each)
    for (_, label), members in groups.items():
        if label == REAL:
            assert all(each.split == real_split(each.video.id, 0) for each in members)
            assert {each.rank for each in members} == {0.5}
            continue
        values = [each.video.scores[label] for each in members]
        for each, value in zip(members, values, strict=True):
            assert each.rank == pytest.approx(place(value, values))
        chosen = [each for each in members if each.split == "val"]
        assert len(chosen) == math.floor(len(members) / 5 + 0.5)
        for each in chosen:
            assert all(
                (each.rank, each.video.id) < (other.rank, other.video.id)
                for other in members
                if other.split == "train"
            )
    shuffled = list(videos)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    by_id = {each.video.id: each for each in label_videos(shuffled)}
    assert [by_id[each.video.id] for each in labelled] == labelled


def test_real_videos_keep_their_split_when_others_come() -> None:
    splits = [real_split(f"clip{number}", seed=0) for number in range(2000)]
    assert 0.17 < splits.count("val") / 2000 < 0.23
    assert splits != [real_split(f"clip{number}", seed=1) for number in range(2000)]


@given(scored(), st.data())
def test_decisions_win_and_the_rest_follows(videos: list[Scored], data: st.DataObject) -> None:
    ids = [video.id for video in videos]
    classes = st.sampled_from((*SCORERS, REAL))
    decisions = data.draw(st.dictionaries(st.sampled_from(ids), classes)) if ids else {}
    before, after = label_videos(videos), label_videos(videos, decisions)
    for old, new in zip(before, after, strict=True):
        assert new.label == decisions.get(new.video.id, old.label)
        assert new.decided == (new.video.id in decisions)
        assert (new.proposed, new.ranks) == (old.proposed, old.ranks)


def test_what_is_wrong_is_said() -> None:
    video = Scored(id="a", source="s", scores=dict.fromkeys(SCORERS, 1.0))
    for decisions, reason in (({"b": "motion"}, "not among"), ({"a": "blurry"}, "have: appear")):
        with pytest.raises(BadSetting, match=reason):
            label_videos([video], decisions)
    with pytest.raises(BadSetting, match="given twice"):
        label_videos([video, video])
    with pytest.raises(BadSetting, match="finite number"):
        Scored(id="a", source="s", scores=dict.fromkeys(SCORERS, math.nan))


def test_several_anomalies_are_reported() -> None:
    videos = [
        Scored(id=f"{n}", source="s", scores={"spatial": -n, "appearance": n == 9, "motion": -n})
        for n in range(10)
    ]
    first = label_videos(videos)[0]
    assert (first.anomalies, first.tie, first.label) == (("spatial", "motion"), True, "spatial")
    assert most_anomalous({"spatial": 0.2, "appearance": 0.1, "motion": 0.3}) == "appearance"
    assert [validation_count(n) for n in (0, 1, 2, 3, 5, 10)] == [0, 0, 0, 1, 1, 2]
