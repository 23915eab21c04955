"""MTCNN among the detectors: faces with their five points, and nothing else."""

from extract.people import mtcnn
from extract.people.detections import Found
from extract.people.detector import Detector, DetectorRequest, Picture
from extract.people.mtcnn import Mtcnn, MtcnnSettings


class FaceDetector(Detector):
    """Faces belong to nobody until persons are known."""

    def __init__(self, cascade: Mtcnn) -> None:
        self._cascade = cascade
        self.identity = cascade.identity

    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        return self._cascade.faces(frame_hwc, number)


def load(request: DetectorRequest) -> FaceDetector:
    request.check_settings("smallest")
    settings = MtcnnSettings(smallest=int(request.number("smallest", 40, 12, 2000)))
    return FaceDetector(mtcnn.read(request.path, settings))
