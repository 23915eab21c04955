"""The contract of whatever finds persons, faces and hands, and how one is asked for by name.

Asking is `NAME[:PATH][?setting=value&…]`: `yolo-world:FOLDER`, `owlv2:FOLDER`,
`grounding-dino:FOLDER`, `mtcnn`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.errors import BadSetting
from extract.people.detections import DetectorIdentity, Found

Picture = NDArray[np.uint8]


class Detector(ABC):
    """Finds people in single frames."""

    identity: DetectorIdentity
    """Name, weights and settings: all that decides its boxes."""

    @abstractmethod
    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        """Of a frame (h, w, RGB), which is that number of its video; boxes in its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRequest:
    """What was asked for."""

    name: str
    path: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"

    @staticmethod
    def parse(text: str, device: str = "cpu") -> "DetectorRequest":
        place, _, query = text.partition("?")
        name, colon, path = place.partition(":")
        settings: dict[str, str] = {}
        for part in query.split("&") if query else []:
            key, equals, value = part.partition("=")
            if not equals or not key or key in settings:
                raise BadSetting(f"Detector {text!r}: after '?' give setting=value, joined by '&'.")
            settings[key] = value
        if not name or (colon and not path):
            raise BadSetting(f"Detector {text!r}: give NAME or NAME:PATH, as yolo-world:FOLDER.")
        where = Path(path).expanduser() if path else None
        return DetectorRequest(name=name, path=where, settings=settings, device=device)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A setting that is a number between these."""
        try:
            found = float(self.settings.get(name, default))
        except ValueError:
            found = float("nan")
        if not low <= found <= high:
            raise BadSetting(
                f"Detector {self.name}: {name}={self.settings[name]}: give {low:g} to {high:g}."
            )
        return found

    def check_settings(self, *known: str) -> None:
        for name in self.settings:
            if name not in known:
                have = ", ".join(known) or "none"
                raise BadSetting(f"Detector {self.name} has no setting {name!r}; have: {have}.")

    def needs_path(self, what: str) -> Path:
        if self.path is None:
            raise BadSetting(f"Detector {self.name} needs {what}: {self.name}:PATH.")
        return self.path


def load_detector(request: DetectorRequest) -> Detector:
    """By its name; its libraries are imported when it is."""
    if request.name not in _LOADERS:
        raise BadSetting(
            f"Detector {request.name!r} unknown; have: {', '.join(DETECTORS)}, made-up."
        )
    return _LOADERS[request.name](request)


def _yolo_world(request: DetectorRequest) -> Detector:
    from extract.people.yolo_world import load

    return load(request)


def _owlv2(request: DetectorRequest) -> Detector:
    from extract.people.owlv2 import load

    return load(request)


def _grounding_dino(request: DetectorRequest) -> Detector:
    from extract.people.grounding_dino import load

    return load(request)


def _mtcnn(request: DetectorRequest) -> Detector:
    from extract.people.face_detector import load

    return load(request)


_LOADERS: Mapping[str, Callable[[DetectorRequest], Detector]] = {
    "yolo-world": _yolo_world, "owlv2": _owlv2, "grounding-dino": _grounding_dino,
    "mtcnn": _mtcnn,
}  # fmt: skip
DETECTORS = tuple(_LOADERS)
