"""Tiny random networks in the official formats."""

from pathlib import Path

import torch


def tiny_depth_pro(folder: Path) -> Path:
    """A Depth Pro of 64-pixel patches as Hugging Face's `save_pretrained` leaves it."""
    from transformers import DepthProConfig, DepthProForDepthEstimation

    vit = {
        "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "patch_size": 16, "image_size": 64, "mlp_ratio": 2,
    }  # fmt: skip
    config = DepthProConfig(
        patch_size=64, image_model_config=vit, patch_model_config=vit, fov_model_config=vit,
        use_fov_model=True, scaled_images_feature_dims=[16, 16, 8], fusion_hidden_size=8,
        intermediate_feature_dims=[8, 8], intermediate_hook_ids=[1, 0], merge_padding_value=1,
    )  # fmt: skip
    torch.manual_seed(4)
    network = DepthProForDepthEstimation(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("head.") and parameter.ndim == 1:
                parameter.fill_(0.5)  # depth that is not at its limit
            elif parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    network.save_pretrained(folder)
    return folder
