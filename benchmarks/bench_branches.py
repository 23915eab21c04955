"""What the branches cost on a CPU: `python -m benchmarks.bench_branches [--quick]`.

Full-size networks with seeded weights. Depth Pro in two passes against a straightforward 36-pass
forward made of the same modules, and InternVideo2-L14 against its matrix products alone. The
36 passes take minutes, so they run once; everything else is a median. `--quick` takes the tiny
networks and shows that the benchmark works, nothing more.
"""

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import measure
from extract.branches import depthpro, internvideo2
from extract.branches.depthpro import DepthProEncoder
from extract.networks import weights
from extract.networks.vit import Block

FRAMES_TOGETHER = 8
RUNS = 3


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny networks")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    rows = [*depth("tiny" if quick else "L16"), *video("tiny" if quick else "L14")]
    theme = "branches_quick" if quick else "branches"
    measure.report(theme, rows, ("torch",))


def depth(preset: str) -> list[measure.Row]:
    model = DepthProEncoder(depthpro.PRESETS[preset]).eval()
    weights.seeded(model, 0)
    pixels_bchw = torch.rand(FRAMES_TOGETHER, 3, 1536, 1536) * 2 - 1
    small_bchw = _smaller(pixels_bchw, 0.25)
    one_bchw = small_bchw[:1]
    model(one_bchw)  # warm up

    start = time.perf_counter()
    released = thirty_six_passes(model, pixels_bchw[:1])
    released_seconds = time.perf_counter() - start
    ours = model(one_bchw)
    difference = float((ours - released).norm() / released.norm())
    seconds = measure.interleaved(
        {
            "1 frame": lambda: model(one_bchw),
            f"{FRAMES_TOGETHER} frames": lambda: model(small_bchw),
        },
        runs=RUNS,
        warm_up=0,
    )
    rows: list[measure.Row] = [
        {
            "what": f"depthpro-{preset}, 36 passes (baseline, one run)",
            "seconds a frame": released_seconds,
        }
    ]
    for name, count in (("1 frame", 1), (f"{FRAMES_TOGETHER} frames", FRAMES_TOGETHER)):
        rows.append(
            {
                "what": f"depthpro-{preset}, 2 passes, {name} in a batch",
                "seconds a frame": seconds[name] / count,
                "speed against 36 passes": released_seconds / (seconds[name] / count),
                "relative difference": difference,
            }
        )
    return rows


def video(preset: str) -> list[measure.Row]:
    architecture = internvideo2.PRESETS[preset]
    model = internvideo2.InternVideo2(architecture).eval()
    weights.seeded(model, 0)
    side = architecture.image
    clip_bcthw = torch.randn(1, 3, architecture.frames, side, side)
    seconds = measure.interleaved(
        {
            "matrix products alone": lambda: products_alone(model, architecture),
            "forward": lambda: model(clip_bcthw),
        },
        runs=RUNS,
    )
    return [
        {
            "what": f"internvideo2-{preset}, {name}",
            "seconds a view": value,
            "TFLOP/s": internvideo2.view_flops(architecture) / value / 1e12,
            "time against matrix products alone": value / seconds["matrix products alone"],
        }
        for name, value in seconds.items()
    ]


def thirty_six_passes(model: DepthProEncoder, pixels_bchw: Tensor) -> Tensor:
    """All levels: 25 + 9 + 1 crops through the patch encoder, one image through the other."""
    middle_bchw, small_bchw = _smaller(pixels_bchw, 0.5), _smaller(pixels_bchw, 0.25)
    crops = [*_crops(pixels_bchw, 5), *_crops(middle_bchw, 3), small_bchw]
    patch_bnd = model.patch_encoder(torch.cat(crops))[-len(small_bchw) :]
    maps = []
    for tokens_bnd in (patch_bnd, model.image_encoder(small_bchw)):
        side = small_bchw.shape[-1] // 16
        maps.append(tokens_bnd[:, 1:].transpose(1, 2).reshape(len(small_bchw), -1, side, side))
    both = torch.cat([model.upsample2(maps[0]), model.upsample_lowres(maps[1])], 1)
    mean: Tensor = model.fuse_lowres(both).mean((2, 3))
    return mean


def products_alone(model: internvideo2.InternVideo2, a: internvideo2.Architecture) -> None:
    """The same linear layers and attention on the same shapes, nothing in between."""
    tokens_bnd = torch.randn(1, a.tokens, a.width)
    hidden_bnd = torch.randn(1, a.tokens, a.hidden)
    qkv = torch.randn(3, 1, a.heads, a.tokens, a.width // a.heads)
    for block in model.blocks:
        assert isinstance(block, Block)
        functional.linear(tokens_bnd, block.attn.qkv.weight)
        functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        block.attn.proj(tokens_bnd)
        block.mlp.fc1(tokens_bnd)
        block.mlp.fc2(hidden_bnd)


def _smaller(images_bchw: Tensor, factor: float) -> Tensor:
    return functional.interpolate(images_bchw, scale_factor=factor, mode="bilinear")


def _crops(images_bchw: Tensor, count: int) -> list[Tensor]:
    step = (images_bchw.shape[-1] - 384) // (count - 1)
    starts = [i * step for i in range(count)]
    return [images_bchw[:, :, y : y + 384, x : x + 384] for y in starts for x in starts]


if __name__ == "__main__":
    main()
