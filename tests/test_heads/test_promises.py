"""From the command line: a bundle knows its videos, and promises only what it can."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from features_store import Store
from heads.bundle import Bundle
from heads.commands.main import main
from tests.test_heads.stores import write_features, write_store
from tests.test_heads.tables import table

OLD = Path(__file__).parent.parent / "data" / "bundles_v1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A store of 240 videos in three splits."""
    write_store(tmp_path / "s", 240)
    return tmp_path


def run(place: Path, command: str, *more: str) -> int:
    return main([*command.split(), *more, "--store", str(place / "s")])


def test_training_calibrates_out_of_fold_and_keeps_curves_and_rows(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(place / "b")
    assert run(place, "train --seeds 2 --set epochs=6 --folds 3 --out", out) == 0
    said = capsys.readouterr().out
    bundle, store = Bundle.load(place / "b"), Store.open(str(place / "s"))
    splits = store.videos.column("split")
    known = int(np.isin(splits, np.array(["train", "val"], "T")).sum())
    assert (
        f"Calibrated by {known} videos (each judged by a head trained on the other 2 of 3" in said
    )
    assert "out of fold (3 folds, " in said
    assert set(bundle.about.conformal["0.1"]) == set(bundle.classes)
    assert [one["seed"] for one in bundle.learning] == [0, 1]
    assert len(bundle.learning[0]["auc"]) == len(bundle.learning[0]["training loss"]) == 6
    ids = store.videos.column("id")
    seen = bundle.rows.seen(ids[splits == "train"].tolist())
    assert seen.counts["learnt"] == seen.judged > 0
    assert not bundle.rows.seen(ids[splits == "test"].tolist())
    assert main(["report", str(place), "--out", str(place / "r.html")]) == 0
    assert "training loss by epoch" in (place / "r.html").read_text()


def test_judging_what_was_learnt_from_is_said_first(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = "train --head linear --folds 0 --out"
    assert run(place, train, str(place / "b")) == 0
    assert "No calibration" in capsys.readouterr().out
    assert run(place, "evaluate", str(place / "b"), "--split", "all") == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("careful: of 240 judged videos ")
    assert "were learnt from" in first
    assert "were decided by" in first
    assert "240 judged" in second
    out = place / "e.json"
    assert run(place, "evaluate", str(place / "b"), "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "careful" not in said
    assert "No calibration" in said
    assert "generated against real (" in said
    rows = json.loads(out.read_text())[str(place / "b")]["rows"]
    assert rows["learnt"] > 0
    assert rows["known"] == {"learnt": 0, "decided": 0, "calibrated": 0}
    scores = place / "s.parquet"
    assert (
        main(["score", str(place / "s"), "--bundle", str(place / "b"), "--out", str(scores)]) == 0
    )
    assert "careful: of 240 judged videos" in capsys.readouterr().out
    found = parquet.read_table(scores)
    assert set(found["set"].to_pylist()) == {None}  # no calibration is not "unsure"
    assert set(found["flagged"].to_pylist()) == {None}


def test_an_error_rate_without_thresholds_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "train --head linear --folds 0 --out", str(place / "b")) == 0
    score = ["score", str(place / "s"), "--bundle", str(place / "b"), "--out", str(place / "s.csv")]
    assert main([*score, "--error-rate", "0.37"]) == 1
    assert "the bundle has no calibration" in capsys.readouterr().err


def test_a_threshold_from_ones_own_reals(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reals that taught are left out; a tenth of the promise cannot be had from so few."""
    write_store(place / "mine", 400)
    write_features(Store.open(str(place / "mine")), table(400, seed=77), "own-2")
    assert run(place, "train --head linear --folds 2 --out", str(place / "b")) == 0
    capsys.readouterr()
    calibrate = [
        "calibrate",
        str(place / "b"),
        "--reals",
        str(place / "mine"),
        "--protocol",
        "own-2",
    ]
    assert main([*calibrate, "--fpr", "0.001"]) == 1
    assert "reals cannot promise 0.10%" in capsys.readouterr().err
    assert main([*calibrate, "--fpr", "0.1", "--out", str(place / "c")]) == 0
    said = capsys.readouterr().out
    assert "10.00% false alarms on reals like" in said
    assert "left out:" in said  # their ids are those of videos that it learnt from
    bundle = Bundle.load(place / "c")
    assert len(bundle.about.operating) == 1
    assert Bundle.load(place / "b").about.operating == []
    scores = place / "s.parquet"
    assert (
        main(["score", str(place / "s"), "--bundle", str(place / "c"), "--out", str(scores)]) == 0
    )
    rows = parquet.read_table(scores).to_pylist()
    limit = bundle.about.operating[0]["threshold"]
    assert all(row["flagged"] == (row["forgery"] > np.float32(limit)) for row in rows)
    capsys.readouterr()
    assert run(place, "evaluate", str(place / "c")) == 0
    assert "here: false alarms" in capsys.readouterr().out
    again = ["calibrate", str(place / "c"), "--reals", str(scores), "--fpr", "0.2"]
    assert main(again) == 0
    assert len(Bundle.load(place / "c").about.operating) == 2


def test_calibration_by_other_videos(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "train --head linear --calibrate-on test --out", str(place / "b")) == 0
    assert "(split test of " in capsys.readouterr().out
    before = Bundle.load(place / "b")
    assert run(place, "train --head knn --folds 0 --out", str(place / "d")) == 0
    calibrate = ["calibrate --on all", str(place / "b"), "--out"]
    capsys.readouterr()
    assert run(place, *calibrate, str(place / "d")) == 1
    assert "did not make it, or it was changed since" in capsys.readouterr().err
    assert Bundle.load(place / "d").about.head == "knn"
    assert run(place, *calibrate, str(place / "c")) == 0
    assert "left out:" in capsys.readouterr().out
    after = Bundle.load(place / "c")
    assert after.about.calibration["videos"] == before.about.calibration["videos"]
    assert main(["calibrate", str(place / "b"), "--on", "test"]) == 1
    assert "belong together" in capsys.readouterr().err


def test_seeds_and_heads_are_put_together(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = "train --set epochs=4 --seeds 3 --ensemble --folds 2 --out"
    assert run(place, train, str(place / "seeds")) == 0
    together = Bundle.load(place / "seeds")
    assert together.about.head == "ensemble"
    assert len(together.about.config["members"]) == 3
    assert together.about.conformal
    assert run(place, "train --head linear --folds 2 --out", str(place / "linear")) == 0
    both = ["ensemble", str(place / "seeds"), str(place / "linear"), "--out", str(place / "both")]
    assert main(both) == 0
    assert main(both) == 0  # its own result may be made again, and another's may not
    for words in ([*both[:-1], str(place / "linear")], [*both[:-1], str(place / "seeds")]):
        capsys.readouterr()
        assert main(words) == 1
        assert "did not make it, or it was changed since" in capsys.readouterr().err
    bundle, linear = Bundle.load(place / "both"), Bundle.load(place / "linear")
    found = Store.open(str(place / "s")).table(bundle.head.keys, protocol="val")
    expected = (together.predict(found) + linear.predict(found)) / 2
    np.testing.assert_allclose(bundle.predict(found), expected, atol=1e-6)
    assert not bundle.about.conformal
    assert run(place, "evaluate", str(place / "both"), str(place / "linear")) == 0
    assert "second minus first, accuracy" in capsys.readouterr().out


def test_a_group_is_never_on_both_sides(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grouped = ["--group-by", r"(\d*)\d\.mp4", "--validation", "0.25"]
    assert run(place, "train --head linear --folds 2 --out", str(place / "b"), *grouped) == 0
    said = capsys.readouterr().out
    assert "test videos share a group with a video that is learnt from" in said
    bundle = Bundle.load(place / "b")
    ids = [str(name) for name in Store.open(str(place / "s")).videos.column("id")]
    learnt, decided = (
        {name.rpartition("/")[2][:-5] for name in ids if bundle.rows.seen([name]).counts[what]}
        for what in ("learnt", "decided")
    )
    assert learnt
    assert decided
    assert not learnt & decided
    assert run(place, "train --head linear --out", str(place / "c"), "--group-by", ".*") == 1
    assert "a group of its own" in capsys.readouterr().err


def test_old_bundles_say_that_they_do_not_know_their_videos(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.load(OLD / "linear")
    assert not bundle.rows
    assert not bundle.rows.seen(["a"])
    assert run(place, "evaluate", str(OLD / "linear")) in (0, 1)  # other features: refused
    assert capsys.readouterr()
