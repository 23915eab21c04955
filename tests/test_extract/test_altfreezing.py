"""The branch on faces: the released demo from frames to scores, and videos without a face."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.parity.checking import kind_of
from extract.branch import BranchRequest, load_branch
from extract.errors import BadSetting, BadWeights
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.networks import resnet3d
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, Detections, DetectorIdentity, detections
from extract.running.extraction import Extraction
from extract.views.protocol import Protocol
from features_store import Store
from tests.test_extract.clips import write_clip
from tests.test_extract.extractions import settings
from tests.test_extract.faces import face, moving, written

GOLDEN = Path("tests/golden/altfreezing/demo.json")
PROTOCOL = "windows-3x8"


def test_the_released_demo_from_frames_and_faces_to_scores() -> None:
    described = json.loads(GOLDEN.read_text())
    rows = kind_of(GOLDEN, described)
    assert rows is not None
    checked = list(rows(GOLDEN, described))
    assert {"gaps under opencv4: frames", "two under opencv5: windows"} <= {
        row.quantity for row in checked
    }
    assert [row.quantity for row in checked if not row.ok] == []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three videos: one with a face, one with two, one with none."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "videos").mkdir()
    for name in ("none.mp4", "one.mp4", "two.mp4"):
        write_clip(folder / "videos" / name, frames=26)
    canvas = Canvas(frames=tuple(range(26)), width=160, height=90)
    both = [face(n, right=d) for n in range(26) for d in (-50.0, 40.0)]
    videos: dict[str, Detections] = {
        "none.mp4": detections([], canvas),
        "one.mp4": moving(range(26)),
        "two.mp4": detections(both),
    }
    boxes = written(folder / "faces.parquet", videos)
    asked = [f"altfreezing=tiny?boxes={boxes}", f"faces=rgb?boxes={boxes}&frames=8&side=32"]
    branches = [load_branch(BranchRequest.parse(text)) for text in asked]
    manifest = read_manifest(folder / "videos", ManifestOptions(scheme="hfv4"))
    extraction = Extraction.begin(manifest, folder / "s", branches, settings(protocol=PROTOCOL))
    assert not extraction.run(workers=1, bar=False).failures
    return Store.open(folder / "s")


def test_a_video_without_a_face_is_no_failure_and_no_number(store: Store) -> None:
    keys = [f"altfreezing/{name}" for name in ("vector", "logit", "present", "where")]
    table = store.table(keys, protocol=PROTOCOL)
    assert table.ids.tolist() == ["none.mp4", "one.mp4", "two.mp4"]
    vector, logit, present, where = (table.arrays[key] for key in keys)
    assert present[..., 0].tolist() == [[0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert (vector[0] == 0).all()
    assert (logit[0] == 0).all()
    assert (where[0] == -1).all()
    assert vector[1:].std(-1).min() > 0
    assert where[1, :, :2].tolist() == [[0, 0], [0, 9], [0, 17]]
    assert set(where[2, :, 0].tolist()) == {0, 1}  # some windows of either face


def test_kept_windows_are_those_that_the_network_looks_at(store: Store) -> None:
    table = store.table(["faces/clips", "faces/where", "altfreezing/where"], protocol=PROTOCOL)
    clips = table.arrays["faces/clips"]
    assert clips.shape == (3, 3, 8, 32, 32, 3)
    assert (clips[0] == 0).all()
    assert clips[1].std() > 0
    np.testing.assert_array_equal(table.arrays["faces/where"], table.arrays["altfreezing/where"])


def test_the_vector_makes_the_logit(store: Store) -> None:
    """So that a linear layer on what is cached is the network's own."""
    table = store.table(["altfreezing/vector", "altfreezing/logit"], protocol=PROTOCOL)
    vector, logit = (torch.from_numpy(table.arrays[key]) for key in table.arrays)
    model = resnet3d.random(6, width=8, frames=8, image=64)
    torch.testing.assert_close(model.logits(vector[1:]), logit[1:, :, 0])


def identity(tmp_path: Path, name: str, weights: str, right: float) -> str:
    """The fingerprint with faces by a detector of these weights."""
    path = tmp_path / f"{name}.parquet"
    table = boxes_table({name: detections([face(0, right=right)])})
    path.write_bytes(file_bytes(table, DetectorIdentity(name="mtcnn", weights=weights)))
    request = BranchRequest.parse(f"altfreezing=tiny?boxes={path}")
    return load_branch(request).offer.fingerprint


def test_files_of_one_detector_are_as_good_as_each_other(tmp_path: Path) -> None:
    first = identity(tmp_path, "a.mp4", "abc", 0)
    assert identity(tmp_path, "b.mp4", "abc", 3) == first
    assert identity(tmp_path, "c.mp4", "abd", 0) != first
    unknown = identity(tmp_path, "a.mp4", "", 0)
    assert identity(tmp_path, "a.mp4", "", 0) == unknown
    assert identity(tmp_path, "a.mp4", "", 3) != unknown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("altfreezing=tiny", r"\?boxes=FILE.*telltale people"),
        ("altfreezing=R50?boxes={boxes}", "altfreezing=R50:PATH"),
        ("altfreezing=R18?boxes={boxes}", "have: R50, tiny"),
        ("altfreezing=tiny?boxes={boxes}&frames=7", "even number"),
        ("altfreezing=tiny?boxes={boxes}&warp=opencv3", "have: opencv4, opencv5"),
        ("altfreezing=tiny?boxes={boxes}&first=0", "give 1 to"),
        ("faces=rgb", r"\?boxes=FILE"),
        ("faces=tiny?boxes={boxes}", "have: rgb"),
        ("faces=rgb:x.pth?boxes={boxes}", "no weights"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(text: str, said: str, tmp_path: Path) -> None:
    boxes = written(tmp_path / "f.parquet", {})
    with pytest.raises((BadSetting, BadWeights), match=said):
        load_branch(BranchRequest.parse(text.replace("{boxes}", str(boxes))))


def test_views_whose_frames_are_apart_are_refused(tmp_path: Path) -> None:
    boxes = written(tmp_path / "f.parquet", {})
    prepare = load_branch(BranchRequest.parse(f"altfreezing=tiny?boxes={boxes}")).prepare
    assert prepare.suits(Protocol.parse("windows-4x8"))
    assert not prepare.suits(Protocol.parse("frames-8@8"))
    assert not prepare.suits(Protocol.parse("windows-4x9"))
    assert "windows-16x8" in prepare.wants


def test_faces_are_followed_in_the_first_frames_only_if_asked(tmp_path: Path) -> None:
    found = detections(face(n) for n in range(12))
    boxes = written(tmp_path / "f.parquet", {"v": found})
    frames = {n: np.full((90, 160, 3), n, np.uint8) for n in range(30)}
    views = Protocol.parse("windows-40x8:step1").views("v", 30)

    def shown(query: str) -> int:
        branch = load_branch(BranchRequest.parse(f"altfreezing=tiny?boxes={boxes}{query}"))
        rows = torch.from_numpy(branch.prepare.load()(frames, views))
        return int((rows[:, 0] > 0).sum())

    assert shown("") == 5  # a run of 12 frames
    assert shown("&first=10") == 3
