"""Heads learn from training views, and are judged by the views that will be scored."""

from pathlib import Path

import numpy as np
import pytest

from features_store import Store
from heads.commands.main import main
from heads.data.splits import Choice, held_out
from heads.errors import WrongFeatures
from heads.head import Head, make_head
from tests.test_heads.stores import write_features, write_store
from tests.test_heads.tables import CLASSES, KEYS, only, table

VIDEOS = 120
HEAD: Head = make_head("linear", {}, CLASSES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Features of all videos under `val` (2 views) and `train-4`."""
    made = write_store(tmp_path / "s", VIDEOS)
    write_features(made, table(VIDEOS, 4, seed=5), "train-4")
    return made


def used(choice: Choice, store: Store) -> tuple[str, str]:
    data = choice.load(store, HEAD)
    assert data.train.splits.tolist() == ["train"] * len(data.train)
    assert data.validation.splits.tolist() == ["val"] * len(data.validation)
    return data.train.protocol, data.validation.protocol


def test_training_views_teach_and_val_decides(store: Store) -> None:
    assert used(Choice(), store) == ("train-4", "val")
    assert used(Choice(judging="train-4"), store) == ("train-4", "train-4")
    assert used(Choice(protocol="val"), store) == ("val", "val")
    data = Choice().load(store, HEAD)
    assert data.train.arrays[HEAD.keys[0]].shape[1] == 4
    assert data.validation.arrays[HEAD.keys[0]].shape[1] == 2


def test_views_of_another_network_or_of_some_videos_only_do_not_decide(tmp_path: Path) -> None:
    whole = table(VIDEOS, 4, seed=5)
    other = write_store(tmp_path / "other", VIDEOS)
    write_features(other, whole, "train-4", fingerprint="b" * 64)
    assert used(Choice(), other) == ("train-4", "train-4")
    with pytest.raises(WrongFeatures, match="different networks under train-4 and val"):
        used(Choice(judging="val"), other)

    partial = write_store(tmp_path / "partial", VIDEOS)
    write_features(partial, whole, "train-4")
    write_features(partial, whole, "test-2x2", shards=1)
    assert used(Choice(), partial) == ("train-4", "val")
    found = held_out(partial, HEAD, Choice().load(partial, HEAD).train)
    assert found is not None
    assert found.protocol == "val"


def test_test_videos_are_judged_by_the_most_views(store: Store) -> None:
    for name, views in (("test-2x1", 2), ("test-4x3", 12), ("test-4x3+blur3", 12)):
        write_features(store, table(VIDEOS, views, seed=5), name)
    found = held_out(store, HEAD, Choice().load(store, HEAD).train)
    assert found is not None
    assert found.protocol == "test-4x3"
    assert set(found.splits.tolist()) == {"test"}


def test_what_is_ambiguous_or_foreign_is_not_passed_over(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--store", str(tmp_path / "s")]
    assert main(["train", *place, "--head", "linear", "--out", str(tmp_path / "bundle")]) == 0
    bundle = str(tmp_path / "bundle")
    write_features(store, table(VIDEOS, 2, seed=5), "test-mine")  # a name of the user's own
    assert main(["evaluate", bundle, *place]) == 0
    assert "(val)" in capsys.readouterr().out
    for fingerprint in "ab":
        write_features(store, table(VIDEOS, 12, seed=5), "test-4x3", fingerprint=fingerprint * 64)
    assert main(["evaluate", bundle, *place]) == 1
    assert "give one in full" in capsys.readouterr().err


def test_bundles_are_compared_by_the_same_views(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--store", str(tmp_path / "s")]
    for name, head in (("a", "linear"), ("b", "attnpool")):
        settings = ["--set", "epochs=1"] if head == "attnpool" else []
        command = ["train", *place, "--head", head, *settings, "--out", str(tmp_path / name)]
        assert main(command) == 0
    pooled = only(table(VIDEOS, 12, seed=5), KEYS[:3] + KEYS[4:])
    write_features(store, pooled, "test-4x3", keys=KEYS[:3] + KEYS[4:])
    both = ["evaluate", str(tmp_path / "a"), str(tmp_path / "b"), *place]
    assert main(both) == 1
    assert "test-4x3 and val cannot be compared" in capsys.readouterr().err
    assert main([*both, "--protocol", "val"]) == 0


def test_without_test_videos_there_is_no_test_table(tmp_path: Path) -> None:
    made = write_store(tmp_path / "s", videos=8)  # four of train, four of train
    assert held_out(made, HEAD, table(8)) is None


def test_training_views_of_the_training_videos_are_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "s", VIDEOS)
    write_features(store, table(VIDEOS, 4, seed=5), "train-4", split="train")
    place = ["--store", str(tmp_path / "s"), "--protocol", "train-4", "--head", "linear"]
    assert main(["train", *place, "--out", str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr().out
    assert "64 videos to learn from (train-4), 28 to decide by (val)" in said
    assert "Calibrated by 92 videos" in said


def test_every_video_twice_is_in_the_same_order(store: Store) -> None:
    data = Choice().load_twice(store, HEAD, np.ones(VIDEOS, bool))
    assert data.train.ids.tolist() == data.validation.ids.tolist()
    assert (data.train.protocol, data.validation.protocol) == ("train-4", "val")


def test_the_commands_say_what_they_used(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_features(store, table(VIDEOS, 12, seed=5), "test-4x3")
    place = ["--store", str(tmp_path / "s"), "--head", "linear"]
    assert main(["train", *place, "--out", str(tmp_path / "bundle")]) == 0
    assert "to learn from (train-4), 28 to decide by (val)" in capsys.readouterr().out
    ablation = ["--grid", "depth=true,false", "--seeds", "1", "--out", str(tmp_path / "a")]
    assert main(["ablate", *place, *ablation]) == 0
    assert "test videos (test-4x3)" in capsys.readouterr().out
    assert main(["cross", *place]) == 0
    assert main(["evaluate", str(tmp_path / "bundle"), *place[:2]]) == 0
    assert "videos (test-4x3), 0 failed" in capsys.readouterr().out


def test_what_learnt_from_canonical_videos_is_judged_on_canonical_ones(tmp_path: Path) -> None:
    """Plain views of the same networks lie beside; nobody asked for them."""
    made = table(120, seed=5)
    store = write_store(tmp_path / "s", 120)
    for name in ("train-2+canonical", "val+canonical", "test-1x3", "test-1x3+canonical"):
        write_features(store, made, name)
    head = make_head("linear", {}, store.classes)
    data = Choice(protocol="train-2+canonical").load(store, head)
    assert (data.train.protocol, data.validation.protocol) == ("train-2+canonical", "val+canonical")
    test = held_out(store, head, data.train)
    assert test is not None
    assert test.protocol == "test-1x3+canonical"
    plain = Choice(protocol="val").load(store, head)
    assert plain.validation.protocol == "val"
    test = held_out(store, head, plain.train)
    assert test is not None
    assert test.protocol == "test-1x3"
