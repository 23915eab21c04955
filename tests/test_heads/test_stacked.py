"""Heads put together: by a regression over what they say out of fold, and by alpha."""

from pathlib import Path

import numpy as np
import pytest

from heads.errors import BadSetting
from heads.head import make_head
from heads.measuring.metrics import averaged, measure
from heads.zoo.blend import Blend
from tests.test_features_store.test_cli import here
from tests.test_heads.stores import write_store
from tests.test_heads.tables import CLASSES, only, table

AREA = "internvideo2/cls"
CHANCE = "internvideo2/attn"


def test_the_member_that_knows_is_trusted() -> None:
    """One of two members sees nothing but noise: an average is worse than the one that knows."""
    learn, judged = (table(160, seed=seed, depth_signal=0.0) for seed in (1, 4))
    knows, guesses = f"linear:arrays={AREA}", "knn:arrays=depthpro/depth"
    made = make_head("stacked", {"members": f"{knows}+{guesses}", "folds": "3"}, CLASSES)
    made.fit(learn, table(40, seed=2))
    parts = {name: averaged(said) for name, said in made.parts(judged).items()}
    assert list(parts) == ["linear", "knn"]
    numbers = {name: measure(p, judged.labels, CLASSES).auc for name, p in parts.items()}
    mean = measure(np.mean(list(parts.values()), 0), judged.labels, CLASSES).auc
    found = measure(averaged(made.predict(judged)), judged.labels, CLASSES).auc
    assert numbers["knn"] < 0.65 < numbers["linear"]
    assert found > mean
    assert found > numbers["linear"] - 0.03


def test_wrong_members_are_refused() -> None:
    for members, said in (
        ("linear+stacked", "no member of one"),
        ("linear:c", "HEAD:name=value"),
        ("linear+nothing", "'nothing' unknown"),
    ):
        with pytest.raises(BadSetting, match=said):
            make_head("stacked", {"members": members}, CLASSES)


def test_alpha_goes_to_the_array_that_knows() -> None:
    found = []
    for first, second in ((CHANCE, "depthpro/depth"), ("depthpro/depth", CHANCE)):
        settings = {"first": first, "second": second, "epochs": "40", "lr": "0.02"}
        made = make_head("blend", settings, CLASSES)
        assert isinstance(made, Blend)
        learn = only(table(120, seed=1, video_signal=6.0), (CHANCE, "depthpro/depth"))
        made.fit(learn, table(40, seed=2, video_signal=6.0))
        found.append(made.alpha)
    assert found[0] > found[1]
    with pytest.raises(BadSetting, match="give two arrays"):
        make_head("blend", {"first": CHANCE, "second": CHANCE}, CLASSES)


def test_evaluate_says_what_each_is_worth(tmp_path: Path) -> None:
    write_store(tmp_path / "s")
    given: list[str | Path] = [
        "--store",
        tmp_path / "s",
        "--head",
        "stacked",
        "--folds",
        "0",
        "--set",
        "folds=2",
    ]
    here("train", *given, "--out", tmp_path / "b")
    said = here("evaluate", tmp_path / "b", "--store", tmp_path / "s")
    assert "by itself, on 28 videos:" in said
    assert "  linear: AUC " in said
    assert "  knn: AUC " in said
