"""Small encoders with random numbers in folders as Hugging Face's published ones are."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

SIZE = 32
_SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": SIZE, "patch_size": 8,
}  # fmt: skip
_STATISTICS = {
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.25],
}  # fmt: skip
_SQUARE = {
    "do_resize": True, "size": {"height": SIZE, "width": SIZE}, "resample": 2, **_STATISTICS,
}  # fmt: skip
_SHORT = {
    "do_resize": True, "size": {"shortest_edge": SIZE + 5}, "resample": 3, "do_center_crop": True,
    "crop_size": {"height": SIZE, "width": SIZE}, **_STATISTICS,
}  # fmt: skip
PROCESSORS: dict[str, dict[str, Any]] = {
    "ViT": {"image_processor_type": "ViTImageProcessor", **_SQUARE},
    "CLIPVision": {"image_processor_type": "CLIPImageProcessor", **_SHORT},
    "SiglipVision": {"image_processor_type": "SiglipImageProcessor", **_SQUARE},
    "Dinov2": {"image_processor_type": "BitImageProcessor", **_SHORT},
    "DINOv3ViT": {"image_processor_type": "DINOv3ViTImageProcessorFast", **_SQUARE},
    "ResNet": {"image_processor_type": "ViTImageProcessor", **_SQUARE},
    "VideoMAE": {"image_processor_type": "VideoMAEImageProcessor", **_SHORT},
    "Timesformer": {"image_processor_type": "VideoMAEImageProcessor", **_SHORT},
    "VJEPA2": {"video_processor_type": "VJEPA2VideoProcessor", **_SHORT},
}
_OWN: dict[str, dict[str, Any]] = {
    "VideoMAE": {"num_frames": 8, "tubelet_size": 2, "use_mean_pooling": False},
    "Timesformer": {"num_frames": 8},
    "VJEPA2": {"frames_per_clip": 8, "tubelet_size": 2, "crop_size": SIZE, "pred_hidden_size": 16,
               "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1},
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
               "layer_type": "basic"},
}  # fmt: skip
IMAGES = ("ViT", "CLIPVision", "SiglipVision", "Dinov2", "DINOv3ViT", "ResNet")
VIDEOS = ("VideoMAE", "Timesformer", "VJEPA2")


@cache
def folder(kind: str) -> Path:
    """A folder with that model; made once."""
    import transformers

    from extract.networks.hugging_face import quiet

    place = Path(tempfile.mkdtemp(prefix=f"{kind.lower()}-"))
    settings = {**_SMALL, **_OWN.get(kind, {})}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(len(kind))
        config = getattr(transformers, f"{kind}Config")(**settings)
        network = getattr(transformers, f"{kind}Model")(config)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        network.save_pretrained(place)
    name = "video_preprocessor_config.json" if kind == "VJEPA2" else "preprocessor_config.json"
    (place / name).write_text(json.dumps(PROCESSORS[kind]))
    return place
