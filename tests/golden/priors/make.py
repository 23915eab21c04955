"""Makes the files beside it: tiny DINOv2 and CLIP checkpoints and what transformers says of them.

    python3.11 -m venv hf && hf/bin/pip install torch==2.13.0 transformers==5.23.0
    hf/bin/python tests/golden/priors/make.py

Weights are random and not trivial: every bias, norm, layer scale and token is drawn, so that one
that is dropped or misplaced shows. Files:

- `dinov2_hf.safetensors`, `dinov2.pth`: the same weights as `Dinov2Model` saves them and under the
  official names, with positions for 280 pixels;
- `dinov2_reg_hf.safetensors`: `Dinov2WithRegistersModel`, likewise for 280 pixels;
- `clip_hf.safetensors`, `clip.pt`: `CLIPVisionModelWithProjection`'s file, and the same in half
  precision as a TorchScript archive with OpenAI's names and parts of a caption tower;
- `expected.safetensors`: `frames` (each pixel stands for 4 x 4), `position` (DINOv2's, as the
  official hub resizes it to 224 pixels), `dinov2`, `dinov2_reg` (tokens), `clip` (vectors), and
  `subject`, `background`: VBench's consistency of frames 1 and 2.

OpenAI's arithmetic is written out here once more with torch's own attention; both must agree.
"""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

HERE = Path(__file__).parent
Model = TypeVar("Model", bound=nn.Module)
WIDTH, DEPTH, HEADS, OUT = 16, 2, 2, 8
VIT = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class Block(nn.Module):
    """A block of OpenAI's transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS)
        self.ln_1 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(WIDTH, 4 * WIDTH))
        self.mlp.add_module("c_proj", nn.Linear(4 * WIDTH, WIDTH))
        self.ln_2 = nn.LayerNorm(WIDTH)

    def forward(self, x_nbd: Tensor) -> Tensor:
        normed = self.ln_1(x_nbd)
        x_nbd = x_nbd + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp[0](self.ln_2(x_nbd))
        result: Tensor = x_nbd + self.mlp[1](hidden * torch.sigmoid(1.702 * hidden))
        return result


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*[Block() for _ in range(DEPTH)])

    def forward(self, x_nbd: Tensor) -> Tensor:
        result: Tensor = self.resblocks(x_nbd)
        return result


class Visual(nn.Module):
    """OpenAI's image tower."""

    def __init__(self) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(WIDTH))
        self.positional_embedding = nn.Parameter(torch.zeros(197, WIDTH))
        self.proj = nn.Parameter(torch.zeros(WIDTH, OUT))
        self.conv1 = nn.Conv2d(3, WIDTH, 16, stride=16, bias=False)
        self.ln_pre = nn.LayerNorm(WIDTH)
        self.transformer = Blocks()
        self.ln_post = nn.LayerNorm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        patches_bnd = self.conv1(images).flatten(2).transpose(1, 2)
        cls_b1d = self.class_embedding.expand(len(images), 1, WIDTH)
        x_bnd = self.ln_pre(torch.cat([cls_b1d, patches_bnd], 1) + self.positional_embedding)
        x_nbd = self.transformer(x_bnd.transpose(0, 1))
        cls_bd: Tensor = self.ln_post(x_nbd[0])
        return cls_bd @ self.proj


class Clip(nn.Module):
    """Both towers as far as the file's names go; the caption tower is never run."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Visual()
        self.transformer = Blocks()
        self.token_embedding = nn.Embedding(9, WIDTH)
        self.positional_embedding = nn.Parameter(torch.zeros(7, WIDTH))
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.visual(images)
        return result


@torch.no_grad()
def main() -> None:
    frames_thwc = np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3), np.uint8)
    frames_thwc[1] = (0.7 * frames_thwc[0] + 0.3 * frames_thwc[1]).astype(np.uint8)
    frames = torch.from_numpy(frames_thwc)
    position, dinov2 = make_dinov2(images(frames, *IMAGENET))
    clip = make_clip(images(frames, *OPENAI))
    expected = {
        "frames": frames,
        "position": position,
        "dinov2": dinov2,
        "dinov2_reg": make_registers(images(frames, *IMAGENET)),
        "clip": clip,
        "subject": consistency(dinov2[:, 0]),
        "background": consistency(clip),
    }
    save_file({k: v.contiguous() for k, v in expected.items()}, HERE / "expected.safetensors")


def make_dinov2(images_bchw: Tensor) -> tuple[Tensor, Tensor]:
    """Positions at 224 pixels, and tokens."""
    config = transformers.Dinov2Config(**VIT, image_size=280, patch_size=14)
    model = drawn(transformers.Dinov2Model(config), 1)
    save(model, "dinov2_hf.safetensors")
    torch.save(official_dinov2(model.state_dict()), HERE / "dinov2.pth")
    old = model.embeddings.position_embeddings.data
    grid = old[:, 1:].reshape(1, 20, 20, WIDTH).permute(0, 3, 1, 2)
    scale = (16 + 0.1) / 20  # what the official code does; transformers would leave the 0.1 out
    grid = nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    position = torch.cat([old[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 256, WIDTH)], 1)
    model.embeddings.position_embeddings.data = position
    return position, model(images_bchw).last_hidden_state


def make_registers(images_bchw: Tensor) -> Tensor:
    config = transformers.Dinov2WithRegistersConfig(
        **VIT, image_size=280, patch_size=14, num_register_tokens=4
    )
    model = drawn(transformers.Dinov2WithRegistersModel(config), 2)
    save(model, "dinov2_reg_hf.safetensors")
    tokens: Tensor = model(images_bchw).last_hidden_state
    return tokens


def make_clip(images_bchw: Tensor) -> Tensor:
    config = transformers.CLIPVisionConfig(
        **VIT, intermediate_size=4 * WIDTH, projection_dim=OUT, image_size=224, patch_size=16
    )
    theirs = drawn(transformers.CLIPVisionModelWithProjection(config), 3)
    for parameter in theirs.parameters():
        parameter.copy_(parameter.half().float())  # OpenAI's file is in half precision
    save(theirs, "clip_hf.safetensors")
    openai = drawn(Clip(), 4)
    openai.visual.load_state_dict(official_clip(theirs.state_dict()))
    found: Tensor = theirs(images_bchw).image_embeds
    torch.testing.assert_close(openai(images_bchw), found, atol=1e-6, rtol=0)
    program = torch.jit.trace(openai, images_bchw[:1]).half()  # type: ignore[no-untyped-call]
    torch.jit.save(program, HERE / "clip.pt")
    without_sources(HERE / "clip.pt")
    torch.jit.load(HERE / "clip.pt")  # type: ignore[no-untyped-call]  # is it still a program?
    return found


def without_sources(path: Path) -> None:
    """Leave out where each line of the program came from, and the traced example."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            if not name.endswith(".debug_pkl") and "/traced_inputs" not in name:
                archive.writestr(zipfile.ZipInfo(name), content)


def official_dinov2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {
        "cls_token": state["embeddings.cls_token"],
        "mask_token": state["embeddings.mask_token"],
        "pos_embed": state["embeddings.position_embeddings"],
    }
    for what in ("weight", "bias"):
        ours[f"patch_embed.proj.{what}"] = state[f"embeddings.patch_embeddings.projection.{what}"]
        ours[f"norm.{what}"] = state[f"layernorm.{what}"]
    for i in range(DEPTH):
        theirs, block = f"encoder.layer.{i}", f"blocks.{i}"
        for n in "12":
            ours[f"{block}.ls{n}.gamma"] = state[f"{theirs}.layer_scale{n}.lambda1"]
        for what in ("weight", "bias"):
            parts = [state[f"{theirs}.attention.{part}_proj.{what}"] for part in "qkv"]
            ours[f"{block}.attn.qkv.{what}"] = torch.cat(parts)
            ours[f"{block}.attn.proj.{what}"] = state[f"{theirs}.attention.o_proj.{what}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                ours[f"{block}.{name}.{what}"] = state[f"{theirs}.{name}.{what}"]
    return {key: value.clone() for key, value in ours.items()}


def official_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    vision = "vision_model"
    ours = {
        "class_embedding": state[f"{vision}.embeddings.class_embedding"],
        "positional_embedding": state[f"{vision}.embeddings.position_embedding.weight"],
        "conv1.weight": state[f"{vision}.embeddings.patch_embedding.weight"],
        "proj": state["visual_projection.weight"].T,
    }
    for what in ("weight", "bias"):
        ours[f"ln_pre.{what}"] = state[f"{vision}.pre_layrnorm.{what}"]
        ours[f"ln_post.{what}"] = state[f"{vision}.post_layernorm.{what}"]
        for i in range(DEPTH):
            theirs, block = f"{vision}.encoder.layers.{i}", f"transformer.resblocks.{i}"
            parts = [state[f"{theirs}.self_attn.{part}_proj.{what}"] for part in "qkv"]
            ours[f"{block}.attn.in_proj_{what}"] = torch.cat(parts)
            for name, other in (
                ("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
            ):  # fmt: skip
                ours[f"{block}.{name}.{what}"] = state[f"{theirs}.{other}.{what}"]
    return ours


def consistency(features_td: Tensor) -> Tensor:
    """VBench's, frame by frame."""
    unit = nn.functional.normalize(features_td.double(), dim=-1)
    return torch.stack(
        [
            ((unit[i] @ unit[0]).clamp(min=0) + (unit[i] @ unit[i - 1]).clamp(min=0)) / 2
            for i in range(1, len(unit))
        ]
    )


def images(frames_thwc: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    big = frames_thwc.repeat_interleave(4, 1).repeat_interleave(4, 2)
    images_bchw = big.permute(0, 3, 1, 2).float() / 255
    return (images_bchw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def drawn(model: Model, seed: int) -> Model:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3
        scale = 0.5 if "token" in name or "position" in name else scale
        parameter.normal_(0, scale, generator=generator)
        if parameter.ndim == 1 and ("norm" in name or "ln_" in name or "layrnorm" in name):
            parameter.add_(1 if name.endswith("weight") else 0)
        if "lambda1" in name:
            parameter.add_(0.7)
    return model.eval()


def save(model: transformers.PreTrainedModel, name: str) -> None:
    """As `save_pretrained` writes it: its names are not those of the state dict."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shutil.copyfile(Path(folder) / "model.safetensors", HERE / name)


if __name__ == "__main__":
    main()
