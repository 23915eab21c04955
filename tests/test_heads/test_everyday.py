"""The bundle that comes with the package: it is there, says what it is worth, and knows when to
say nothing."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extract.branch import BranchRequest
from extract.networks import efficientnet
from extract.views.looks import LOOKS, look_at
from extract.views.protocol import Protocol
from features_store import Store
from heads.bundle import Bundle
from heads.commands.main import main
from heads.data.splits import Choice
from heads.errors import BadBundle, BadTable
from heads.fitting.seeds import best_bundle, train_seeds
from heads.head import make_head
from heads.judging.papers import worth
from heads.parts.model_card import first_lines
from heads.scoring.output import read_scores
from heads.shipped.places import bundle_folder, default_bundle
from tests.test_heads import odd_clips
from tests.test_heads.stores import write_store
from tests.test_heads.tables import only, table

SHIPPED = Path(str(bundle_folder("everyday")))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder of the working tree is taken for a bundle, and nobody has a default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TELLTALE_BUNDLE", raising=False)


def test_it_is_small_and_says_first_what_it_is_worth() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 1_000_000
    about = Bundle.load("everyday").about
    assert (about.scheme, tuple(about.classes)) == ("hfv2", ("forgery", "real"))
    assert {"0.1", "0.05"} <= set(about.conformal)
    first, *others = first_lines(about)
    videos = sum(about.calibration["by class"].values())
    assert first.startswith("AUC ")
    assert f"(n = {videos})" in first
    assert "of real videos called generated" in first
    assert first.endswith("Not evidence in court.")
    assert any("HumanSAM" in line for line in others)


def test_clips_that_people_have_get_sane_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = odd_clips.fill(tmp_path / "odd")
    assert main(["score", str(folder), "--out", "s.csv", "--workers", "1"]) == 3
    said = capsys.readouterr().out
    assert said.startswith("AUC ")
    rows = {row["id"]: row for row in read_scores(Path("s.csv")).to_pylist()}
    for name in ("phone.mp4", "screen_recording.mp4", "cartoon.mp4"):
        assert rows[name]["verdict"] in ("forgery", "real")
        assert rows[name]["set"] in ("forgery", "real", "unsure")
        assert rows[name]["unlike"] >= 0.99  # drawn by a program
    for name in ("black.mp4", "three_frames.mp4"):
        assert rows[name]["verdict"] == "nothing"
        assert rows[name]["forgery"] is None
    assert rows["empty.mp4"]["error"] == "the file is empty"
    assert "no video container" in rows["text.mp4"]["error"]


def test_what_is_like_nothing_that_was_learnt_is_unsure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd_clips.cartoon(Path("cartoon.mp4"))
    assert main(["score", "cartoon.mp4", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("cartoon.mp4: unsure, ")
    assert "like nothing that was learnt" in said


def test_a_still_picture_is_named_as_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("still.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["score", "still.png"]) == 1
    assert "still picture" in capsys.readouterr().err


def test_without_its_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package_here")
    clip = odd_clips.black(tmp_path / "black.mp4")
    assert main(["score", str(clip)]) == 1
    assert "[mini]" in capsys.readouterr().err


def test_a_folder_goes_before_the_shipped_bundle_of_its_name(tmp_path: Path) -> None:
    assert SHIPPED.is_absolute()
    assert default_bundle() == SHIPPED
    shutil.copytree(SHIPPED, "everyday")
    assert bundle_folder("everyday") == Path("everyday")
    assert default_bundle() == SHIPPED
    with pytest.raises(BadBundle, match="no bundle"):
        Bundle.load("someday")


def test_a_variable_names_ones_own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLTALE_BUNDLE", "mine")
    assert default_bundle() == Path("mine")
    monkeypatch.setenv("TELLTALE_BUNDLE", "")
    assert default_bundle() == SHIPPED


def test_ones_own_reals_calibrate_a_copy_and_leave_the_shipped_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (SHIPPED / "bundle.json").read_bytes()
    scores = [f"clip{n}.mp4,,{n / 100}" for n in range(60)]
    Path("reals.csv").write_text("\n".join(["id,label,forgery", *scores, ""]))
    assert main(["calibrate", "everyday", "--reals", "reals.csv", "--fpr", "0.05"]) == 0
    assert "flagged above 0.5" in capsys.readouterr().out
    assert (SHIPPED / "bundle.json").read_bytes() == before
    assert Bundle.load("everyday").about.operating[0]["reals"] == 60


def test_frames_that_show_nothing_are_left_out_and_the_others_close_up() -> None:
    shown = np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8)
    frames = {0: shown * 0, 1: shown, 2: shown * 0 + 200, 3: shown[::-1].copy()}
    view = Protocol.parse("frames-4@all").views("v", 4)
    found = look_at(frames, view, **LOOKS["visible"].plain())
    assert found[0, :, 0].tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(found[0, 1, 1:].reshape(224, 224, 3), shown[::-1])
    kept = look_at(frames, view, **LOOKS["short"].plain())
    assert kept[0, :, 0].tolist() == [1, 1, 1, 1]


def test_roots_are_taken_of_what_the_head_reads() -> None:
    plain = only(table(80, video_signal=3.0), ("internvideo2/cls",))
    squares = replace(
        plain,
        arrays={key: np.sign(a) * a.astype(np.float32) ** 2 for key, a in plain.arrays.items()},
    )
    settings = {"arrays": "internvideo2/cls", "rank_loss": "false"}
    first = make_head("linear", settings, plain.classes)
    second = make_head("linear", {**settings, "root": "true"}, plain.classes)
    first.fit(plain, plain)
    second.fit(squares, squares)
    np.testing.assert_allclose(first.predict(plain), second.predict(squares), atol=1e-4)


def test_worth_counts_reals_called_generated_and_generated_ones_found() -> None:
    forgery = np.array([0.9, 0.6, 0.2, 0.1, 0.8, 0.7, 0.3, 0.95])
    means, labels = np.stack([forgery, 1 - forgery], 1), np.array([1, 1, 1, 1, 0, 0, 0, 0])
    found = worth(means, labels, ("forgery", "real"))
    numbers = {name: found[name]["value"] for name in found}  # type: ignore[index]
    assert numbers == {"auc": 0.75, "false alarms": 0.5, "caught": 0.75}
    assert worth(means[:4], labels[:4], ("forgery", "real")) == {}
    assert worth(means, labels, ("spatial", "motion")) == {}


def test_a_request_names_the_network_that_it_was_trained_on() -> None:
    (text,) = Bundle.load("everyday").about.branches.values()
    request = BranchRequest.parse(text)
    assert (request.name, request.preset) == ("image", "efficientnet-lite0")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = tmp_path_factory.mktemp("store") / "s"
    write_store(place, 120, video_signal=4.0)
    return Store.open(place)


def test_a_head_without_epochs_may_learn_from_every_video(store: Store) -> None:
    head = make_head("linear", {}, store.classes)
    some = Choice(validation=0.0).load(store, head)
    every = Choice(validation=0.0, every=True).load(store, head)
    assert len(some.train) < len(every.train) == store.videos.count
    assert not len(every.validation)
    trained = train_seeds(lambda: make_head("linear", {}, store.classes), every, [0])
    bundle = best_bundle(store, trained, every)
    assert bundle.rows.counts()["learnt"] == store.videos.count
    assert bundle.about.metrics["validation videos"] == 0
    assert bundle.familiar is not None
    assert not bundle.familiar.verdicts.any()  # of videos that it was not told of
    with pytest.raises(BadTable, match="goes with --validation"):
        Choice(every=True).load(store, head)
    with pytest.raises(BadTable, match="no validation videos"):
        make_head("fusion", {}, store.classes).fit(every.train, every.validation)
