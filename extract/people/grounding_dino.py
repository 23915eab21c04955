"""Grounding DINO out of a local Hugging Face folder (extra `priors`): persons, faces, hands, named.

`grounding-dino:FOLDER?threshold=0.25`. The network is given one sentence, `person. face. hand.`,
and scores every box against each of its tokens; a box's score for a name is the largest of that
name's tokens. Full stops count for nothing, where transformers' own post-processing lets them.
"""

import json
from typing import Any

import numpy as np
import torch

from extract.errors import BadWeights
from extract.networks import weights
from extract.people.detections import KINDS, DetectorIdentity, Found
from extract.people.detector import Detector, DetectorRequest, Picture
from extract.people.named_boxes import OVERLAP, corners, named_boxes
from extract.people.named_folder import network_of, parts_of, wanted

TITLE = "Grounding DINO"
NAMES: tuple[str, ...] = KINDS
SENTENCE = "".join(f"{name}. " for name in NAMES).strip()


class GroundingDino(Detector):
    """See the module."""

    def __init__(
        self,
        network: Any,  # noqa: ANN401
        images: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        threshold: float,
        device: str,
    ) -> None:
        self._network, self._images = network.to(device), images
        self._threshold, self._device = threshold, device
        self._text = tokenizer(SENTENCE, return_tensors="pt", return_token_type_ids=True)
        self._spans = _spans(self._text["input_ids"][0].tolist(), tokenizer)
        self.identity = DetectorIdentity(
            name="grounding-dino", weights=weights.content_hash(network.state_dict()),
            settings={
                "sentence": SENTENCE, "threshold": threshold, "overlap": OVERLAP,
                "tokens": self._text["input_ids"][0].tolist(),
                "size": json.loads(json.dumps(dict(images.size), default=int)),
            },
        )  # fmt: skip

    @torch.inference_mode()
    def find(self, frame_hwc: Picture, number: int) -> list[Found]:
        height, width = frame_hwc.shape[:2]
        given = {**self._text, **self._images(images=[frame_hwc], return_tensors="pt")}
        said = self._network(**{name: value.to(self._device) for name, value in given.items()})
        scores_nt = said.logits[0].sigmoid().float().cpu().numpy()
        boxes_n4 = corners(said.pred_boxes[0].float().cpu().numpy(), width, height)
        scores_nk = np.stack([scores_nt[:, span].max(1) for span in self._spans], 1)
        return named_boxes(boxes_n4, scores_nk, self._threshold, (width, height), number)


def load(request: DetectorRequest) -> GroundingDino:
    name = "GroundingDinoForObjectDetection"
    folder, network = network_of(request, "grounding-dino", TITLE, name)
    from transformers import BertTokenizer, GroundingDinoImageProcessorPil

    loads = (GroundingDinoImageProcessorPil.from_pretrained, BertTokenizer.from_pretrained)
    images, tokenizer = parts_of(folder, TITLE, loads)
    threshold = request.number("threshold", 0.25, 0, 1)
    return GroundingDino(network, images, tokenizer, threshold, request.device)


def _spans(tokens: list[int], tokenizer: Any) -> list[list[int]]:  # noqa: ANN401
    """The places of each name's tokens in the sentence; they lie between full stops."""
    stop = tokenizer.convert_tokens_to_ids(".")
    outside = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    spans: list[list[int]] = [[]]
    for place, token in enumerate(tokens):
        if token == stop:
            spans.append([])
        elif token not in outside:
            spans[-1].append(place)
    found = [span for span in spans if span]
    if len(found) != len(NAMES):
        raise BadWeights(
            f"The tokenizer makes {len(found)} names of {SENTENCE!r}, not {len(NAMES)}; "
            f"{wanted(TITLE)}."
        )
    return found
