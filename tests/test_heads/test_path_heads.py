"""Heads on frames and tokens in all their forms, and videos of which too little is there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadBundle, BadSetting, BadTable
from heads.head import Head, make_head
from heads.judging.evaluation import evaluate, predictions
from heads.measuring.metrics import averaged, measure
from heads.parts.about import About
from heads.parts.likelihood import Likelihoods
from heads.parts.straight import StraightMlp
from heads.scoring.rows import NOTHING, Inputs, Scored, rows
from heads.zoo.experts import Experts
from tests.test_heads.frame_tables import FRAMES, PATCHES, frame_table
from tests.test_heads.tables import CLASSES, WIDTH

GOLDEN = Path(__file__).parents[1] / "golden"
TWO = ("forgery", "real")


def fitted(
    name: str, settings: Mapping[str, str] | None = None, classes: tuple[str, ...] = TWO
) -> Head:
    head = make_head(name, settings or {}, classes)
    head.fit(frame_table(seed=1, classes=classes), frame_table(40, seed=2, classes=classes), seed=3)
    return head


def auc(head: Head, classes: tuple[str, ...] = TWO) -> float:
    found = frame_table(60, seed=4, classes=classes)
    return measure(averaged(head.predict(found)), found.labels, classes).binary_auc


def again(head: Head, folder: Path) -> Head:
    """Saved and loaded."""
    folder.mkdir()
    head.save(folder)
    loaded = type(head)(head.config, head.classes)
    loaded.load(folder)
    return loaded


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "d3"}, {"method": "d3", "distance": "cos"}, {"method": "stall"},
        {"method": "restrav"}, {"method": "split"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)  # fmt: skip
def test_trajectory_scores_tell_real_from_generated(
    settings: dict[str, str], tmp_path: Path
) -> None:
    head = fitted("trajectory", settings)
    found = frame_table(60, seed=4, classes=TWO)
    assert auc(head) > 0.8
    loaded = again(head, tmp_path / "head")
    np.testing.assert_array_equal(loaded.predict(found), head.predict(found))


def only_real(found: Table) -> Table:
    return found.take(found.labels == found.classes.index("real"))


@pytest.mark.parametrize("method", ["d3", "stall", "split"])
def test_trajectory_is_calibrated_on_real_videos_alone(method: str) -> None:
    """Without a generated video it says the same of real and generated ones."""
    train, found = frame_table(seed=1, classes=TWO), frame_table(60, seed=4, classes=TWO)
    validation = frame_table(40, seed=2, classes=TWO)
    both = make_head("trajectory", {"method": method}, TWO)
    reals = make_head("trajectory", {"method": method}, TWO)
    both.fit(train, validation)
    reals.fit(only_real(train), validation)
    np.testing.assert_array_equal(both.predict(found), reals.predict(found))


def test_the_share_of_false_alarms_is_the_one_asked_for() -> None:
    train = frame_table(400, seed=1, classes=TWO)
    for asked in (0.05, 0.2):
        head = make_head("trajectory", {"false_alarms": str(asked)}, TWO)
        head.fit(train, frame_table(40, seed=2, classes=TWO))
        below = head.predict(only_real(train))[..., TWO.index("real")] < 0.5
        assert abs(below.mean() - asked) < 0.01


def test_restrav_by_its_authors_file_needs_no_generated_video(tmp_path: Path) -> None:
    state = load_file(GOLDEN / "restrav" / "restrav_released_weights.safetensors")
    mean, std = state.pop("mean"), state.pop("std")
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(BadSetting, match=r"needs mean\.npy and std\.npy"):
        StraightMlp.read(tmp_path / "model.pt")
    np.save(tmp_path / "mean.npy", mean[0].numpy())
    np.save(tmp_path / "std.npy", (std[0] - 1e-8).numpy())
    golden = load_file(GOLDEN / "restrav" / "restrav_released.safetensors")
    mlp = StraightMlp.read(tmp_path / "model.pt")
    with torch.no_grad():
        torch.testing.assert_close(mlp(golden["raw"]), golden["logit"][:, 0], atol=2e-5, rtol=0)
    settings = {"method": "restrav", "mlp": str(tmp_path / "model.pt")}
    head = make_head("trajectory", settings, TWO)
    train = only_real(frame_table(seed=1, classes=TWO))
    head.fit(train, frame_table(40, seed=2, classes=TWO))
    np.testing.assert_array_equal(
        again(head, tmp_path / "head").predict(train), head.predict(train)
    )
    with pytest.raises(BadSetting, match="belongs to method=restrav"):
        make_head("trajectory", {"mlp": "x.pt"}, TWO)


def test_trajectory_shares_generated_among_the_other_classes() -> None:
    head = fitted("trajectory", classes=CLASSES)
    found = head.predict(frame_table(20, seed=4))
    others = [i for i, name in enumerate(CLASSES) if name != "real"]
    np.testing.assert_allclose(found[..., others].std(-1), 0, atol=1e-6)
    with pytest.raises(BadSetting, match="tells 'real' from the rest"):
        make_head("trajectory", {}, ("a", "b"))
    train = frame_table(seed=1)
    generated = train.take(train.labels != CLASSES.index("real"))
    with pytest.raises(BadTable, match="needs real ones"):
        head.fit(generated, frame_table(40, seed=2))


def missing(found: Table, last: NDArray[np.int64], views: int = 2) -> Table:
    """Of each video only the first frames; 0: nothing at all."""
    present = np.arange(FRAMES) < last[:, None, None]
    present = np.broadcast_to(present, (len(found), views, FRAMES)).astype(np.uint8)
    return replace(found, arrays={**found.arrays, "image/present": present})


def test_frames_that_are_not_there_change_nothing() -> None:
    head, found = fitted("trajectory"), frame_table(20, seed=4, classes=TWO)
    short = missing(found, np.full(20, 4))
    arrays = {**short.arrays, "image/cls": short.arrays["image/cls"].copy()}
    arrays["image/cls"][:, :, 4:] = 99
    np.testing.assert_array_equal(head.predict(short), head.predict(replace(short, arrays=arrays)))
    assert not np.allclose(head.predict(short), head.predict(found))


def test_nothing_to_look_at_is_a_result_of_its_own() -> None:
    head, found = fitted("trajectory"), frame_table(20, seed=4, classes=TWO)
    last = np.full(20, FRAMES)
    last[3], last[8] = 0, 2  # too few for a score
    found = missing(found, last)
    said = averaged(head.predict(found))
    assert np.flatnonzero(np.isnan(said[:, 0])).tolist() == [3, 8]
    bundle = as_bundle(head, found)
    judged = predictions(bundle, found)
    assert (len(judged.ids), judged.nothing) == (18, 2)
    assert evaluate(judged).sources["all videos"].metrics.videos == 18
    inputs = Inputs(
        ids=[str(i) for i in found.ids], paths=[""] * 20, sources=[""] * 20, labels=[""] * 20
    )
    scored = Scored(positions=np.arange(20), probabilities=bundle.predict(found))
    table = rows(inputs, scored, {}, bundle, "0.1")
    verdicts = table["verdict"].to_pylist()
    assert [i for i, verdict in enumerate(verdicts) if verdict == NOTHING] == [3, 8]
    assert table["confidence"].null_count == table["p_real"].null_count == 2
    assert table["error"].null_count == 20
    with pytest.raises(BadTable, match="nothing to look at in any of the 20"):
        predictions(bundle, missing(found, np.zeros(20, np.int64)))


def test_views_without_anything_are_left_out_of_the_mean() -> None:
    probabilities = np.array([[[0.2, 0.8], [np.nan, np.nan]], [[0.4, 0.6], [0.6, 0.4]]])
    np.testing.assert_allclose(averaged(probabilities), [[0.2, 0.8], [0.5, 0.5]], atol=1e-6)


def test_stall_says_which_steps_are_none() -> None:
    random = np.random.default_rng(0)
    vectors = torch.from_numpy(random.normal(size=(50, 8, 6)))
    calibrated = Likelihoods.of(vectors)
    still = vectors[:1, :1].expand(1, 8, 6)
    frames, steps = calibrated.parts(still)
    assert bool(frames.isfinite().all())
    assert bool(steps.isinf().all())
    assert float(calibrated.score(still)) >= 0.5


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("demamba", {"order": "over-time", "lr": "3e-3", "epochs": "5"}),
        ("demamba", {"variant": "clip", "tokens": "image/even", "lr": "1e-2", "epochs": "30"}),
        ("vpvp", {"tokens": "internvideo2/grid", "lr": "3e-3", "epochs": "15", "channels": "16"}),
        ("vpvp", {"form": "magnitude", "tokens": "image/fast", "lr": "3e-3", "epochs": "15"}),
        ("vpvp", {"form": "magnitude", "tokens": "image/velocity", "lr": "3e-3", "epochs": "15"}),
        ("experts", {"fusion": "joint", "lr": "3e-3", "epochs": "6", "channels": "8",
                     "fused": "8", "feature": "8", "appearance": "image/even"}),
        ("experts", {"motion": "none", "geometry": "none", "lr": "3e-3", "epochs": "6"}),
    ],
)  # fmt: skip
def test_other_forms_learn_too(name: str, settings: dict[str, str], tmp_path: Path) -> None:
    head = make_head(name, settings, CLASSES)
    head.fit(more(frame_table(seed=1)), more(frame_table(40, seed=2)), seed=3)
    found = more(frame_table(40, seed=4))
    probabilities = head.predict(found)
    assert measure(averaged(probabilities), found.labels, CLASSES).auc > 0.8
    np.testing.assert_array_equal(again(head, tmp_path / "head").predict(found), probabilities)


def more(found: Table) -> Table:
    """Arrays of other shapes: tokens of an even grid, in one row behind a class token, faster
    for one class than for another."""
    random = np.random.default_rng(len(found))
    tokens = found.arrays["image/tokens"].astype(np.float32)
    even = tokens[:, :, :, [0, 1, 2, 3]]
    row = np.repeat(tokens, 2, axis=2)[:, :, :8].reshape(*tokens.shape[:2], 8 * PATCHES, WIDTH)
    grid = np.concatenate([row[:, :, :1], row], 2)
    speed = (1 + found.labels)[:, None, None, None, None]
    fast = speed * random.normal(size=tokens.shape)
    arrays = {
        "image/even": even,
        "internvideo2/grid": grid,
        "image/fast": fast.astype(np.float32),
        "image/velocity": np.abs(np.diff(fast, axis=2)).mean(3).astype(np.float32),
    }
    prints = {key: f"{200 + i:064x}" for i, key in enumerate(arrays)}
    return replace(
        found,
        arrays={**found.arrays, **arrays},
        fingerprints={**found.fingerprints, **prints},
    )


def test_magnitudes_from_the_store_are_those_of_the_tokens() -> None:
    """The cheap form says the same, whichever array it reads."""
    settings = {"form": "magnitude", "lr": "3e-3", "epochs": "2", "drop": "0"}
    train, validation = more(frame_table(seed=1)), more(frame_table(40, seed=2))
    found, said = more(frame_table(20, seed=4)), []
    for array in ("image/fast", "image/velocity"):
        head = make_head("vpvp", {**settings, "tokens": array}, CLASSES)
        head.fit(train, validation, seed=3)
        said.append(head.predict(found))
    np.testing.assert_allclose(said[0], said[1], atol=1e-4)
    with pytest.raises(BadSetting, match="set form=magnitude"):
        make_head("vpvp", {"tokens": "image/velocity"}, CLASSES)


def test_every_expert_speaks_for_itself() -> None:
    head = make_head("experts", {"lr": "3e-3", "epochs": "4", "channels": "16"}, CLASSES)
    head.fit(frame_table(seed=1), frame_table(40, seed=2), seed=3)
    assert isinstance(head, Experts)
    found = frame_table(40, seed=4)
    said = head.expert_probabilities(found)
    assert list(said) == ["appearance", "motion", "geometry"]
    logits = sum(np.log(each) for each in said.values()) / 3
    mean = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(head.predict(found), mean, atol=1e-5)
    noise = np.random.default_rng(0).integers(0, 256, found.arrays["motion/grid"].shape, np.uint8)
    blind = replace(found, arrays={**found.arrays, "motion/grid": noise})
    other = head.expert_probabilities(blind)
    np.testing.assert_array_equal(other["appearance"], said["appearance"])
    assert not np.allclose(other["motion"], said["motion"])


def test_what_heads_on_tokens_cannot_read_is_refused(tmp_path: Path) -> None:
    train, validation = frame_table(seed=1), frame_table(40, seed=2)
    with pytest.raises(BadTable, match="without a class token"):
        make_head("demamba", {"variant": "clip"}, CLASSES).fit(train, validation)
    with pytest.raises(BadTable, match="give tokens of internvideo2"):
        make_head("demamba", {"tokens": "image/cls"}, CLASSES).fit(train, validation)
    with pytest.raises(BadTable, match="give tokens of internvideo2"):
        make_head("vpvp", {"tokens": "image/cls"}, CLASSES).fit(train, validation)
    with pytest.raises(BadTable, match="an expert needs tokens of a square grid"):
        make_head("experts", {"motion": "image/cls"}, CLASSES).fit(train, validation)
    nobody = {"appearance": "none", "motion": "none", "geometry": "none"}
    with pytest.raises(BadSetting, match="No expert is left"):
        make_head("experts", nobody, CLASSES)
    save_file({"x": torch.zeros(1)}, tmp_path / "head.safetensors")
    for name in ("demamba", "vpvp", "experts", "trajectory"):
        with pytest.raises(BadBundle, match=f"is no {name} head"):
            make_head(name, {}, CLASSES).load(tmp_path)


def as_bundle(made: Head, found: Table) -> Bundle:
    config = {name: getattr(made.config, name) for name in made.config.__dataclass_fields__}
    about = About(
        head=made.name, config=config, scheme="hfv2", classes=made.classes, protocol="frames-8@8",
        fingerprints={key: found.fingerprints[key] for key in made.keys},
        branches={"image": "image=dinov2-tiny"}, conformal={"0.1": 0.5},
    )  # fmt: skip
    return Bundle(made, about)


@pytest.mark.parametrize("name", ["linear", "knn", "gbdt"])
def test_heads_on_means_leave_out_what_is_not_there(name: str, tmp_path: Path) -> None:
    settings = {"arrays": "image/cls,image/present"}
    settings |= {"trees": "20", "min_leaf": "4"} if name == "gbdt" else {}
    head = make_head(name, settings, TWO)
    last = np.full(80, FRAMES)
    last[5] = 0
    train = missing(frame_table(seed=1, classes=TWO), last)
    head.fit(train, frame_table(40, seed=2, classes=TWO), seed=3)
    found = frame_table(20, seed=4, classes=TWO)
    last = np.full(20, 5)
    last[7] = 0
    short = missing(found, last)
    arrays = {**short.arrays, "image/cls": short.arrays["image/cls"].copy()}
    arrays["image/cls"][:, :, 5:] = 99
    other = replace(short, arrays=arrays)
    said = head.predict(short)
    np.testing.assert_array_equal(said, head.predict(other))
    assert np.isnan(said[7]).all()
    assert np.isfinite(np.delete(said, 7, 0)).all()
    cut = {**found.arrays, "image/cls": found.arrays["image/cls"][:, :, :5]}
    cut["image/present"] = cut["image/present"][:, :, :5]
    whole = head.predict(replace(found, arrays=cut))
    np.testing.assert_allclose(np.delete(said, 7, 0), np.delete(whole, 7, 0), atol=1e-5)
    np.testing.assert_array_equal(again(head, tmp_path / "head").predict(short), said)
