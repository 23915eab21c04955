"""YOLO-World, exported to ONNX with its texts in it: persons, then faces and hands inside of each.

`yolo-world:FOLDER` reads `persons.onnx` (texts "human", " ") and `parts.onnx` ("face", "hand",
" ") by onnxruntime (extra `people`). The exporter, YOLO-World itself and its weights are GPL-3.0;
nothing of them is here. An export without suppression gives `scores` (1, n, texts) and `boxes`
(1, n, 4) on the canvas; one with it gives `num_dets`, `boxes`, `scores`, `labels`, and must have
been exported with VBench-2.0's overlap .7, score .1 and 300 boxes. What follows is the released
post-processing. `official=true` keeps its quirk: what looks like nothing (" ") counts as a person.
Legend: n boxes, 4 corners, k texts, c colour, h w height and width.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting, BadWeights
from extract.people.detections import DetectorIdentity, Found, Kind
from extract.people.detector import Detector, DetectorRequest, Picture
from extract.people.letterbox import Letterbox
from extract.people.overlap import kept_after_suppression
from features_store.installing import how_to_install

FILES = ("persons.onnx", "parts.onnx")
LEAST, MOST_BEFORE, OVERLAP, MOST = 0.001, 30_000, 0.7, 300
_PARTS: tuple[Kind, ...] = ("face", "hand")
_PERSON = 0
_CHUNK = 2**20


class Session(Protocol):
    """What is used of an onnxruntime session."""

    def run(self, names: None, inputs: Mapping[str, NDArray[np.float32]]) -> list[Any]:
        """All outputs, in order."""

    def get_inputs(self) -> list[Any]:
        """Each has a `name`."""

    def get_outputs(self) -> list[Any]:
        """Each has a `name`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What a network sees on one picture, the likeliest first."""

    boxes_n4: NDArray[np.float32]
    scores_n: NDArray[np.float32]
    labels_n: NDArray[np.int64]


class YoloWorld(Detector):
    """Two networks: one on the frame, one on the patch of each person."""

    def __init__(
        self, persons: Session, parts: Session, *, weights: str, threshold: float, official: bool
    ) -> None:
        self._persons, self._parts = persons, parts
        self._threshold, self._official = threshold, official
        self.identity = DetectorIdentity(
            name="yolo-world", weights=weights,
            settings={"threshold": threshold, "official": official, "overlap": OVERLAP},
        )  # fmt: skip

    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        seen = look(self._persons, frame_hwc, self._threshold)
        found: list[Found] = []
        for person, row in enumerate(self._rows(seen)):
            box_4 = seen.boxes_n4[row]
            found.append(_found(number, "person", box_4, seen.scores_n[row], person))
            found += self._inside(frame_hwc, number, person, box_4)
        return found

    def _rows(self, seen: Seen) -> list[int]:
        """Those that are persons."""
        every = range(len(seen.labels_n))
        return [row for row in every if self._official or seen.labels_n[row] == _PERSON]

    def _inside(
        self, frame_hwc: Picture, number: int, person: int, box_4: NDArray[np.float32]
    ) -> Iterator[Found]:
        left, top, right, bottom = box_4.astype(np.int64)
        patch_hwc = frame_hwc[top:bottom, left:right]
        if not patch_hwc.size:
            return
        seen = look(self._parts, patch_hwc, self._threshold)
        corner = np.array([left, top, left, top], np.float32)
        for box, score, label in zip(seen.boxes_n4, seen.scores_n, seen.labels_n, strict=True):
            if label < len(_PARTS):
                yield _found(number, _PARTS[int(label)], box + corner, score, person)


def look(session: Session, picture_hwc: Picture, threshold: float) -> Seen:
    """One network on one picture, boxes in the picture's pixels."""
    height, width = picture_hwc.shape[:2]
    letterbox = Letterbox(width=width, height=height)
    canvas = letterbox.canvas(picture_hwc).transpose(2, 0, 1)[None] / np.float32(255)
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    answers = session.run(None, {str(given.name): canvas.astype(np.float32)})
    said = dict(zip(names, answers, strict=True))
    seen = _suppressed(said) if "num_dets" in said else suppress(said)
    kept = seen.scores_n > threshold
    return Seen(
        boxes_n4=letterbox.back(seen.boxes_n4[kept]), scores_n=seen.scores_n[kept],
        labels_n=seen.labels_n[kept],
    )  # fmt: skip


def suppress(said: Mapping[str, Any]) -> Seen:
    """The released rule: every text that scores enough is a box of its own, and boxes of one text
    silence each other."""
    if not {"scores", "boxes"} <= set(said):
        raise BadWeights(
            f"The exported network gives {', '.join(said)}; scores and boxes are needed, see "
            f"YOLO-World's deploy/export_onnx.py."
        )
    scores_nk = np.asarray(said["scores"], np.float32)[0]
    boxes_n4 = np.asarray(said["boxes"], np.float32)[0]
    if scores_nk.size and not (scores_nk.min() >= 0 and scores_nk.max() <= 1):
        raise BadWeights(
            f"The exported network's scores go from {scores_nk.min():g} to {scores_nk.max():g}; "
            f"export it with their sigmoid, so that they lie between 0 and 1."
        )
    rows, labels = np.nonzero(scores_nk > LEAST)
    scores = scores_nk[rows, labels]
    order = np.argsort(-scores, kind="stable")[:MOST_BEFORE]
    rows, labels, scores = rows[order], labels[order], scores[order]
    kept = [
        own[kept_after_suppression(boxes_n4[rows[own]], scores[own], OVERLAP)]
        for label in np.unique(labels)
        for own in [np.flatnonzero(labels == label)]
    ]
    chosen = np.concatenate([np.empty(0, np.intp), *kept])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:MOST]
    return Seen(
        boxes_n4=boxes_n4[rows[chosen]], scores_n=scores[chosen],
        labels_n=labels[chosen].astype(np.int64),
    )  # fmt: skip


def load(request: DetectorRequest) -> YoloWorld:
    request.check_settings("threshold", "official")
    folder = request.needs_path(f"a folder with {' and '.join(FILES)}")
    paths = [folder / name for name in FILES]
    for path in paths:
        if not path.is_file():
            raise BadWeights(
                f"{path} is not there; export YOLO-World twice, with the texts human and blank, "
                f"and with face, hand and blank."
            )
    persons, parts = (_session(path, request.device) for path in paths)
    return YoloWorld(
        persons, parts, weights=_hash(paths), threshold=request.number("threshold", 0.1, 0, 1),
        official=request.settings.get("official") == "true",
    )  # fmt: skip


def _session(path: Path, device: str) -> Session:
    if importlib.util.find_spec("onnxruntime") is None:
        raise BadSetting(f"Detector yolo-world needs onnxruntime: {how_to_install('people')}.")
    import onnxruntime

    wanted = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        wanted.insert(0, "CUDAExecutionProvider")
    try:
        session: Session = onnxruntime.InferenceSession(str(path), providers=wanted)
    except Exception as error:  # onnxruntime has errors of its own for everything
        raise BadWeights(f"{path} cannot be loaded by onnxruntime ({error}).") from error
    return session


def _suppressed(said: Mapping[str, Any]) -> Seen:
    """What an export with suppression gives."""
    count = int(np.asarray(said["num_dets"]).reshape(-1)[0])
    return Seen(
        boxes_n4=np.asarray(said["boxes"], np.float32)[0][:count],
        scores_n=np.asarray(said["scores"], np.float32)[0][:count],
        labels_n=np.asarray(said["labels"], np.int64)[0][:count],
    )


def _found(
    number: int, kind: Kind, box_4: NDArray[np.float32], score: np.float32, person: int
) -> Found:
    left, top, right, bottom = map(float, box_4)
    return Found(
        frame=number, kind=kind, box=(left, top, right, bottom), score=float(score), person=person
    )


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    return digest.hexdigest()
