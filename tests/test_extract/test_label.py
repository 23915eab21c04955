"""`telltale label` from folders to a set that reads back, and decisions that change it."""

import csv
import importlib.util
import json
import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract.branch import BranchRequest
from extract.commands.label import _none_known
from extract.errors import BadManifest, BadSetting
from extract.labelling import label as labelling
from extract.labelling import labelled_set
from extract.labelling.gather import gather
from extract.labelling.label import Labelling, LabelOptions, label
from extract.labelling.prior_labels import PRIORS
from extract.manifest.manifest import read_manifest
from extract.people.spots import COLUMNS
from extract.synthesis.data_set import GENERATORS, encode
from features_store import Store
from heads.commands.main import main
from tests.test_extract.clips import write_clip
from tests.test_extract.networks import tiny_depth_pro

PAIRS = 4


def made(path: Path, frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    generator = GENERATORS[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, frames, generator)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and real videos; some files are hardly videos, some names hardly names."""
    root = tmp_path_factory.mktemp("raw")
    for source, count in (("gen-a", 6), ("gen b", 5), ("camera", 4)):
        (root / source).mkdir()
        for number in range(count):
            size = (96 + 16 * number, 64)
            write_clip(root / source / f"clip, {number}.mp4", frames=6 + number, size=size)
    a = root / "gen-a"
    made(a / "sub/constant.mp4", np.full((9, 256, 256, 3), 80, np.uint8))
    write_clip(a / "two.mp4", frames=2)
    write_clip(a / "one.mp4", frames=1)
    (a / "broken.mp4").write_bytes((a / "clip, 0.mp4").read_bytes()[:700])
    (a / "line\nbreak.mp4").write_bytes((a / "clip, 1.mp4").read_bytes())
    (a / "away.mp4").symlink_to(root / "gen b" / "clip, 1.mp4")
    os.mkfifo(a / "pipe.mp4")
    (a / '<img src=x onerror="window.hacked=1">.mp4').write_bytes((a / "clip, 2.mp4").read_bytes())
    return root


def options(folders: Path, out: Path) -> LabelOptions:
    return LabelOptions(
        folders=(folders / "gen-a", folders / "gen b"), real=folders / "camera", out=out,
        pairs=PAIRS, workers=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Labelling:
    out = tmp_path_factory.mktemp("labelled")
    return label(options(folders, out), bar=False)


def test_every_video_has_a_label_or_a_reason(found: Labelling) -> None:
    reasons = {Path(name).name: why for name, why in found.failures.items()}
    assert "one frame" in reasons.pop("one.mp4")
    assert reasons.pop("away.mp4") == "a link that leaves its folder"
    assert reasons.pop("pipe.mp4") == "not a file"
    assert "control characters" in reasons.pop("line\\nbreak.mp4")
    assert list(reasons) == ["broken.mp4"]
    with (found.root / "failures.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 6
    names = {Path(entry.id).name for entry in found.made.entries}
    assert {"two.mp4", "constant.mp4", '<img src=x onerror="window.hacked=1">.mp4'} <= names
    assert len(found.made.entries) == 6 + 5 + 4 + 3


def test_a_constant_video_is_ranked_last(found: Labelling) -> None:
    (constant,) = (entry for entry in found.made.entries if "constant" in entry.id)
    assert constant.ranked is not None
    assert constant.scores["motion"] == 0
    assert constant.scores["appearance"] < 1e-4
    assert constant.ranked.ranks["motion"] > 0.8 * constant.ranked.count


def test_the_set_reads_back_in_hfvs_layout(found: Labelling) -> None:
    manifest = read_manifest(str(found.root))
    assert manifest.scheme is not None
    classes = manifest.scheme.classes
    told = {video.id: video for video in manifest.videos}
    assert set(told) == {entry.id for entry in found.made.entries}
    for entry in found.made.entries:
        video = told[entry.id]
        assert classes[video.label] == entry.label
        assert (video.rank, video.split, video.source) == (entry.rank, entry.split, entry.source)
        assert Path(video.path).is_file()
    assert labelled_set.read(found.root) == found.made


def test_provenance_names_what_scored_and_store_has_it(found: Labelling) -> None:
    provenance = json.loads((found.root / "provenance.json").read_text())
    store = Store.open(found.root / "priors.zarr")
    groups = store.branches(f"pairs-{PAIRS}")
    for prior in PRIORS:
        said = provenance["scores"][prior]
        assert said["branch"] in groups
        assert said["branch"].endswith(said["fingerprint"][:8])
        assert said["source"] == "no weights"
    assert provenance["real"] == "camera"


def test_again_computes_nothing_and_writes_the_same(folders: Path, found: Labelling) -> None:
    lists = sorted(found.root.rglob("*.csv"))
    before = {path: path.read_bytes() for path in lists}
    again = label(options(folders, found.root), bar=False)
    assert again.summary.done == 0
    assert {path: path.read_bytes() for path in lists} == before


def test_one_worker_gives_the_same_bits(folders: Path, found: Labelling, tmp_path: Path) -> None:
    only = LabelOptions(folders=(folders / "gen b",), out=tmp_path / "s", pairs=PAIRS, workers=1)
    scores = {entry.id: entry.scores for entry in found.made.entries}
    for entry in label(only, bar=False).made.entries:
        assert entry.scores == scores[entry.id]


def test_decisions_change_labels_ranks_and_splits(found: Labelling) -> None:
    before = found.made
    first, second, *_ = (entry for entry in before.entries if entry.source == "gen b")
    assert first.ranked is not None
    other = next(prior for prior in PRIORS if prior != first.label)
    after = before.with_decisions({first.id: other, second.id: "real"})
    told = {entry.id: entry for entry in after.entries}
    assert told[first.id].label == other
    assert told[first.id].proposed == first.proposed
    assert told[first.id].rank == first.ranked.ranks[other] / first.ranked.count
    assert (told[second.id].label, told[second.id].rank) == ("real", 1.0)
    undone = after.with_decisions({first.id: first.label, second.id: second.label})
    assert [entry.split for entry in undone.entries] == [entry.split for entry in before.entries]


def strangers(path: Path) -> Path:
    """Scores that call videos otherwise than a labelled set does."""
    rows = [(f"gen b/{number}.mp4", number, "hand", "1 2 3 4", 0.5) for number in range(4)]
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)
    return path


def test_the_command_labels_and_applies(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, decisions = tmp_path / "set", tmp_path / "decisions.csv"
    scores = strangers(tmp_path / "people.parquet")
    command = ["label", str(folders / "gen b"), "--out", str(out), "--pairs", "2"]
    assert main([*command, "--findings", str(scores)]) == 0
    said = capsys.readouterr().out
    names = sorted(one.id for one in labelled_set.read(out).entries)
    assert "0 videos with what looks worst" in said
    assert f"{scores} has 4 other videos (gen b/0.mp4, gen b/1.mp4, gen b/2.mp4, …); here" in said
    assert f"here they are {names[0]}" in said
    assert f"label again: telltale score {out} --bundle BUNDLE --out {scores}" in said
    assert "knows of no video" in _none_known(Namespace(findings=scores), [], names)
    chosen = labelled_set.read(out).entries[0]
    decisions.write_text(f'\ufeffid,label\n"{chosen.id}",motion\n"{chosen.id}",Real\n')
    assert main(["label", "--apply", str(decisions), "--out", str(out)]) == 0
    assert "1 decisions, 1 labels changed" in capsys.readouterr().out
    manifest = read_manifest(str(out))
    (video,) = (video for video in manifest.videos if video.id == chosen.id)
    assert manifest.scheme is not None
    assert manifest.scheme.classes[video.label] == "real"
    assert labelled_set.read(out).entries[0].decided == "real"


def test_labelling_again_keeps_decisions(folders: Path, tmp_path: Path) -> None:
    only = LabelOptions(folders=(folders / "gen b",), out=tmp_path / "s", pairs=2)
    first = label(only, bar=False).made
    labelled_set.write(only.out, first.with_decisions({first.entries[0].id: "real"}))
    assert label(only, bar=False).made.entries[0].decided == "real"


def test_a_set_is_labelled_as_a_whole(folders: Path, found: Labelling) -> None:
    with pytest.raises(BadSetting, match="has videos of camera, gen-a too"):
        label(LabelOptions(folders=(folders / "gen b",), out=found.root, pairs=PAIRS), bar=False)


def test_sets_may_share_a_store(folders: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "shared.zarr")
    for source in ("gen b", "camera"):
        only = LabelOptions(
            folders=(folders / source,), out=tmp_path / source, store=store, pairs=2
        )
        made = label(only, bar=False).made
        assert {entry.source for entry in made.entries} == {source}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id,label\ntrain_data/x/none.mp4,real\n", "no video of this set"),
        ('id,label\n"train_data/gen b/clip, 0.mp4"\n', "label 'none' unknown"),
        ("name,label\n", "columns id and label"),
    ],
)
def test_bad_decisions_change_nothing(
    found: Labelling, tmp_path: Path, text: str, match: str
) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(BadManifest, match=match):
        found.made.with_decisions(labelled_set.read_decisions(path))
    with pytest.raises(BadManifest, match="cannot be read"):
        labelled_set.read_decisions(tmp_path / "none.csv")


def test_what_the_command_refuses(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ([], "Nothing to label"),
        ([str(folders / "none")], "is no folder"),
        ([str(folders / "gen-a"), "--apply", "d.csv"], "give it --out, no folders"),
        (["--apply", "d.csv"], "is no labelled set"),
        ([str(folders / "gen-a"), "--pairs", "0"], "give 1 to 256"),
    ):
        assert main(["label", *arguments, "--out", str(tmp_path / "o")]) == 1
        assert said in capsys.readouterr().err
    with pytest.raises(BadSetting, match="has the name 'gen-a' too"):
        gather([folders / "gen-a", folders / "gen-a"], tmp_path / "o")
    with pytest.raises(BadSetting, match="lies inside"):
        gather([folders / "gen-a"], folders / "gen-a" / "out")


def test_another_video_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    for name, frames in (("one/g", 3), ("two/g", 5)):
        (tmp_path / name).mkdir(parents=True)
        write_clip(tmp_path / name / "v.mp4", frames=frames)
    gather([tmp_path / "one/g"], tmp_path / "out")
    with pytest.raises(BadSetting, match="is there already"):
        gather([tmp_path / "two/g"], tmp_path / "out")


def test_where_links_fail_videos_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "g").mkdir()
    write_clip(tmp_path / "g/v.mp4", frames=3)

    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    gather([tmp_path / "g"], tmp_path / "out")
    copied = tmp_path / "out/train_data/g/v.mp4"
    assert copied.read_bytes() == (tmp_path / "g/v.mp4").read_bytes()
    gather([tmp_path / "g"], tmp_path / "out")
    assert [path.name for path in copied.parent.iterdir()] == ["v.mp4"]


def test_another_scorer_scores_everything_anew_and_what_was_decided_stays(
    folders: Path, tmp_path: Path
) -> None:
    """In one OUT and one store: what each scored stays apart, the set is the last one's."""
    plain = LabelOptions(folders=(folders / "gen b",), out=tmp_path / "s", pairs=2)
    first = label(plain, bar=False).made
    labelled_set.write(plain.out, first.with_decisions({first.entries[0].id: "real"}))
    asked = BranchRequest.parse("motion=raft-tiny?side=64&iterations=1")
    second = label(replace(plain, scorers=(asked,)), bar=False)
    assert second.summary.done == len(first.entries)
    for old, new in zip(first.entries, second.made.entries, strict=True):
        assert new.scores["motion"] != old.scores["motion"]
        assert new.scores["spatial"] == old.scores["spatial"]
    assert second.made.entries[0].decided == "real"
    said = json.loads((plain.out / "provenance.json").read_text())["scores"]["motion"]
    assert "raft-tiny" in said["branch"]
    assert "random numbers" in said["source"]
    groups = Store.open(plain.out / "priors.zarr").branches("pairs-2")
    assert sum(name.startswith("motion-") for name in groups) == 2
    third = label(plain, bar=False)
    assert third.summary.done == 0
    assert [e.scores for e in third.made.entries] == [e.scores for e in first.entries]


def test_networks_score_end_to_end(folders: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    depth = tiny_depth_pro(tmp_path / "depth")
    texts = (f"spatial=depthpro:{depth}?side=64", "motion=raft-tiny?side=64&iterations=1")
    asked = tuple(BranchRequest.parse(text) for text in texts)
    out = tmp_path / "s"
    only = LabelOptions(folders=(folders / "gen-a",), out=out, pairs=2, scorers=asked)
    found = label(only, bar=False)
    assert any("one frame" in why for why in found.failures.values())
    for entry in found.made.entries:
        assert entry.scores["spatial"] >= 0
        assert set(found.curves[entry.id]) == set(PRIORS)
    said = json.loads((out / "provenance.json").read_text())["scores"]
    assert said["spatial"]["source"] == "depth"
    assert said["spatial"]["flow"]["method"] == "DIS, ultrafast"
    assert said["appearance"]["source"] == "no weights"


def test_the_command_takes_scorers(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["label", str(folders / "gen b"), "--out", str(tmp_path / "o"), "--pairs", "2"]
    tiny = "motion=raft-tiny?side=64&iterations=1"
    assert main([*base, "--scorer", tiny, "--device", "cpu", "--review", "0"]) == 0
    said = capsys.readouterr().out
    assert "spatial=dis (no weights)" in said
    assert "motion=raft-tiny (random numbers (tiny preset), no training)" in said
    for arguments, refused in (
        (["--scorer", "motion"], "give NAME=PRESET:WEIGHTS"),
        (["--scorer", "internvideo2=tiny"], "Scorer 'internvideo2': give one of spatial"),
        (["--scorer", tiny, "--scorer", "motion=dis"], "Scorer 'motion': give one of"),
        (["--scorer", "motion=raft:none.pth"], "none.pth is not a file"),
        (["--scorer", "motion=dis?pairs=3"], "by --pairs"),
        (["--device", "cuda:0,cuda:1"], "one device"),
        (["--device", "tpu:x"], "unknown; give cpu"),
    ):
        assert main([*base, *arguments]) == 1
        assert refused in capsys.readouterr().err


def test_the_presets_are_what_the_branches_have() -> None:
    assert [branch.name for branch in labelling.scorers(PAIRS)] == list(PRIORS)
