"""HumanSAM: its two branches, the frames that they see, and the head behind them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from benchmarks.parity import humansam_heads
from benchmarks.parity.rows import EXACT, Kind, Row, compare, exact
from extract.branches import depthpro, internvideo2
from extract.networks import position
from extract.networks.vit import Gelu
from extract.released.humansam import columns_by_vector
from extract.views import sampling, transforms
from extract.views.protocol import Protocol

TOKENS, VECTORS, TRAINING, GRADIENT_L2 = 3e-5, 1e-5, 1e-4, 1e-4
DEPTH_TOKENS, DEPTH_MAP, DEPTH_POOLED, DEPTH_INPUT = 5e-5, 2e-5, 2e-6, 1e-5
FRAMES = 1e-6
_DOWN_NORM_EPS = 1e-6


def internvideo2_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = load_file(path.with_suffix(".safetensors"))
    state = load_file(path.with_name(f"{path.stem}_weights.safetensors"))
    for gelu, prefix in (("erf", "eval"), ("tanh", "eval_tanh_gelu")):
        model, head = internvideo2.from_state(
            state, _architecture(described["model"], gelu), path.stem  # type: ignore[arg-type]
        )  # fmt: skip
        with torch.no_grad():
            found = _forward(model.eval(), head, golden["x"], prefix)
        for name, (ours, tolerance) in found.items():
            if name in golden:
                yield compare(path.name, name, ours, golden[name], tolerance)
        if gelu == "erf":
            yield from _small_inputs(path.name, model, golden)
            yield from _training(path.name, model, head, golden)


def posembed_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = load_file(path.with_suffix(".safetensors"))
    for name, case in described["cases"].items():
        if isinstance(case, dict) and f"{name}.pos_embed" in golden:
            resized = position.resize_joint(
                golden["ckpt.pos_embed"], case["num_frames"], case["img_size"] // 14
            )
            expected = golden[f"{name}.pos_embed"]
            yield compare(path.name, f"{name}.pos_embed", resized, expected, VECTORS)
    key = "sincos_1024_8x16x16.every_97th_row"
    if key in golden:
        yield compare(path.name, key, position.sincos(1024, 8, 16)[::97], golden[key], VECTORS)


def depthpro_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = load_file(path.with_suffix(".safetensors"))
    state = load_file(path.with_name(f"{path.stem}_weights.safetensors"))
    vit, dims = described["vit"], described["dims_encoder"]
    model = depthpro.from_state(
        state,
        depthpro.Architecture(
            width=vit["embed_dim"], depth=vit["depth"], heads=vit["num_heads"],
            hidden=vit["mlp_ratio"] * vit["embed_dim"], out=dims[-1],
        ),
    ).eval()  # fmt: skip
    images = torch.from_numpy(transforms.depth_input(golden["frames"].numpy()))
    with torch.no_grad():
        patch, image, pooled = (
            f(images) for f in (model.patch_encoder, model.image_encoder, model)
        )
    for name, ours, tolerance in (
        ("x2_every3", images[:, :, ::3, ::3], DEPTH_INPUT),
        ("patch_tokens", patch, DEPTH_TOKENS),
        ("image_tokens", image, DEPTH_TOKENS),
        ("pooled", pooled, DEPTH_POOLED),
        ("pooled_mean_of_both_frames", pooled.mean(0), DEPTH_POOLED),
    ):
        yield compare(path.name, name, ours, golden[name], tolerance)


def sampling_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    for count, case in described["cases"].items():
        ours = sampling.validation_frames(int(count))
        yield exact(path.name, f"validation of {count}", ours, case["validation"])
        chunks = sampling.interleaved_frames(int(count), described["test_num_segment"])
        yield exact(path.name, f"test chunks of {count}", chunks, case["test_chunks"])


def views_of_clips(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name. The cut-outs, which have much in common, are kept as one array."""
    with np.load(path) as kept:
        found = {name: kept[name] for name in kept}
    names = found.pop("names").tolist()
    frames = zip(names, found.pop("frames_uint8"), strict=True)
    return {**found, **{f"{name}.frames_uint8": pixels for name, pixels in frames}}


def transforms_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    golden = views_of_clips(path.with_suffix(".npz"))
    size = described["crop_size"]
    with np.load(path.with_name(f"{path.stem}_clips.npz")) as clips:
        for key in clips:
            name = key.removesuffix("_HWCT")
            frames = dict(enumerate(np.ascontiguousarray(clips[key].transpose(3, 0, 1, 2))))
            (view,) = Protocol.parse("val").views(name, len(frames), size=size)
            pixels = transforms.view_clip(frames, view)
            normal = torch.from_numpy(transforms.normalise(pixels))
            expected = torch.from_numpy(golden[f"{name}.val.tensor"])
            yield compare(path.name, f"{name}.val.tensor", normal, expected, FRAMES)
            test_views = Protocol.parse("test-4x3").views(name, len(frames), size=size)
            for row, pixels in enumerate(transforms.view_clips(frames, test_views)):
                quantity = f"{name}.test.chunk{row // 3}.crop{row % 3}.frames_uint8"
                expected = torch.from_numpy(golden[quantity])
                yield compare(path.name, quantity, torch.from_numpy(pixels), expected, EXACT)


def fusion_rows(path: Path, described: dict[str, Any]) -> Iterator[Row]:
    """The order of fc1's columns, which importing a released checkpoint changes."""
    del described
    golden = load_file(path.with_suffix(".safetensors"))
    weight, feature = golden["fc1.weight"].float(), golden["video_feature"]
    width = 1024
    vectors = feature[:, : 2 * width]
    ordered = torch.cat([vectors[:, 0::2], vectors[:, 1::2], feature[:, 2 * width :]], 1)
    ours = functional.linear(ordered, columns_by_vector(weight, width), golden["fc1.bias"])
    yield compare(path.name, "expected.fc1_out", ours, golden["expected.fc1_out"], VECTORS)


def kind_of(path: Path, described: dict[str, Any]) -> Kind | None:
    """Files are told apart by what they describe, not by their names."""
    del path
    if "embed_dim" in described.get("model", {}):
        return internvideo2_rows
    if "dims_encoder" in described:
        return depthpro_rows
    if "crop_size" in described:
        return transforms_rows
    if "train_rng" in described:
        return sampling_rows
    if "pos_embed" in str(described.get("tensors", "")):
        return posembed_rows
    if "lr_per_step" in described:
        return humansam_heads.head_rows
    if "weight_formula" in described:
        return humansam_heads.loss_rows
    if "binary_mapping" in described:
        return humansam_heads.metrics_rows
    if "lr_values" in described.get("schedule", {}):
        return humansam_heads.schedule_rows
    return fusion_rows if "formula" in described and "fused" in described["formula"] else None


def _architecture(model: dict[str, Any], gelu: Gelu) -> internvideo2.Architecture:
    return internvideo2.Architecture(
        width=model["embed_dim"], depth=model["depth"], heads=model["num_heads"],
        hidden=model["mlp_hidden"], image=model["img_size"], patch=model["patch_size"],
        frames=model["num_frames"], pool_heads=model["attn_pool_num_heads"],
        pool_width=model["clip_embed_dim"], gelu=gelu,
    )  # fmt: skip


def _forward(
    model: internvideo2.InternVideo2, head: dict[str, Tensor], clips: Tensor, prefix: str
) -> dict[str, tuple[Tensor, float]]:
    found: dict[str, tuple[Tensor, float]] = {}
    tokens = model.embed(clips)
    found[f"{prefix}.embed"] = (tokens, TOKENS)
    for block in range(len(model.blocks)):
        tokens = model.run(tokens, block, block + 1)
        found[f"{prefix}.block{block}"] = (tokens, TOKENS)
    vectors = model.vectors(tokens)
    names = {"cls": "cls", "avg": "avg", "attn": "attn_pool"}
    found |= {f"{prefix}.{names[k]}": (v, VECTORS) for k, v in vectors.items()}
    found[f"{prefix}.feature"] = (_feature(vectors, head, training=False), VECTORS)
    return found


def _feature(vectors: dict[str, Tensor], head: dict[str, Tensor], *, training: bool) -> Tensor:
    """HumanSAM's vector: batch-normed cls and avg interleaved, then the normed pool."""
    pair = torch.stack([vectors["cls"], vectors["avg"]], 2)
    normed = functional.batch_norm(
        pair,
        None if training else head["down_norm.running_mean"],
        None if training else head["down_norm.running_var"],
        training=training,
        eps=_DOWN_NORM_EPS,
    )
    attn = vectors["attn"]
    pool = functional.layer_norm(attn, attn.shape[1:], head["fc_norm.weight"], head["fc_norm.bias"])
    return torch.cat([normed.flatten(1), pool], 1)


def _small_inputs(
    file: str, model: internvideo2.InternVideo2, golden: dict[str, Tensor]
) -> Iterator[Row]:
    with torch.no_grad():
        for name in ("blocks.0.norm1", "blocks.0.attn.q_norm", "clip_projector.norm1_q"):
            ours = model.get_submodule(name)(golden["eps.x"])
            yield compare(file, f"eps.{name}", ours, golden[f"eps.{name}"], VECTORS)


def _training(
    file: str,
    model: internvideo2.InternVideo2,
    head: dict[str, Tensor],
    golden: dict[str, Tensor],
) -> Iterator[Row]:
    clips = torch.cat([golden["x"], golden["x_more"]])
    feature = _feature(model.train()(clips), head, training=True)
    yield compare(file, "train.feature", feature.detach(), golden["train.feature"], TRAINING)
    torch.autograd.backward((feature * golden["train.cotangent"]).sum())
    for name, parameter in model.named_parameters():
        key = f"train.grad.{name}"
        expected = golden.get(key)
        if expected is None or parameter.grad is None or float(expected.norm()) < 1e-4:
            continue
        relative = float((parameter.grad - expected).norm() / expected.norm())
        largest = float((parameter.grad - expected).abs().max())
        yield Row(
            file=file, quantity=key, largest_absolute=largest, largest_relative=relative,
            tolerance=GRADIENT_L2, ok=relative <= GRADIENT_L2,
        )  # fmt: skip
