"""Unknown generators and drift: how far a video lies from what was learnt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features_store.table import Table
from heads.bundle import FAMILIAR, Bundle
from heads.commands.main import main
from heads.data.sides import Data
from heads.data.splits import Choice
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import Head, make_head
from heads.judging.cross import cross
from heads.judging.papers import calibrated
from heads.measuring.calibration import tempered
from heads.measuring.metrics import averaged
from heads.parts.about import About
from heads.parts.novelty import Drift, Familiar, familiar, histogram, stability_index, vectors
from tests.test_heads.stores import write_store
from tests.test_heads.tables import CLASSES, table


def fitted(videos: int = 400) -> tuple[Head, Table, Familiar]:
    found = table(videos, seed=1, video_signal=2.0)
    head = make_head("linear", {}, CLASSES)
    judges = table(400, seed=2, video_signal=2.0)
    head.fit(found, judges)
    known = familiar(head, found, averaged(head.predict(judges)))
    assert known is not None
    return head, found, known


def elsewhere(found: Table, by: float) -> Table:
    """The same videos with everything moved, as another network's or world's."""
    random = np.random.default_rng(7)
    moved = {
        key: (array + by * random.normal(size=array.shape[-1])).astype(np.float16)
        for key, array in found.arrays.items()
    }
    return replace(found, arrays=moved)


def distances(head: Head, known: Familiar, found: Table) -> np.ndarray:
    seen = vectors(head, found)
    assert seen is not None
    return known.distance(seen)


def test_new_videos_of_the_same_kind_are_as_far_as_those_kept_out() -> None:
    head, _, known = fitted()
    same = table(600, seed=3, video_signal=2.0)
    share = known.farther(distances(head, known, same)).mean()
    assert 0.01 < share < 0.12
    assert distances(head, known, same).mean() == pytest.approx(1, abs=0.35)
    other = distances(head, known, elsewhere(same, 1.5))
    assert known.farther(other).mean() > 0.9


def test_the_distance_knows_directions_that_do_not_vary() -> None:
    """A step along a direction in which nothing varies is far, along a wide one it is near."""
    random = torch.Generator().manual_seed(0)
    wide = torch.randn(400, 1, generator=random) * 10
    x = torch.cat([wide, wide + 0.1 * torch.randn(400, 1, generator=random)], 1)
    noise = torch.randn(400, 6, generator=random)
    found = table(400)
    arrays = {"internvideo2/cls": torch.cat([x, noise], 1)[:, None].numpy().astype(np.float16)}
    head = make_head("linear", {}, CLASSES)
    head.__class__ = type("Narrow", (head.__class__,), {"keys": ("internvideo2/cls",)})
    known = familiar(head, replace(found, arrays=arrays), np.full((400, 4), 0.25))
    assert known is not None
    along, across = torch.zeros(1, 8), torch.zeros(1, 8)
    along[0, :2], across[0, :2] = 5.0, torch.tensor([5.0, -5.0])
    assert known.distance(along)[0] < 1.5
    assert known.distance(across)[0] > 100


def test_too_few_videos_and_tokens_have_no_distance() -> None:
    head, found, _ = fitted()
    assert familiar(head, found.take(slice(0, 20)), np.full((20, 4), 0.25)) is None
    assert vectors(make_head("attnpool", {}, CLASSES), found) is None


def test_frames_that_are_there_have_a_distance() -> None:
    """Vectors of single frames count by what `present` says of them, as in the head."""
    keys = ("image-clip/cls", "image-clip/present")
    head = make_head("linear", {"arrays": ",".join(keys)}, CLASSES)
    random = np.random.default_rng(3)
    usual = random.normal(size=(400, 1, 5, 8)).astype(np.float32)
    there = np.ones((400, 1, 5), np.uint8)
    usual[::2, :, 3:], there[::2, :, 3:] = 100.0, 0  # pixels of nothing
    found = replace(table(400), arrays=dict(zip(keys, (usual, there), strict=True)))
    known = familiar(head, found, np.zeros((0, 4), np.float32))
    assert known is not None
    assert distances(head, known, found).mean() == pytest.approx(1, abs=0.35)
    none_there = replace(found, arrays={**found.arrays, keys[1]: there * 0})
    drift = Drift(known)
    drift.add(head, none_there, np.full((400, 4), np.nan, np.float32))
    assert drift.videos == 0
    drift.add(head, found, np.full((400, 4), 0.25, np.float32))
    assert drift.line().endswith("(5% expected)")  # nothing is known of verdicts


def test_what_calibrates_says_which_verdicts_are_usual() -> None:
    head, found, known = fitted()
    about = About(
        head="linear", config={}, scheme="hfv4", classes=CLASSES, protocol="val",
        fingerprints={}, branches={},
    )  # fmt: skip
    sure = np.tile(np.array([0.97, 0.01, 0.01, 0.01], np.float32), (200, 1, 1))
    labels = np.tile(np.arange(4), 50)
    bundle = Bundle(head, about, familiar=known)
    again = calibrated(bundle, sure, labels, found.ids[:200].tolist(), "these")
    assert again.familiar is not None
    softer = averaged(tempered(sure, again.about.temperature))
    torch.testing.assert_close(again.familiar.verdicts, histogram(softer))


def test_an_unknown_generator_is_told_from_known_ones() -> None:
    found = table(480, seed=1, video_signal=2.0)
    far = elsewhere(found, 1.0)
    unknown = (found.sources == "lambda") & (found.labels != CLASSES.index("real"))
    arrays = {
        key: np.where(unknown.reshape(-1, *[1] * (array.ndim - 1)), far.arrays[key], array).astype(
            np.float16
        )
        for key, array in found.arrays.items()
    }
    moved = replace(found, arrays=arrays)
    result = cross(
        Data(train=moved, validation=moved),
        lambda: make_head("linear", {}, CLASSES),
        leave_one_out=True,
    )
    assert set(result.unknown) == {"kappa", "lambda"}
    assert result.unknown["lambda"].low > 0.8
    assert result.unknown_lines()[1].startswith("unknown lambda: AUC of the distance")
    assert (
        cross(Data(train=found, validation=found), lambda: make_head("linear", {}, CLASSES)).unknown
        == {}
    )


def test_a_bundle_keeps_what_is_familiar(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s", 240, video_signal=2.0)
    head = make_head("linear", {}, CLASSES)
    data = Choice(protocol="val").load(store, head)
    bundle = best_bundle(store, train_seeds(lambda: head, data, [0]), data)
    bundle.save(tmp_path / "b")
    again = Bundle.load(tmp_path / "b")
    assert FAMILIAR in again.about.files
    assert again.familiar is not None
    assert bundle.familiar is not None
    for name, tensor in bundle.familiar.tensors().items():
        torch.testing.assert_close(again.familiar.tensors()[name], tensor)


def test_drift_of_an_archive_is_said_in_a_line() -> None:
    head, _, known = fitted()
    same = table(400, seed=5, video_signal=2.0)
    drift = Drift(known)
    assert "0 videos are too few" in drift.line()
    for start in (0, 100, 200, 300):
        part = same.take(slice(start, start + 100))
        drift.add(head, part, averaged(head.predict(part)))
    assert drift.videos == 400
    assert drift.line().startswith("drift: little")
    whole = Drift(known)
    whole.add(head, same, averaged(head.predict(same)))
    assert whole.videos == 200  # every other one
    moved = elsewhere(same, 2.0)
    other = Drift(known)
    other.add(head, moved, averaged(head.predict(moved)))
    assert other.line().startswith("drift: much; ")
    assert stability_index(known.verdicts, known.verdicts) == 0


def test_scoring_an_archive_ends_with_its_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "s", 240, video_signal=2.0)
    head = make_head("linear", {}, CLASSES)
    data = Choice(protocol="val").load(store, head)
    best_bundle(store, train_seeds(lambda: head, data, [0]), data).save(tmp_path / "b")
    capsys.readouterr()
    command = ["score", str(tmp_path / "s"), "--bundle", str(tmp_path / "b")]
    assert main([*command, "--out", str(tmp_path / "scores.csv")]) == 0
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if line.startswith("drift: ")]
    assert "of 240 videos looked at lie farther" in line
