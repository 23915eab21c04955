"""The head `anatomy`: verdicts on parts, persons and videos; golden verdicts are in the parity."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.branch import BranchRequest, load_branch
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.running.extraction import Extraction
from extract.running.pipeline import Settings
from features_store import Store
from features_store.table import Table
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import make_head
from heads.measuring.metrics import averaged
from tests.test_heads.crops import COUNT, pictures
from tests.test_heads.frame_tables import frame_table

CLASSES = ("forgery", "real")
OWN = {"readout": "own"}


def scored(parts: dict[tuple[int, int, int, int], float], videos: int = 2) -> Table:
    """Videos of four frames and two persons: (video, frame, person, part) → abnormal, 0 to 1."""
    found = frame_table(videos, classes=CLASSES, views=1)
    logits = np.zeros((videos, 1, 4, 2, 3, 2), np.float32)
    person = np.full(logits.shape[:-1], -1, np.int32)
    for (video, *rest), score in parts.items():
        place = (video, 0, *rest)
        logits[place] = np.log([score, 1 - score])
        person[place] = rest[1]
    arrays = {"anatomy/logits": logits, "anatomy/person": person}
    return replace(found, arrays=arrays, fingerprints=dict.fromkeys(arrays, "0" * 64))


def reals(table: Table, **settings: str) -> list[float]:
    head = make_head("anatomy", {**OWN, **settings}, CLASSES)
    head.fit(table, table.take(np.zeros(0, int)))
    return [float(x) for x in averaged(head.predict(table))[:, 1]]


def test_a_video_is_as_good_as_the_share_of_its_normal_persons() -> None:
    table = scored({
        (0, 0, 0, 0): 0.1, (0, 0, 1, 0): 0.1, (0, 1, 0, 0): 0.5, (0, 2, 0, 0): 0.1,
        (1, 0, 0, 0): 0.1, (1, 0, 0, 2): 0.33,
    })  # fmt: skip
    assert reals(table) == pytest.approx([0.75, 0.0])
    assert reals(table, score="frames") == pytest.approx([2 / 3, 0.0])
    assert reals(table, hand="0.4") == pytest.approx([0.75, 1.0])


def test_the_worst_part_ranks_videos_whatever_it_is_a_part_of() -> None:
    table = scored({(0, 0, 0, 0): 0.46, (1, 0, 0, 0): 0.1, (1, 3, 1, 1): 0.9})
    mild, grave = reals(table, score="worst")
    assert grave < mild < 0.5
    assert reals(table, score="worst", human="0.46")[0] == pytest.approx(0.5, abs=1e-6)


def test_the_other_logit_may_be_the_abnormal_one() -> None:
    table = scored({(0, 0, 0, 0): 0.1, (1, 0, 0, 0): 0.9})
    assert reals(table) == [1.0, 0.0]
    assert reals(table, abnormal_class="1") == [0.0, 1.0]


def test_nobody_is_no_verdict_unless_as_released() -> None:
    table = scored({(0, 0, 0, 0): 0.1})
    seen, nobody = reals(table)
    assert seen == 1
    assert np.isnan(nobody)
    assert reals(table, nobody="normal") == [1, 1]


def test_it_says_what_labels_are_worth_both_ways() -> None:
    train = frame_table(40, seed=1, classes=CLASSES)
    head = make_head("anatomy", {}, CLASSES)
    (note,) = head.fit(train, frame_table(40, seed=2, classes=CLASSES)).notes
    assert note.startswith("AUC of the worst part ")
    assert "(40 videos)" in note
    ways = [float(part.split(" [")[0].split()[-1]) for part in note.split(", if")]
    assert ways[0] > 90
    assert sum(ways) == pytest.approx(100, abs=0.11)


def test_a_part_that_is_never_there_says_nothing() -> None:
    found = frame_table(40, seed=1, classes=CLASSES)
    person = found.arrays["anatomy/person"].copy()
    person[..., 2] = -1
    without = replace(found, arrays={**found.arrays, "anatomy/person": person})
    head = make_head("anatomy", {}, CLASSES)
    head.fit(without, without.take(np.zeros(0, int)))
    with_hands = head.scores(found)[0]  # type: ignore[attr-defined]
    assert (with_hands[..., 2] < 1e-6).all()
    assert (with_hands[..., 0] > 1e-6).any()
    nobody = {**found.arrays, "anatomy/person": np.full_like(person, -1)}
    with pytest.raises(BadTable, match="No part of a person"):
        head.fit(replace(found, arrays=nobody), found)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for settings in ({"human": "1.5"}, {"abnormal_class": "2"}, {"c": "0"}):
        with pytest.raises(BadSetting):
            make_head("anatomy", settings, CLASSES)
    with pytest.raises(BadSetting, match="tells 'real' from the rest"):
        make_head("anatomy", {}, ("a", "b"))
    own = make_head("anatomy", OWN, CLASSES)
    table = scored({(0, 0, 0, 0): 0.1})
    own.fit(table, table.take(np.zeros(0, int)))
    own.save(tmp_path)
    with pytest.raises(BadBundle, match="no trained layers"):
        make_head("anatomy", {}, CLASSES).load(tmp_path)


@pytest.mark.parametrize(("scheme", "abnormal"), [("hfv2", 0), ("hfv2-real-first", 1)])
def test_a_data_set_of_crops_trains_a_layer(tmp_path: Path, scheme: str, abnormal: int) -> None:
    """Which label is the abnormal one is said, not guessed."""
    manifest = read_manifest(pictures(tmp_path), ManifestOptions(scheme=scheme))
    request = BranchRequest.parse("anatomy=tiny?boxes=whole-face&frames=2")
    how = Settings(protocol="frames-2@8")
    Extraction.begin(manifest, tmp_path / "s", [load_branch(request)], how).run(
        workers=1, bar=False
    )
    store = Store.open(tmp_path / "s")
    table = store.table(["anatomy/vectors", "anatomy/person"], protocol="frames-2@8")
    assert (table.arrays["anatomy/person"][..., 1] >= 0).sum() == COUNT  # one frame each
    head = make_head("anatomy", {"c": "1"}, table.classes)
    assert head.fit(table, table).best == 1
    dark = [name for name in table.ids.tolist() if int(name.removesuffix(".png")) % 2 == 0]
    real = table.classes.index("real")
    found = averaged(head.predict(table))[:, real] > 0.5
    assert [name for name, is_real in zip(table.ids.tolist(), found, strict=True) if is_real] == (
        dark if abnormal == 1 else [name for name in table.ids.tolist() if name not in dark]
    )
