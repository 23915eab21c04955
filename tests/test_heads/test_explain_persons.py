"""A video explained by its persons: the worst part, its frame, its box."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from extract.branch import BranchRequest, load_branch
from extract.branches.anatomy import AnatomyBranch
from extract.decoding.picture import open_any
from extract.manifest.manifest import ManifestOptions, read_manifest
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Canvas, DetectorIdentity, Found, detections
from extract.running.pipeline import Settings
from extract.views.protocol import Protocol
from features_store.table import Table
from heads.bundle import Bundle
from heads.errors import BadSetting
from heads.figures.why import Caption
from heads.head import make_head
from heads.parts.about import About
from heads.scoring import explain_persons
from heads.scoring.about import about as papers
from heads.scoring.about import plan
from heads.scoring.archive import VideoRun, score_videos
from heads.scoring.explain import explain
from heads.scoring.explain_persons import drawn_persons, said, seen_persons
from heads.scoring.findings import findings
from heads.scoring.formats import SUFFIXES, plain_rows, read_blocks, write_blocks
from heads.scoring.meaning import Meaning, rows_of
from heads.scoring.output import Output
from heads.scoring.rows import WORST_PART
from heads.scoring.scorer import Scorer
from heads.scoring.screen import screen
from heads.zoo.anatomy import Anatomy
from tests.test_extract.clips import write_clip
from tests.test_heads.frame_tables import frame_table

CLASSES = ("forgery", "real")
GOLDEN = Path(__file__).parents[1] / "golden" / "human-anomaly"


def own_head(**settings: str) -> Anatomy:
    head = make_head("anatomy", {"readout": "own", **settings}, CLASSES)
    assert isinstance(head, Anatomy)
    return head


def table_of(logits: np.ndarray, person: np.ndarray) -> Table:
    found = frame_table(2, classes=CLASSES, views=1).take(np.array([0]))
    arrays = {"anatomy/logits": logits[None], "anatomy/person": person[None]}
    return replace(found, arrays=arrays)


def test_the_worst_part_comes_first_with_its_frame_and_box() -> None:
    logits = np.zeros((1, 3, 2, 3, 2), np.float32)
    person = np.full((1, 3, 2, 3), -1, np.int32)
    boxes = np.zeros((1, 3, 2, 3, 5), np.float32)
    for place, score, owner in (
        ((0, 1, 0, 2), 0.9, 5),
        ((0, 2, 1, 0), 0.5, 7),
        ((0, 0, 0, 1), 0.1, 5),
    ):
        logits[place] = np.log([score, 1 - score])
        person[place], boxes[place] = owner, [*range(4), 1]
    found = findings(own_head(), table_of(logits, person), boxes, [(10, 20, 30)], 10.0)
    assert [(one.frame, one.part, one.person) for one in found] == [
        (20, "hand", 5), (30, "person", 7), (10, "face", 5),
    ]  # fmt: skip
    assert [one.is_wrong for one in found] == [True, True, False]
    assert found[0].box == (0.0, 1.0, 2.0, 3.0)
    assert found[0].said == "frame 20 (2.00 s), person 5: hand 0.900, above 0.323"


def persons(folder: Path) -> AnatomyBranch:
    """Two videos, `a.mp4` with a person and `empty.mp4` without, and networks that see them."""
    write_clip(folder / "a.mp4", frames=6, times=[40 * n for n in range(6)])
    write_clip(folder / "empty.mp4", frames=6, times=[40 * n for n in range(6)])
    seen = [Found(frame=n, kind="person", box=(2.0, 2.0, 30.0, 40.0)) for n in range(6)]
    with open_any(str(folder / "a.mp4")) as opened:
        size = (opened.info.width, opened.info.height)
    looked = Canvas(frames=tuple(range(6)), width=size[0], height=size[1])
    videos = {"a.mp4": detections(seen), "empty.mp4": detections([], looked)}
    file = folder / "b.parquet"
    file.write_bytes(file_bytes(boxes_table(videos), DetectorIdentity(name="test")))
    weights = folder / "weights"
    weights.mkdir()
    state = load_file(GOLDEN / "chain_weights.safetensors")
    for part in ("human", "face", "hand"):
        own = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(part)}
        save_file(own, weights / f"{part}.safetensors")
    request = BranchRequest.parse(f"anatomy=tiny:{weights}?frames=4&boxes={file}")
    branch = load_branch(request)
    assert isinstance(branch, AnatomyBranch)
    return branch


@pytest.mark.parametrize("segment", ["", "#t=0.4,2.5"])
def test_a_video_becomes_a_picture_with_a_line_for_every_finding(
    tmp_path: Path, segment: str
) -> None:
    branch = persons(tmp_path)
    settings = Settings(protocol="frames-4@all")
    first, start = (1, 0.4) if segment else (0, 0.0)
    write_clip(tmp_path / "a.mp4", frames=6 + first, times=[40 * n for n in range(6 + first)])
    for name in ("a.mp4", "empty.mp4"):
        manifest = read_manifest(tmp_path / name, ManifestOptions(scheme="hfv2"))
        video = replace(manifest.videos[0], id=f"{name}{segment}")
        manifest = replace(manifest, videos=(video,))
        with open_any(str(tmp_path / name)) as opened:
            info = replace(opened.info, frames=6)
        looks = Protocol.parse("frames-4@all").views(name, 6)
        rows = branch.prepare.load()(frames_of(tmp_path / name), looks)
        numbers = branch.numpy(branch.forward(torch.from_numpy(rows)))
        table = table_of(numbers["logits"], numbers["person"])
        boxes = numbers["boxes"]
        if name == "empty.mp4":
            with pytest.raises(BadSetting, match="nobody in it"):
                seen_persons(own_head(), table, boxes, video, settings, info)
            return
        found = seen_persons(own_head(), table, boxes, video, settings, info)
        assert all(one.seconds == pytest.approx(start + one.frame / info.fps) for one in found)
        pictures = explain_persons.frames_of(found, manifest, settings)
        shown = frames_of(tmp_path / name)
        assert sorted(pictures.images) == sorted(one.frame for one in found)
        for number, image_hwc in pictures.images.items():
            np.testing.assert_array_equal(image_hwc, shown[first + number])
        figure = drawn_persons(found, pictures, Caption(title=name, lines=["made up"]))
        lines = said(found)
        assert len(figure.axes) == 6  # words, four frames and the time line
        assert sum(len(axes.patches) for axes in figure.axes) == 4  # a box on each
        assert "of 4 parts are above their limit" in lines[1]
        assert len(lines) == 6


def test_a_row_says_which_part_looks_worst_and_where(tmp_path: Path) -> None:
    branch = persons(tmp_path)
    protocol = "frames-4@all"
    prints = {f"anatomy/{name}": one for name, one in branch.offer.fingerprints.items()}
    head = own_head()
    shape = (2, 1, 4, 4, 3)
    arrays = {head.keys[0]: np.zeros((*shape, 2), np.float32), head.keys[1]: np.zeros(shape, int)}
    train = replace(frame_table(2, classes=CLASSES, views=1), arrays=arrays)
    head.fit(train, train.take(np.zeros(0, int)))
    about = About(
        head="anatomy", config={"readout": "own"}, scheme="hfv2", classes=CLASSES,
        protocol=protocol, fingerprints={key: prints[key] for key in head.keys}, branches={},
    )  # fmt: skip
    manifest = read_manifest(tmp_path, ManifestOptions(scheme="hfv2"))
    videos = VideoRun(
        manifest=manifest, branches=lambda: [branch], settings=Settings(protocol=protocol),
        run=lambda extraction: not extraction.run(workers=1, bar=False).stopped,
    )  # fmt: skip
    scorer = Scorer(bundle=Bundle(head, about))
    out = tmp_path / "s.csv"
    made_from = plan(scorer, protocol, str(tmp_path), None)
    score_videos(scorer, videos, Output(out, made_from, about=papers(scorer, made_from)))
    one, nobody = rows_of(out, ["a.mp4", "empty.mp4"])
    assert nobody["confidence"] is None  # so nobody asks why
    alone = replace(manifest, videos=tuple(v for v in manifest.videos if v.id == "a.mp4"))
    words = Caption(title="a", lines=["made up"])
    explained = explain(scorer.bundle, [branch], alone, Settings(protocol=protocol), words)
    assert explained.picture.startswith(b"\x89PNG")
    looks = Protocol.parse(protocol).views("a.mp4", 6)
    crops = branch.prepare.load()(frames_of(tmp_path / "a.mp4"), looks)
    numbers = branch.numpy(branch.forward(torch.from_numpy(crops)))
    (worst, *_) = findings(
        head, table_of(numbers["logits"], numbers["person"]), numbers["boxes"],
        [view.frames for view in looks], 10.0,
    )  # fmt: skip
    assert (one["worst_frame"], one["worst_part"], one["worst_person"]) == (
        worst.frame, worst.part, worst.person,
    )  # fmt: skip
    assert one["worst_box"] == "2.0 2.0 30.0 40.0"
    assert one["worst_score"] == pytest.approx(worst.score, rel=1e-5)
    assert [nobody[name] for name in WORST_PART.names] == [None] * 5
    for suffix in SUFFIXES:
        write_blocks(tmp_path / f"t{suffix}", read_blocks(out), {})
        again = [row for block in read_blocks(tmp_path / f"t{suffix}") for row in plain_rows(block)]
        assert again == [one, nobody]
    said_of = "\n".join(screen(one, Meaning.read(out)))
    assert f"person of person {worst.person} in frame {worst.frame}, {worst.score:.3f}" in said_of


def frames_of(path: Path) -> dict[int, np.ndarray]:
    with open_any(str(path)) as opened:
        return dict(enumerate(opened.every_frame()))
