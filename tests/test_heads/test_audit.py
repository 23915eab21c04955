"""Floors: what files give away by themselves, and what is there twice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from features_store import Store
from heads.commands.main import main
from heads.errors import BadTable
from heads.judging import audit, duplicates
from heads.judging.fact_cells import Told, holm, judged, one_of_each, told
from tests.test_heads.facts_stores import facts_store, ordinary
from tests.test_heads.tables import CLASSES

KINDS = len(CLASSES)


def balanced(count: int) -> np.ndarray:
    return np.arange(count) % KINDS


def with_leak(count: int, strength: float = 2.0) -> dict[str, Sequence[object]]:
    """Real videos last longer."""
    known = ordinary(count)
    real = balanced(count) == CLASSES.index("real")
    longer = np.array(known["duration"], float) + strength * real
    return {**known, "duration": longer.tolist()}


def test_a_planted_shortcut_is_found_and_named(tmp_path: Path) -> None:
    store = facts_store(tmp_path / "s", balanced(160).tolist(), with_leak(160, 6.0))
    found = audit.audit(store)
    assert next(iter(found.facts)) == "duration"
    assert found.facts["duration"].found
    assert [name for name, leak in found.facts.items() if leak.found] == ["duration"]
    text = "\n".join(found.lines())
    assert "The files give labels away, most of all duration." in text
    assert "--matched" in text
    assert "--canonical" in text


def test_labels_that_nothing_tells_raise_no_alarm() -> None:
    """Nineteen of twenty at least; the same for a hundred: `python -m benchmarks.audit_alarms`."""
    known = {name: np.array(column) for name, column in ordinary(60).items()}
    inside = np.ones(60, bool)
    alarms = 0
    for seed in range(20):
        labels = np.random.default_rng(1000 + seed).permutation(balanced(60))
        values = [judged(known, labels, inside, seed=seed, permutations=199).p]
        values += [
            judged({name: known[name]}, labels, inside, seed=seed, permutations=199).p
            for name in known
        ]
        alarms += min(holm(values)) <= 0.05
    assert alarms <= 1


def test_a_set_too_small_to_show_a_small_leak_says_so(tmp_path: Path) -> None:
    """63 videos: an AUC of 0.6 comes about by chance once in twenty."""
    few = facts_store(tmp_path / "few", balanced(63).tolist(), ordinary(63))
    found = audit.audit(few)
    assert not found.alarm
    assert found.together is not None
    assert found.together.too_few
    assert "Too few to tell: with 63 videos" in found.lines()[-1]
    many = facts_store(tmp_path / "many", balanced(240).tolist(), ordinary(240))
    assert "No shortcut found" in audit.audit(many).lines()[-1]


def test_below_chance_is_no_finding() -> None:
    """Balanced inside each source, held-out videos are predicted the wrong way round."""
    wrong = Told(
        videos=63, accuracy=0.1, chance=0.25, auc=0.31,
        by_chance=np.random.default_rng(0).normal(0.5, 0.05, 499),
    )  # fmt: skip
    assert wrong.p > 0.9
    assert wrong.folded().auc == 0.69
    assert wrong.folded().p < 0.01


def test_what_two_facts_say_only_together_is_found() -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 2, 200), random.integers(0, 2, 200)
    labels = one ^ other
    assert told([one], labels, permutations=99).p > 0.05
    assert told([one, other, random.normal(size=200)], labels, permutations=99).p == 0.01


def test_copies_of_one_clip_count_once() -> None:
    """Twenty takes of each of twelve clips: their size tells which clip it is, and so the label."""
    groups = np.repeat(np.arange(12), 20)
    labels = np.random.default_rng(3).permutation(np.arange(12) % 2)[groups]
    size = np.random.default_rng(4).normal(size=12)[groups]
    assert told([size], labels, permutations=99).p == 0.01
    rows = one_of_each(labels, groups)
    assert rows.tolist() == list(range(0, 240, 20))
    assert told([size[rows]], labels[rows], groups=groups[rows], permutations=99).p > 0.05


def test_real_sources_that_facts_tell_apart_are_named(tmp_path: Path) -> None:
    real = CLASSES.index("real")
    known = ordinary(160)
    labels = [real if n % 2 else 0 for n in range(160)]
    sources = [("k400", "ucf")[n // 2 % 2] if n % 2 else "kling" for n in range(160)]
    known["fps"] = [30.0 if name == "ucf" else 25.0 for name in sources]
    found = audit.audit(facts_store(tmp_path / "s", labels, known, sources=sources))
    assert found.reals is not None
    assert found.reals.found
    assert found.reals.auc > 0.9
    assert found.reals.videos == 80
    one = ["k400" if name == "ucf" else name for name in sources]
    assert audit.audit(facts_store(tmp_path / "t", labels, known, sources=one)).reals is None


def test_sources_that_differ_give_no_labels_away(tmp_path: Path) -> None:
    """Both sources have as many real videos as generated ones."""
    real = CLASSES.index("real")
    known = ordinary(160)
    labels = [real if n % 2 else 0 for n in range(160)]
    sources = [("kling", "pika")[n // 2 % 2] for n in range(160)]
    known["fps"] = [30.0 if name == "pika" else 25.0 for name in sources]
    found = audit.audit(facts_store(tmp_path / "s", labels, known, sources=sources))
    assert found.reals is not None
    assert found.reals.found
    assert not found.alarm
    text = "\n".join(found.lines())
    assert "Files tell sources apart, also among real videos" in text
    assert "give labels away" not in text


def test_rare_classes_are_left_out_and_named(tmp_path: Path) -> None:
    labels = [0] * 40 + [3] * 40 + [1] * 2
    found = audit.audit(facts_store(tmp_path / "s", labels, ordinary(82)))
    assert found.left_out == ["2 spatial videos, fewer than 5"]
    assert found.together is not None
    assert found.together.videos == 80
    two = audit.audit(facts_store(tmp_path / "t", [0, 3], ordinary(2)))
    assert two.together is None
    assert "Too few to tell" in two.lines()[-1]
    empty = Store.create(tmp_path / "u", scheme="hfv4", classes=CLASSES)
    empty.add_videos({"id": ["a.mp4"]})
    facts_store(tmp_path / "v", [-1], ordinary(1))
    with pytest.raises(BadTable, match="no labelled video whose facts are known"):
        audit.audit(Store.open(tmp_path / "v"))


def test_copies_across_splits_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    looks = random.integers(-(2**63), 2**63, (60, 4), np.int64)
    looks[50] = looks[3] ^ np.array([1, 0, 1 << 40, 0])  # a test video, seen in training
    looks[51] = looks[52]  # the same split: not counted
    looks[53:55] = 0  # nothing in their frames
    splits = ["train"] * 40 + ["test"] * 20
    known = {**ordinary(60), "hashes": [tuple(row) for row in looks.tolist()]}
    store = facts_store(tmp_path / "s", balanced(60).tolist(), known, splits=splits)
    found = audit.audit(store)
    assert found.copies is not None
    (one,) = found.copies.values()
    assert (one.videos, one.looked_at) == (1, 18)
    text = "\n".join(found.lines())
    assert "near-duplicates, test against train: 1 of 18 videos" in text
    assert "'50.mp4' looks like '3.mp4'" in text
    whole = duplicates.across_splits(looks, [""] * 60)["all videos"]
    assert whole.pairs.tolist() == [[50, 3], [52, 51]]


def test_a_store_without_hashes_says_that_it_was_not_looked_at(tmp_path: Path) -> None:
    store = facts_store(tmp_path / "s", balanced(40).tolist(), ordinary(40))
    assert "not looked for" in "\n".join(audit.audit(store).lines())


def test_holm_raises_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([0.9, 0.9]) == [1.0, 1.0]


def test_the_command_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts_store(tmp_path / "s", balanced(80).tolist(), with_leak(80, 6.0))
    assert main(["audit", str(tmp_path / "s"), "--out", str(tmp_path / "a.txt")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("all facts together: AUC")
    assert (tmp_path / "a.txt").read_text().strip() == said.strip()
