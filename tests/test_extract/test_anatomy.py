"""The branch `anatomy`: boxes of a file become crops, vectors and logits, row by row."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadBoxes, BadSetting, BadWeights, VideoError
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, Detections, DetectorIdentity, Found, detections
from extract.running.extraction import Extraction
from extract.views.protocol import Protocol
from features_store import Store
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import settings

GOLDEN = Path(__file__).parents[1] / "golden" / "human-anomaly"
CHAIN: dict[str, Any] = json.loads((GOLDEN / "chain.json").read_text())
TENSORS = load_file(GOLDEN / "chain.safetensors")
KINDS = {"human": "person", "face": "face", "hand": "hand"}
FRAMES = {
    n: np.ascontiguousarray(frame[..., ::-1])
    for n, frame in enumerate(TENSORS["frames_bgr"].numpy())
}
"""As a video decodes: red first."""
HEIGHT, WIDTH = FRAMES[0].shape[:2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the chain's three networks."""
    folder = tmp_path_factory.mktemp("weights")
    state = load_file(GOLDEN / "chain_weights.safetensors")
    for part in KINDS:
        own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        save_file(own, folder / f"{part}.safetensors")
    return folder


def boxes(path: Path, videos: Mapping[str, Detections], weights: str = "") -> Path:
    identity = DetectorIdentity(name="test", weights=weights)
    path.write_bytes(file_bytes(boxes_table(videos), identity))
    return path


def golden_boxes() -> Detections:
    rows = [
        Found(
            frame=one["frame"], kind=KINDS[one["label"]], box=tuple(box),  # type: ignore[arg-type]
            person=one["person"],
        )
        for one, box in zip(CHAIN["detections"], TENSORS["boxes"].tolist(), strict=True)
    ]  # fmt: skip
    return detections(rows, Canvas(frames=(0, 1, 2, 3), width=WIDTH, height=HEIGHT))


def anatomy(query: str, weights: Path | None = None) -> Branch:
    place = f":{weights}" if weights else ""
    return load_branch(BranchRequest.parse(f"anatomy=tiny{place}?frames=4&{query}"))


def said(branch: Branch, video: str = "a.mp4", protocol: str = "frames-4@all") -> dict[str, Any]:
    """Of the golden frames, as a worker and the device make it."""
    views = Protocol.parse(protocol).views(video, len(FRAMES))
    rows = branch.prepare.load()(FRAMES, views)
    return branch.numpy(branch.forward(torch.from_numpy(rows)))


def test_frames_and_boxes_become_the_released_scores(weights: Path, tmp_path: Path) -> None:
    file = boxes(tmp_path / "b.parquet", {"a.mp4": golden_boxes()})
    found = said(anatomy(f"boxes={file}&colour=bgr&identity=rank", weights))
    scores = torch.from_numpy(found["logits"]).softmax(-1)[0, ..., 0].numpy()
    wanted: dict[tuple[int, int, int], float] = {}
    for one, prob in zip(CHAIN["detections"], TENSORS["prob"][:, 0].tolist(), strict=True):
        place = (one["frame"], one["person"], list(KINDS).index(one["label"]))
        wanted[place] = max(prob, wanted.get(place, 0))  # the hand that looks worst
    there = found["person"][0] >= 0
    assert sorted(zip(*(x.tolist() for x in np.nonzero(there)), strict=True)) == sorted(wanted)
    for place, prob in wanted.items():
        assert scores[place] == pytest.approx(prob, abs=5e-6)
    assert found["present"].tolist() == [[1, 1, 0, 1]]
    assert not found["vectors"][0][~there].any()
    np.testing.assert_array_equal(found["boxes"][0, 1, 0, 0, :4], TENSORS["boxes"][6].numpy())


def test_red_first_is_another_look(weights: Path, tmp_path: Path) -> None:
    file = boxes(tmp_path / "b.parquet", {"a.mp4": golden_boxes()})
    ours, released = (
        said(anatomy(f"boxes={file}&colour={colour}", weights))["logits"]
        for colour in ("rgb", "bgr")
    )
    moved = torch.from_numpy(ours).softmax(-1) - torch.from_numpy(released).softmax(-1)
    wrong = CHAIN["moves_if_wrong"]["RGB instead of BGR input"]
    assert float(moved.abs().max()) == pytest.approx(wrong, abs=0.02)


def test_nobody_is_no_failure_and_no_crop(tmp_path: Path) -> None:
    hostile = [(50.0, 5.0, 50.0, 9.0), (500.0, 5.0, 520.0, 30.0), (30.0, 30.0, 10.0, 40.0)]
    empty = detections(Found(frame=0, kind="person", box=box) for box in hostile)
    file = boxes(
        tmp_path / "b.parquet",
        {"hostile.mp4": empty, "none.mp4": detections([], golden_boxes().canvas)},
    )
    branch = anatomy(f"boxes={file}")
    for video in ("hostile.mp4", "none.mp4"):
        found = said(branch, video)
        assert not found["present"].any()
        assert (found["person"] == -1).all()
    with pytest.raises(VideoError, match="nothing can be cut of the person"):
        said(anatomy(f"boxes={file}&empty-box=error"), "hostile.mp4")


def test_more_persons_than_asked_for_are_left_out_by_their_scores(tmp_path: Path) -> None:
    row = [
        Found(frame=0, kind="person", box=(9.0 * n, 2.0, 9.0 * n + 8, 40.0), score=n / 10, person=n)
        for n in range(6)
    ]
    file = boxes(tmp_path / "b.parquet", {"a.mp4": detections(row)})
    found = said(anatomy(f"boxes={file}&persons=2"))
    assert found["person"][0, 0, :, 0].tolist() == [5, 4]


def test_the_fingerprint_follows_the_files_content_and_not_its_name(tmp_path: Path) -> None:
    known = {"a.mp4": golden_boxes()}
    one = boxes(tmp_path / "one.parquet", known)
    same = boxes(tmp_path / "same.parquet", known)
    other = boxes(tmp_path / "other.parquet", {"b.mp4": golden_boxes()})
    first, again, changed = (
        anatomy(f"boxes={file}").offer.fingerprint for file in (one, same, other)
    )
    assert first == again != changed
    known_ones = [
        boxes(tmp_path / f"{number}.parquet", {f"{number}.mp4": golden_boxes()}, weights)
        for number, weights in enumerate(("one", "one", "two"))
    ]
    first, again, changed = (anatomy(f"boxes={file}").offer.fingerprint for file in known_ones)
    assert first == again != changed  # a detector whose weights are known counts as itself


def test_a_file_that_was_replaced_is_noticed_in_the_worker(tmp_path: Path) -> None:
    file = boxes(tmp_path / "b.parquet", {"a.mp4": golden_boxes()})
    branch = anatomy(f"boxes={file}")
    boxes(file, {"a.mp4": detections([])})
    with pytest.raises(VideoError, match="was changed"):
        said(branch)


def test_pictures_that_are_crops_already(weights: Path) -> None:
    found = said(anatomy("boxes=whole-face", weights))
    assert (found["person"][..., 1] == 0).all()
    assert (found["person"][..., (0, 2)] == -1).all()
    assert found["present"].all()
    assert found["boxes"][0, 0, 0, 1].tolist() == [0, 0, WIDTH, HEIGHT, 1]
    np.testing.assert_array_equal(found["vector"], found["vectors"][:, :, 0, 1])


def test_of_crops_of_one_kind_no_other_network_counts(weights: Path, tmp_path: Path) -> None:
    """Nor need it be there; a file of boxes needs all three."""
    shutil.copy(weights / "face.safetensors", tmp_path)
    whole, alone = (anatomy("boxes=whole-face", folder) for folder in (weights, tmp_path))
    assert whole.offer.fingerprint == alone.offer.fingerprint
    hands = anatomy("boxes=whole-hand", weights / "face.safetensors")
    assert hands.offer.fingerprint != alone.offer.fingerprint
    file = boxes(tmp_path / "b.parquet", {"a.mp4": golden_boxes()})
    with pytest.raises(BadWeights, match=r"needs one file human\.pth"):
        anatomy(f"boxes={file}", tmp_path)


@pytest.mark.parametrize("abnormal", [0, 1])
def test_in_training_it_sees_what_is_there_and_judges_by_its_own_row(abnormal: int) -> None:
    """A picture is a video of one frame; what comes after it is no picture."""
    query = f"anatomy=tiny?frames=2&boxes=whole-hand&dtype=float32&abnormal={abnormal}"
    branch = load_branch(BranchRequest.parse(query))
    (view,) = Protocol.parse("frames-2@8").views("a.png", 1, fps=25)
    rows = torch.from_numpy(branch.prepare.load()({0: FRAMES[0]}, [view]))
    learns = branch.trainable()
    assert learns is not None
    assert learns.own_head is not None
    assert learns.own_head.forged == abnormal
    with torch.no_grad():
        found = learns.vectors(learns.enter(rows, 0), 0)
    assert found["present"].tolist() == [[1, 0]]
    torch.testing.assert_close(found["vector"], branch.forward(rows)["vector"])


def test_a_pretraining_file_gives_vectors_and_judges_nothing() -> None:
    branch, again = (
        anatomy("boxes=whole-person", GOLDEN / "simmim_weights.safetensors") for _ in range(2)
    )
    assert branch.offer.fingerprint == again.offer.fingerprint
    assert set(branch.outputs) == {"vectors", "vector", "boxes", "person", "present"}
    assert said(branch)["vectors"].shape == (1, 4, 1, 3, 48)
    assert "no trained heads" in branch.provenance["source"]


def refused(query: str, weights: Path | None = None, preset: str = "tiny") -> None:
    place = f":{weights}" if weights else ""
    load_branch(BranchRequest.parse(f"anatomy={preset}{place}?{query}"))


def test_what_it_cannot_work_with_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="boxes=FILE"):
        load_branch(BranchRequest.parse("anatomy=tiny"))
    with pytest.raises(BadBoxes, match="No such file"):
        refused(f"boxes={tmp_path / 'none.parquet'}")
    with pytest.raises(BadWeights, match="needs weights: anatomy=B:FOLDER"):
        refused("boxes=whole-face", preset="B")
    with pytest.raises(BadWeights, match=r"width 32 and 2 blocks"):
        refused("boxes=whole-face", weights, preset="B")
    with pytest.raises(BadWeights, match=r"needs one file face\.pth"):
        refused("boxes=whole-face", tmp_path)
    with pytest.raises(BadSetting, match="multiple of 16"):
        refused("boxes=whole-face&size=50")
    with pytest.raises(BadSetting, match="persons=0"):
        refused("boxes=whole-face&persons=0")


def extracted(folder: Path, store: Path, file: Path, names: Sequence[str]) -> Store:
    folder.mkdir()
    for name in names:
        write_clip(folder / name, frames=6, times=[40 * n for n in range(6)])
    manifest = read_manifest(folder, ManifestOptions(scheme="hfv4"))
    branch = anatomy(f"boxes={file}")
    Extraction.begin(manifest, store, [branch], settings(protocol="frames-4@all")).run(
        workers=1, bar=False
    )
    return Store.open(store)


def test_a_video_without_boxes_fails_and_the_others_do_not(tmp_path: Path) -> None:
    looked = [Found(frame=n, kind="person", box=(2.0, 2.0, 30.0, 40.0)) for n in range(6)]
    beyond = [Found(frame=600, kind="person", box=(2.0, 2.0, 30.0, 40.0))]
    file = boxes(
        tmp_path / "b.parquet", {"good.mp4": detections(looked), "long.mp4": detections(beyond)}
    )
    store = extracted(tmp_path / "v", tmp_path / "s", file, ("good.mp4", "long.mp4", "none.mp4"))
    (name,) = (n for n in store.branches("frames-4@all") if n.startswith("anatomy"))
    branch = store.open_branch("frames-4@all", name)
    reasons = dict(zip(store.videos.column("id").tolist(), range(3), strict=True))
    errors = branch.errors()
    assert reasons["good.mp4"] not in errors
    assert "go to frame 600" in errors[reasons["long.mp4"]]
    assert "has no boxes of it" in errors[reasons["none.mp4"]]


def test_every_frame_of_a_long_video_is_seen_once_segment_by_segment(tmp_path: Path) -> None:
    """A segment's boxes are numbered from its own first frame; the first has two, in its last."""
    write_clip(tmp_path / "a.mp4", frames=60)
    lengths = {"a.mp4#t=0.0,1.0": 25, "a.mp4#t=1.0,2.0": 25, "a.mp4#t=2.0,2.4": 10}
    (tmp_path / "segments.csv").write_text("\n".join(["path", *(f'"{id_}"' for id_ in lengths)]))
    found = {
        name: detections(
            [Found(frame=n, kind="person", box=(2.0, 2.0, 30.0, 40.0)) for n in range(first, count)]
        )
        for (name, count), first in zip(lengths.items(), (23, 0, 0), strict=True)
    }
    file = boxes(tmp_path / "b.parquet", found)
    manifest = read_manifest(tmp_path / "segments.csv", ManifestOptions(scheme="hfv4"))
    branch = load_branch(BranchRequest.parse(f"anatomy=tiny?frames=32&persons=1&boxes={file}"))
    how = settings(protocol="frames-32@30")
    Extraction.begin(manifest, tmp_path / "s", [branch], how).run(workers=1, bar=False)
    table = Store.open(tmp_path / "s").table(["anatomy/present"], protocol="frames-32@30")
    assert dict(
        zip(table.ids.tolist(), table.arrays["anatomy/present"].sum((1, 2)), strict=True)
    ) == {
        "a.mp4#t=0.0,1.0": 2,
        "a.mp4#t=1.0,2.0": 25,
        "a.mp4#t=2.0,2.4": 10,
    }
