"""AltFreezing: the 3D ResNet, its groups of parameters, faces, windows and scores."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.parity.rows import (
    EXACT,
    Kind,
    Row,
    Tensors,
    compare,
    declared,
    exact,
    tensors,
    weights_of,
)
from extract.branch import Branch, BranchRequest, load_branch
from extract.errors import BadWeights
from extract.networks import resnet3d, weights
from extract.networks.mtcnn import Sliding
from extract.networks.resnet3d import ResNet3d
from extract.people import alignment, mtcnn, tracking, windows
from extract.people.boxes_file import file_bytes
from extract.people.boxes_table import boxes_table
from extract.people.detections import Detections, DetectorIdentity, Found, detections
from extract.people.mtcnn import Mtcnn, MtcnnSettings
from extract.people.tracking import Track
from extract.people.warping import RULES
from extract.views.protocol import Protocol

_MATRIX = 1e-9
_MEAN = 1e-12
_PIXEL = 0.01
_SCORE = 1e-4
_LEVEL, _OFTEN = 1.0, 1e-4
"""By how much, and how often, values under OpenCV 5's rule may differ."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    known = {
        "align": _alignment,
        "demo": _demo,
        "grouping": _groups,
        "i3d_tiny": _network,
        "mtcnn": _detector,
        "tracking": _tracking,
        "windows": _windows,
    }
    return known.get(path.stem) if path.parent.name == "altfreezing" else None


@torch.no_grad()
def _network(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = tensors(path)
    model = resnet3d.from_state(weights_of(path), **described["config"])
    stages = model.stages(golden["x"])
    logit = model(golden["x"])
    found = {
        "eval.s4": stages["s4"],
        "eval.s5": stages["s5"],
        "eval.pooled": model.vectors(golden["x"])[:, 0],
        "eval.logit": logit,
        "eval.prob": logit.sigmoid(),
        "eval_long.logit": model(golden["x_long"]),
    }
    yield from declared(path, described, found, golden)


def _groups(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    with weights.unfilled():
        model = ResNet3d()
    ours = [[name, list(tensor.shape)] for name, tensor in model.state_dict().items()]
    theirs = described["state_dict_keys_in_order"]
    differ = abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs, strict=False))
    yield exact(path.name, "names and shapes in order that differ", differ, 0)
    kinds = [model.kind_of(name) for name, *_ in described["rows"]]
    wrong = sum(kind != row[2] for kind, row in zip(kinds, described["rows"], strict=True))
    yield exact(path.name, "groups that differ", wrong, 0)


def _alignment(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    cases = described["crop_box_cases [ [h,w], box, crop box ]"]
    corners = [alignment.crop_corners(box, height, width) for (height, width), box, _ in cases]
    yield exact(path.name, "crop boxes", corners, [theirs for *_, theirs in cases])
    with np.load(path.with_suffix(".npz")) as golden:
        for name in sorted({key.partition(".")[0] for key in golden.files}):
            case = {
                key.partition(".")[2]: golden[key]
                for key in golden.files
                if key.startswith(f"{name}.")
            }
            yield from _aligned(path, name, case)


def _aligned(path: Path, name: str, case: dict[str, NDArray[Any]]) -> Iterator[Row]:
    faces = zip(case["frames"], case["boxes"], case["landmarks5"], strict=True)
    crops = [alignment.cropped(*face) for face in faces]
    side, targets = case["aligned"].shape[1], case.get("target_landmarks5")
    matrix = torch.from_numpy(alignment.window_similarity(crops, side, targets))
    yield compare(path.name, f"{name}.matrix", matrix, torch.from_numpy(case["matrix"]), _MATRIX)
    for rule in RULES:
        key = "aligned" if rule == "opencv4" else "aligned_opencv5"
        ours = torch.from_numpy(alignment.aligned(crops, side, rule, targets))
        theirs = torch.from_numpy(case[key])
        tolerance = EXACT if rule == "opencv4" else _LEVEL
        yield compare(path.name, f"{name}.{key}", ours, theirs, tolerance)
        often = (ours != theirs).double().mean()
        yield compare(path.name, f"{name}.{key} differ", often, often * 0, tolerance * _OFTEN)


def _tracking(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for name, case in described["cases"].items():
        faces = [
            [
                Found(frame=frame, kind="face", box=tuple(box), score=score, person=place)
                for place, (box, score) in enumerate(found)
                if score >= tracking.LEAST_SCORE
            ]
            for frame, found in enumerate(case["frames"])
        ]
        used = tracking.tracked(faces)
        ours = [
            _numbers(tracking.whole_tracks(faces)),
            _numbers(used),
            [[track.start, track.stop] for track in used],
        ]
        theirs = [case["multiple_tracking"], case["used"]["tracks"], case["used"]["tuples"]]
        differ = sum(a != b for a, b in zip(ours, theirs, strict=True))
        yield exact(path.name, f"{name}: lists of tracks that differ", differ, 0)


def _numbers(tracks: list[Track]) -> list[list[int]]:
    return [[face.frame * 100 + face.person for face in track.faces] for track in tracks]


def _windows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for case in described["cases"]:
        lengths, size = case["super_clip_lengths"], case["clip_size"]
        face = Found(frame=0, kind="face", box=(0, 0, 1, 1))
        tracks = [Track(start=0, faces=(face,) * length) for length in lengths]
        ours = [
            [[window.track, place] for place in window.places]
            for window in windows.windows(tracks, size)
        ]
        same = hashlib.sha256(json.dumps(ours).encode()).hexdigest() == case["sha256"]
        yield exact(path.name, f"{lengths} by {size}: windows that differ", int(not same), 0)
        mean = torch.tensor(windows.video_score(case["window_scores"]), dtype=torch.float64)
        theirs = torch.tensor(case["video_score"], dtype=torch.float64)
        yield compare(path.name, f"{lengths} by {size}: mean", mean, theirs, _MEAN)


@torch.no_grad()
def _detector(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """The first network from the weights beside the file; all three, and faces, where the package
    with the others is installed."""
    golden = tensors(path)
    first = Sliding()
    weights.fill(first, weights_of(path), model="MTCNN's first network")
    networks: dict[str, Any] = {"pnet": first}
    whole = _installed()
    if whole is not None:
        networks |= {"rnet": whole.second, "onet": whole.third}
    found = {
        f"{name}.out{place}": answer
        for name, network in networks.items()
        for place, answer in enumerate(network(golden[f"{name}.x"]))
    }
    yield from declared(path, described, found, golden)
    for frame in (0, 1, 2, 3):
        if whole is not None and f"frame{frame}" in golden:
            yield from _faces(path, whole, golden, frame)


def _installed() -> Mtcnn | None:
    try:
        return mtcnn.read()
    except BadWeights:
        return None


def _faces(path: Path, cascade: Mtcnn, golden: Tensors, frame: int) -> Iterator[Row]:
    for smallest in (40, 20):
        cascade.settings = MtcnnSettings(smallest=smallest)
        name = f"frame{frame}.min{smallest}"
        faces = cascade.faces(golden[f"frame{frame}"].numpy())
        boxes = torch.tensor([face.box for face in faces]).reshape(-1, 4)
        order = (boxes[:, 2:] - boxes[:, :2]).prod(1).argsort(descending=True)
        points = torch.tensor([face.points for face in faces]).reshape(-1, 5, 2)
        if not len(golden[f"{name}.boxes"]):
            yield exact(path.name, f"{name}: faces", len(faces), 0)
            continue
        yield compare(path.name, f"{name}.boxes", boxes[order], golden[f"{name}.boxes"], _PIXEL)
        yield compare(path.name, f"{name}.points", points[order], golden[f"{name}.points"], _PIXEL)


def _demo(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """From frames and detections to scores, through the branch as it is."""
    state = path.with_name("i3d_tiny_weights.safetensors")
    with np.load(path.with_suffix(".npz")) as golden, tempfile.TemporaryDirectory() as folder:
        frames = dict(enumerate(golden["frames"]))
        boxes = Path(folder) / "faces.parquet"
        cases = described["cases"]
        found = {name: _found(case) for name, case in cases.items()}
        boxes.write_bytes(file_bytes(boxes_table(found), DetectorIdentity(name="golden")))
        for rule, suffix in (("opencv4", ""), ("opencv5", "_opencv5")):
            asked = f"altfreezing=tiny:{state}?boxes={boxes}&warp={rule}"
            branch = load_branch(BranchRequest.parse(asked))
            for name, case in cases.items():
                scores = torch.from_numpy(golden[f"{name}.window_scores{suffix}"])
                label = f"{name} under {rule}"
                yield from _scored(label, branch, name, frames, (scores, case))


def _scored(
    label: str, branch: Branch, name: str, frames: dict[int, NDArray[np.uint8]],
    golden: tuple[Tensor, dict[str, Any]],
) -> Iterator[Row]:  # fmt: skip
    theirs, case = golden
    views = Protocol.parse("windows-40x8:step1").views(name, len(frames))
    rows = torch.from_numpy(branch.prepare.load()(frames, views))
    found = branch.forward(rows)
    there = found["present"][:, 0] > 0
    scores = found["logit"][there, 0].sigmoid()
    yield compare("demo.json", f"{label}: windows", scores, theirs, _SCORE)
    plain = scores.double().tolist()
    suffix = "_opencv5" if label.endswith("5") else ""
    mean = torch.tensor(windows.video_score(plain), dtype=torch.float64)
    video = torch.tensor(case[f"video_score{suffix}"], dtype=torch.float64)
    yield compare("demo.json", f"{label}: video", mean, video, _SCORE)
    if suffix:
        return
    shown = [
        windows.shown_frames(start, first, stop, 8)
        for _, start, first, stop in found["where"][there].tolist()
    ]
    ours = torch.tensor(windows.frame_scores(plain, shown, len(frames)), dtype=torch.float64)
    wanted = torch.tensor([nan if x is None else x for x in case["frame_scores"]])
    yield exact("demo.json", f"{label}: frames without", ours.isnan().int(), wanted.isnan().int())
    yield compare("demo.json", f"{label}: frames", ours.nan_to_num(), wanted.nan_to_num(), _SCORE)


def _found(case: dict[str, Any]) -> Detections:
    every = case["detections [box, five points, score] per frame"]
    return detections(
        Found(
            frame=frame, kind="face", box=tuple(box), score=score,
            points=tuple((x, y) for x, y in points),
        )
        for frame, faces in enumerate(every)
        for box, points, score in faces
    )  # fmt: skip
