"""What every head must do, whatever is in it: one file in `heads/zoo/`, one run of this suite."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadBundle, BadSetting, BadTable, WrongFeatures
from heads.head import Head, head_class, head_names, make_head
from heads.measuring.metrics import averaged, measure
from heads.parts.about import About
from tests.test_heads.frame_tables import frame_table
from tests.test_heads.tables import CLASSES, only

QUICK = {
    "fusion": {"epochs": "30", "lr": "3e-3"},
    "attnpool": {"epochs": "10", "lr": "3e-3", "out": "16"},
    "spacetime": {"epochs": "10", "lr": "3e-3", "channels": "16"},
    "gbdt": {"trees": "30", "min_leaf": "4", "columns": "0.5"},
    "demamba": {"epochs": "5", "lr": "3e-3"},
    "vpvp": {"epochs": "15", "lr": "3e-3", "channels": "16", "gate": "8", "tokens": "image/tokens"},
    "mlp": {"epochs": "15", "lr": "3e-3", "hidden": "16"},
    "blend": {"epochs": "30", "lr": "3e-3", "second": "internvideo2/avg"},
    "experts": {"epochs": "4", "lr": "3e-3", "channels": "16"},
}
TWO = ("forgery", "real")
REAL_OR_NOT = ("anatomy", "trajectory")
"""Heads that tell real from generated and no more."""

pytestmark = pytest.mark.parametrize("name", head_names())


def classes_of(name: str) -> tuple[str, ...]:
    return TWO if name in REAL_OR_NOT else CLASSES


def head(name: str, **more: str) -> Head:
    return make_head(name, {**QUICK.get(name, {}), **more}, classes_of(name))


def table(name: str, videos: int = 80, *, seed: int = 0) -> Table:
    return frame_table(videos, seed=seed, classes=classes_of(name))


def fitted(name: str, **more: str) -> Head:
    made = head(name, **more)
    made.fit(table(name, seed=1), table(name, videos=40, seed=2), seed=3)
    return made


def test_it_learns_and_gives_probabilities(name: str) -> None:
    made = head(name)
    report = made.fit(table(name, seed=1), table(name, videos=40, seed=2), seed=3)
    probabilities = made.predict(table(name, videos=60, seed=4))
    assert probabilities.shape == (60, 2, len(classes_of(name)))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert (probabilities >= 0).all()
    labels = table(name, videos=60, seed=4).labels
    found = measure(averaged(probabilities), labels, classes_of(name))
    assert found.accuracy > 0.5, found
    assert 0.5 < report.best <= 1
    assert set(made.keys) <= set(table(name).arrays)


def test_the_same_seed_gives_the_same_head(name: str) -> None:
    a, b = (fitted(name).predict(table(name, seed=4)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_views_and_videos_are_scored_by_themselves(name: str) -> None:
    made, found = fitted(name), table(name, seed=4)
    whole = made.predict(found)
    np.testing.assert_allclose(made.predict(found.take(np.array([7, 2]))), whole[[7, 2]], atol=2e-6)


def test_a_bundle_predicts_the_same(name: str, tmp_path: Path) -> None:
    made, found = fitted(name), table(name, seed=4)
    bundle(made, found).save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    assert loaded.classes == classes_of(name)
    np.testing.assert_array_equal(loaded.predict(found), made.predict(found))
    loaded.save(tmp_path / "b")  # over itself
    np.testing.assert_array_equal(Bundle.load(tmp_path / "b").predict(found), made.predict(found))


def test_a_damaged_bundle_is_refused(name: str, tmp_path: Path) -> None:
    bundle(fitted(name), table(name)).save(tmp_path / "b")
    files = [path for path in (tmp_path / "b").iterdir() if path.name.startswith("head")]
    content = files[0].read_bytes()
    files[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadBundle, match="sha256 differs"):
        Bundle.load(tmp_path / "b")
    files[0].unlink()
    with pytest.raises(BadBundle, match="lacks"):
        Bundle.load(tmp_path / "b")
    document = json.loads((tmp_path / "b" / "bundle.json").read_text())
    for wrong, said in (({"files": {}}, "lists no files"), ({"files": []}, "lists no files")):
        (tmp_path / "b" / "bundle.json").write_text(json.dumps({**document, **wrong}))
        with pytest.raises(BadBundle, match=said):
            Bundle.load(tmp_path / "b")
    (tmp_path / "b" / "bundle.json").write_text("{")
    with pytest.raises(BadBundle, match="cannot be read"):
        Bundle.load(tmp_path / "b")


def test_features_of_another_fingerprint_are_refused(name: str) -> None:
    found = table(name)
    made = bundle(fitted(name), found)
    other = replace(found, fingerprints=dict.fromkeys(found.fingerprints, "f" * 64))
    with pytest.raises(WrongFeatures, match="trained on 0000"):
        made.predict(other)


def test_what_it_cannot_learn_from_is_refused(name: str) -> None:
    good, validation = table(name), table(name, videos=40, seed=2)
    with pytest.raises(BadTable, match=f"All training videos are '{good.classes[0]}'"):
        head(name).fit(good.take(good.labels == 0), validation)
    with pytest.raises(BadTable, match="80 training videos have no label"):
        head(name).fit(replace(good, labels=good.labels * 0 - 1), validation)
    with pytest.raises(BadTable, match="no training videos"):
        head(name).fit(good.take(good.labels > 9), validation)
    with pytest.raises(BadTable, match="lacks"):
        head(name).fit(only(good, ()), validation)
    with pytest.raises(BadTable, match=r"(is|are) not finite.* extract"):
        head(name).fit(_with_nan(good), validation)
    with pytest.raises(BadTable, match=r"(is|are) not finite"):
        fitted(name).predict(_with_nan(good))


def test_it_works_without_depth_and_with_fewer_classes_to_decide_by(name: str) -> None:
    fuses = "depth" in head_class(name).Config.__dataclass_fields__
    made, found = head(name, **({"depth": "false"} if fuses else {})), table(name)
    validation = table(name, videos=40, seed=2)
    report = made.fit(found, validation.take(validation.labels != len(made.classes) - 2))
    assert "accuracy" in report.metric
    assert 0 <= report.best <= 1
    assert "depthpro/depth" not in made.keys


def test_a_missing_rank_is_refused_where_ranks_count(name: str) -> None:
    ranks = table(name).ranks.copy()
    ranks[3] = np.nan
    without = replace(table(name), ranks=ranks)
    if "rank_loss" in head_class(name).Config.__dataclass_fields__:
        with pytest.raises(BadTable, match=r"'0/3.mp4' for one.*rank_loss=false"):
            head(name).fit(without, table(name, videos=40, seed=2))
        head(name, rank_loss="false").fit(without, table(name, videos=40, seed=2))
    else:
        head(name).fit(without, table(name, videos=40, seed=2))


def test_an_untrained_head_and_unknown_settings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="not trained yet"):
        head(name).predict(table(name))
    with pytest.raises(BadSetting, match="not trained yet"):
        head(name).save(tmp_path)
    fields = head_class(name).Config.__dataclass_fields__
    first = next(iter(fields))
    with pytest.raises(BadSetting, match=rf"no setting '{first}x'.*Did you mean '{first}'"):
        head(name, **{f"{first}x": "1"})
    for field in (field for field in fields if field in ("depth", "rank_loss")):
        with pytest.raises(BadSetting, match="give true or false"):
            head(name, **{field: "perhaps"})


def test_a_class_without_videos_is_not_predicted_into_being(name: str) -> None:
    """Three of the scheme's four classes in training."""
    found, validation = frame_table(), frame_table(videos=40, seed=2)
    made = make_head(name, QUICK.get(name, {}), CLASSES)
    made.fit(found.take(found.labels != 2), validation.take(validation.labels != 2))
    probabilities = made.predict(found)
    assert probabilities.shape[-1] == 4
    assert (averaged(probabilities).argmax(1) == 2).mean() < 0.1


def bundle(made: Head, found: Table) -> Bundle:
    config = {name: getattr(made.config, name) for name in made.config.__dataclass_fields__}
    about = About(
        head=made.name, config=config, scheme="hfv4", classes=made.classes, protocol="val",
        fingerprints={key: found.fingerprints[key] for key in made.keys},
        branches={"internvideo2": "internvideo2=tiny", "depthpro": "depthpro=tiny"},
    )  # fmt: skip
    return Bundle(made, about)


def _with_nan(found: Table) -> Table:
    arrays = {key: array.copy() for key, array in found.arrays.items()}
    for array in arrays.values():
        if np.issubdtype(array.dtype, np.floating):
            array[5] = np.nan
    return replace(found, arrays=arrays)
