"""OWLv2 out of a local Hugging Face folder (extra `priors`): persons, faces, hands by their names.

`owlv2:FOLDER?threshold=0.1`. One look at the whole frame; boxes of one name that overlap silence
each other, which the network does not do by itself.
"""

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from extract.errors import BadWeights
from extract.networks import weights
from extract.networks.hugging_face import folder_config, loaded, quiet
from extract.people.detections import KINDS, DetectorIdentity, Found
from extract.people.detector import Detector, DetectorRequest, Picture
from extract.people.overlap import kept_after_suppression

OVERLAP = 0.7
TEXTS = ("a person", "a face", "a hand")
"""In the order of KINDS."""
_WANTED = "give a folder of OWLv2 as Hugging Face has it, with its tokenizer and preprocessor"


class Owlv2(Detector):
    """See the module."""

    def __init__(self, network: Any, processor: Any, threshold: float, device: str) -> None:  # noqa: ANN401
        self._network = network.to(device)
        self._processor, self._threshold, self._device = processor, threshold, device
        size = processor.image_processor.size
        self.identity = DetectorIdentity(
            name="owlv2", weights=weights.content_hash(network.state_dict()),
            settings={
                "texts": list(TEXTS), "threshold": threshold, "overlap": OVERLAP,
                "size": json.loads(json.dumps(dict(size), default=int)),
            },
        )  # fmt: skip

    @torch.inference_mode()
    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        height, width = frame_hwc.shape[:2]
        given = self._processor(text=[list(TEXTS)], images=[frame_hwc], return_tensors="pt")
        said = self._network(**given.to(self._device))
        scores_nk = said.logits[0].sigmoid().float().cpu().numpy()
        boxes_n4 = _corners(said.pred_boxes[0].float().cpu().numpy(), max(width, height))
        limits = np.array([width, height, width, height], np.float32)
        boxes_n4 = np.clip(boxes_n4, np.float32(0), limits)
        found = []
        labels_n = scores_nk.argmax(1)
        for label, kind in enumerate(KINDS):
            own = np.flatnonzero((labels_n == label) & (scores_nk[:, label] > self._threshold))
            scores = scores_nk[own, label]
            for row in own[kept_after_suppression(boxes_n4[own], scores, OVERLAP)]:
                left, top, right, bottom = map(float, boxes_n4[row])
                found.append(
                    Found(
                        frame=number, kind=kind, box=(left, top, right, bottom),
                        score=float(scores_nk[row, label]),
                    )
                )  # fmt: skip
        return found


def load(request: DetectorRequest) -> Owlv2:
    request.check_settings("threshold")
    folder = request.needs_path("a folder of OWLv2")
    kind = folder_config(folder, _WANTED).get("model_type")
    if kind != "owlv2":
        raise BadWeights(f"{folder} is a folder of {kind!r}, not of OWLv2; {_WANTED}.")
    network, _ = loaded(folder, "Owlv2ForObjectDetection", "OWLv2")
    from transformers import CLIPTokenizer, Owlv2ImageProcessorPil, Owlv2Processor

    try:
        with quiet():
            images = Owlv2ImageProcessorPil.from_pretrained(folder, local_files_only=True)
            texts = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadWeights(f"{folder} lacks OWLv2's tokenizer or preprocessor ({error}).") from error
    processor = Owlv2Processor(image_processor=images, tokenizer=texts)
    return Owlv2(network, processor, request.number("threshold", 0.1, 0, 1), request.device)


def _corners(boxes_n4: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Centres and sizes of a padded square → corners in the frame's pixels."""
    centre, size = boxes_n4[:, :2], boxes_n4[:, 2:]
    corners = np.concatenate([centre - size / 2, centre + size / 2], 1) * np.float32(side)
    return np.asarray(corners, np.float32)
