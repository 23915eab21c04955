"""Learning from forged views of reals alone: labels, sources, and what becomes of other videos."""

from pathlib import Path

import numpy as np
import pytest

from extract.views.forgeries import ANOMALIES, KINDS
from features_store import ArraySpec, BranchSpec, Status, Store
from features_store.table import Table
from heads.bundle import Bundle
from heads.data.forged import by_view, is_forged, plain
from heads.data.splits import Choice
from heads.head import make_head
from tests.test_features_store.test_cli import here

PROTOCOL = "forged-16x12"
VIEWS = 16
SETTINGS = {"arrays": "image/cls", "rank_loss": "false", "c": "1"}
REAL = {"hfv4": 3, "hfv2": 1}
CLASSES = {
    "hfv4": ("appearance", "spatial", "motion", "real"), "hfv2": ("forgery", "real"),
}  # fmt: skip


def store_of(place: Path, scheme: str = "hfv4", fakes: int = 0, videos: int = 24) -> Store:
    """Vectors that tell each kind of forgery; the first videos are no reals."""
    random = np.random.default_rng(1)
    store = Store.create(place, scheme=scheme, classes=CLASSES[scheme])
    labels = [0 if row < fakes else REAL[scheme] for row in range(videos)]
    store.add_videos(
        {
            "id": [f"{row}.mp4" for row in range(videos)],
            "label": labels,
            "source": ["page" if row >= fakes else "generator" for row in range(videos)],
            "split": ["val" if row % 4 == 0 else "train" for row in range(videos)],
        }
    )
    vectors = random.normal(0, 0.3, (videos, VIEWS, 10)).astype(np.float32)
    for view in range(VIEWS):
        vectors[:, view, view % len(KINDS)] += 2
    spec = BranchSpec(
        name="image",
        preset="x",
        fingerprint="b" * 64,
        arrays={"cls": ArraySpec(shape=(VIEWS, 10), dtype="float32")},
    )
    made = store.branch(PROTOCOL, spec, shard_rows=32)
    made.write_shard(0, {"cls": vectors}, np.full(videos, Status.OK, np.uint8))
    return store


def table_of(store: Store) -> Table:
    return store.table(["image/cls"], protocol=PROTOCOL)


def test_forged_views_of_reals_are_of_the_class_of_their_fault(tmp_path: Path) -> None:
    found = by_view(table_of(store_of(tmp_path / "s", videos=3)))
    assert len(found) == 3 * VIEWS
    assert found.arrays["image/cls"].shape == (3 * VIEWS, 1, 10)
    first = found.take(found.ids == "0.mp4")
    assert first.rows.tolist() == [0] * VIEWS
    for view, (label, source) in enumerate(zip(first.labels, first.sources, strict=True)):
        kind = KINDS[view % len(KINDS)]
        assert found.classes[label] == (ANOMALIES[kind] if kind else "real")
        assert source == (f"forged:{kind}" if kind else "page")
        shown = first.arrays["image/cls"][view, 0].argmax()
        assert shown == view % len(KINDS)


def test_two_classes_know_one_kind_of_forgery(tmp_path: Path) -> None:
    found = by_view(table_of(store_of(tmp_path / "s", "hfv2", videos=2)))
    forged = np.array([name.startswith("forged:") for name in found.sources.tolist()])
    assert set(found.labels[forged].tolist()) == {0}
    assert set(found.labels[~forged].tolist()) == {1}


def test_other_videos_teach_as_they_are(tmp_path: Path) -> None:
    found = by_view(table_of(store_of(tmp_path / "s", fakes=2, videos=3)))
    own = found.take(found.ids == "1.mp4")
    assert own.labels.tolist() == [0, 0]
    assert own.sources.tolist() == ["generator", "generator"]
    assert (own.arrays["image/cls"][:, 0].argmax(-1) == 0).all()


def test_other_protocols_are_left_alone(tmp_path: Path) -> None:
    found = table_of(store_of(tmp_path / "s", videos=2))
    assert plain(PROTOCOL) == "windows-4x12"
    once = by_view(found)
    assert by_view(once).labels.tolist() == once.labels.tolist()
    assert plain("forged-8x12+canonical+jpeg50") == "windows-4x12+canonical+jpeg50"
    assert plain("train-8") == "train-8"
    assert not is_forged("of-my-own")


def test_what_is_read_batch_by_batch_is_the_same(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", fakes=1, videos=3)
    held = by_view(table_of(store)).take(slice(None, None, -1))
    later = by_view(store.table(["image/cls"], protocol=PROTOCOL, lazy=("image/cls",)))
    later = later.take(slice(None, None, -1))
    assert not later.arrays
    assert later.labels.tolist() == held.labels.tolist()
    rows, expected = later.lazy["image/cls"], held.arrays["image/cls"]
    assert rows.shape == expected.shape
    some = np.array([30, 2, 7, 2])
    np.testing.assert_array_equal(rows[some], expected[some])
    np.testing.assert_array_equal(rows[some, np.array([0])], expected[some])


def test_a_head_learns_from_reals_alone(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s")
    assert set(store.videos.column("label").tolist()) == {3}
    sets = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    where = ("--store", tmp_path / "s", "--protocol", PROTOCOL)
    printed = here(
        "train", *where, "--head", "linear", *sets, "--folds", "3", "--out", tmp_path / "b"
    )
    assert "288 videos to learn from" in printed
    bundle = Bundle.load(tmp_path / "b")
    assert bundle.about.protocol == "windows-4x12"  # never forged again
    assert bundle.about.metrics["validation accuracy"] > 0.95
    assert bundle.rows.counts()["learnt"] == 18
    judged = here("evaluate", tmp_path / "b", "--store", tmp_path / "s", "--split", "all")
    assert "forged:blend" in judged


def test_views_of_one_video_are_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heads.fitting import out_of_fold

    store = store_of(tmp_path / "s", videos=12)
    sides: list[tuple[set[str], set[str]]] = []

    def make() -> object:
        head = make_head("linear", SETTINGS, store.classes)
        learnt: list[set[str]] = []
        fit, predict = head.fit, head.predict

        def fitted(train: Table, *given: object, **named: object) -> object:
            learnt.append(set(train.ids.tolist()))
            return fit(train, *given, **named)  # type: ignore[arg-type]

        def predicted(table: Table) -> object:
            if learnt and len(table):
                sides.append((learnt[-1], set(table.ids.tolist())))
            return predict(table)

        monkeypatch.setattr(head, "fit", fitted, raising=False)
        monkeypatch.setattr(head, "predict", predicted, raising=False)
        return head

    every = np.ones(12, bool)
    whole = Choice(protocol=PROTOCOL).load_twice(
        store, make_head("linear", SETTINGS, store.classes), every
    )
    out_of_fold.out_of_fold(make, whole, ~every, folds=3)  # type: ignore[arg-type]
    judged = [side for side in sides if side[1]]
    assert len(judged) >= 3
    assert all(not learnt & said for learnt, said in judged)
    assert set().union(*(said for _, said in judged)) == set(whole.validation.ids.tolist())
