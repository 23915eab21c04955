"""`telltale train`, `evaluate`, `ablate`, `cross`, `audit` and `heads`, as a user runs them."""

import importlib.util
import json
from pathlib import Path

import pytest

from features_store import Store
from heads.bundle import Bundle
from tests.test_features_store.test_cli import here
from tests.test_heads.stores import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store") / "s"
    write_store(place, 160, video_signal=4.0)
    return place


def test_train_and_evaluate(store: Path, tmp_path: Path) -> None:
    said = here("train", "--store", store, "--out", tmp_path / "a", "--set", "epochs=10",
                    "--set", "lr=3e-3", "--seeds", "2")  # fmt: skip
    assert "80 videos to learn from (val), 40 to decide by (val)" in said
    assert "these networks know nothing of real ones" in said
    here("train", "--store", store, "--head", "linear", "--out", tmp_path / "b")
    assert len(Bundle.load(tmp_path / "a").about.provenance["seeds"]) == 2
    said = here("evaluate", tmp_path / "a", tmp_path / "b", "--store", store,
                    "--out", tmp_path / "e.json")  # fmt: skip
    assert "lambda" in said
    assert "second minus first, accuracy" in said
    document = json.loads((tmp_path / "e.json").read_text())
    assert document[str(tmp_path / "a")]["sources"]["all videos"]["videos"] == 40
    assert document[str(tmp_path / "b")]["sources"]["all videos"]["accuracy"] > 0.5


def test_ablate_cross_and_heads(store: Path, tmp_path: Path) -> None:
    said = here("ablate", "--store", store, "--seeds", "2", "--set", "epochs=4", "--grid",
                    "depth=true,false", "--out", tmp_path / "g")  # fmt: skip
    assert "depth=false" in said
    assert "on 40 test videos" in said
    assert {path.name for path in (tmp_path / "g").iterdir()} == {
        ".made.json", "ablation.csv", "ablation.svg", "ablation.tex", "ablation.txt", "runs.jsonl",
        "said",
    }  # fmt: skip
    said = here("cross", "--store", store, "--out", tmp_path / "x.svg")
    assert "kappa" in said
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    said = here("heads", "fusion")
    assert "alpha=None  (free | sigmoid | fixed | none)" in said


def test_mistakes_are_explained(store: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "m")
    train = ("train", "--store", store)
    assert "no setting 'lrr'" in here(*train, *out, "--set", "lrr=1", expect=1)
    assert "given twice" in here(*train, *out, "--set", "lr=1", "--set", "lr=2", expect=1)
    assert "Head 'fsn' unknown" in here(*train, *out, "--head", "fsn", expect=1)
    assert "is no bundle" in here("evaluate", tmp_path, "--store", store, expect=1)
    assert "no facts about its files" in here("audit", store, expect=1)
    if importlib.util.find_spec("tensorboard") is None:
        said = here(*train, *out, "--tensorboard", tmp_path / "t", expect=1)
        assert "pip install tensorboard" in said
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine.txt").write_text("keep")
    assert "did not make it, or it was changed since" in here(
        *train, *out, "--set", "epochs=1", expect=1
    )
    assert (tmp_path / "m" / "mine.txt").read_text() == "keep"


def test_a_store_without_a_split_says_what_to_do(tmp_path: Path) -> None:
    write_store(tmp_path / "s", 40)
    made = Store.create(tmp_path / "t", scheme="hfv4", classes=Store.open(tmp_path / "s").classes)
    made.add_videos({"id": ["a.mp4"], "label": [0]})
    said = here("train", "--store", tmp_path / "t", "--out", tmp_path / "b", expect=1)
    assert "--validation 0.2" in said
    said = here("train", "--store", tmp_path / "s", "--out", tmp_path / "b", "--validation",
                    "0.3", "--set", "epochs=1")  # fmt: skip
    assert "to decide by" in said
