"""OWLv2 out of a local Hugging Face folder (extra `priors`): persons, faces, hands by their names.

`owlv2:FOLDER?threshold=0.1`. One look at the whole frame.
"""

import json
from typing import Any

import torch

from extract.networks import weights
from extract.people.detections import DetectorIdentity, Found
from extract.people.detector import Detector, DetectorRequest, Picture
from extract.people.named_boxes import OVERLAP, corners, named_boxes
from extract.people.named_folder import network_of, parts_of

TEXTS = ("a person", "a face", "a hand")
"""In the order of KINDS."""


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
        side = max(width, height)  # the frame lies in the corner of a square
        boxes_n4 = corners(said.pred_boxes[0].float().cpu().numpy(), side, side)
        return named_boxes(boxes_n4, scores_nk, self._threshold, (width, height), number)


def load(request: DetectorRequest) -> Owlv2:
    folder, network = network_of(request, "owlv2", "OWLv2", "Owlv2ForObjectDetection")
    from transformers import CLIPTokenizer, Owlv2ImageProcessorPil, Owlv2Processor

    loads = (Owlv2ImageProcessorPil.from_pretrained, CLIPTokenizer.from_pretrained)
    images, texts = parts_of(folder, "OWLv2", loads)
    processor = Owlv2Processor(image_processor=images, tokenizer=texts)
    return Owlv2(network, processor, request.number("threshold", 0.1, 0, 1), request.device)
