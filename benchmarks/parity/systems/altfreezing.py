"""AltFreezing: the 3D ResNet, its groups of parameters, faces, windows and scores."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
from extract.errors import BadWeights
from extract.networks import resnet3d, weights
from extract.networks.mtcnn import Sliding
from extract.networks.resnet3d import ResNet3d
from extract.people import alignment, mtcnn, tracking, windows
from extract.people.detections import Found
from extract.people.mtcnn import Mtcnn, MtcnnSettings
from extract.people.tracking import Track
from extract.people.warping import RULES

_MATRIX = 1e-9
_MEAN = 1e-12
_PIXEL = 0.01
_LEVEL, _OFTEN = 1.0, 1e-4
"""By how much, and how often, values under OpenCV 5's rule may differ."""


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    del described
    known = {
        "align": _alignment,
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
