"""The benchmark of real clips: nobody is judged by a head that was told of them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import real_clips
from features_store.table import Table
from heads.detectors.recipe import Recipe
from heads.judging.evaluation import Predictions
from heads.measuring.curves import found_at
from tests.test_heads.tables import table

RECIPE = Recipe(
    name="made-up", title="", paper="", licence="", protocol="val", head="linear",
    branches=("internvideo2=tiny", "depthpro=tiny"), settings={"rank_loss": "false"},
)  # fmt: skip


@pytest.fixture(scope="module")
def clips() -> Table:
    return table(160, seed=1, video_signal=4.0)


def test_folds_keep_pages_together_and_judge_every_clip(clips: Table) -> None:
    pages = np.array([f"page {row // 8}" for row in range(len(clips))], dtype=object)
    found = real_clips.folded(clips, RECIPE, pages)
    of_page = {page: set() for page in pages}  # type: dict[str, set[int]]
    for name, page in zip(clips.ids, pages, strict=True):
        of_page[page].add(found.numbers[str(name)])
    assert all(len(folds) == 1 for folds in of_page.values())
    assert len(found.heads) == real_clips.FOLDS
    said = found.said(clips)
    assert len(said.ids) == len(clips)
    assert (said.means.argmax(1) == said.labels).mean() > 0.5


def test_pairs_are_the_same_footage_alone(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("file,pair\na,p\nb,p\nc,p\nd,q\ne,q\nf,\n")
    real = np.array([True, False, False, True, False, False])
    forgery = np.array([0.3, 0.2, 0.9, 0.5, 0.4, 0.99])
    said = Predictions(
        ids=list("abcdef"), labels=real.astype(np.int64), sources=list("abcdef"),
        classes=("forgery", "real"), means=np.stack([forgery, 1 - forgery], 1),
    )  # fmt: skip
    whole, each = real_clips._pairs("x", tmp_path, said)
    assert (whole["share"], whole["reals"], whole["generated"]) == (0.5, 2, 3)
    assert each["share"] == pytest.approx(1 / 3)


def test_a_number_without_an_interval_says_why() -> None:
    found = found_at(np.array([0.1, 0.2]), np.array([0.3]), share=0.01)
    few = real_clips._row("x", "found", found, 2, 1)
    assert "too few reals to say" in str(few["way"])
    assert "low" not in few
