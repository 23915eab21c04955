"""Taking a released HumanSAM checkpoint apart, proved on a small one in that format."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from extract.branch import BranchRequest, load_branch
from extract.branches import depthpro, internvideo2
from extract.errors import BadWeights
from extract.networks.weights import seeded
from extract.released.humansam import columns_by_vector, import_checkpoint, save_imported
from tests.test_features_store.test_cli import here

GOLDEN = Path(__file__).parent.parent / "golden"
WIDTH, ATTN, OUT = 128, 96, 64


def checkpoint(classes: int = 4) -> dict[str, Tensor]:
    """`model1.* model2.* fc1 alpha head` as the released training saves them: in float16."""
    video = internvideo2.InternVideo2(internvideo2.PRESETS["tiny"])
    depth = depthpro.DepthProEncoder(depthpro.PRESETS["tiny"])
    seeded(video, 11)
    seeded(depth, 12)
    random = torch.Generator().manual_seed(0)
    state = {f"model1.{key}": value for key, value in video.state_dict().items()}
    state |= {f"model2.encoder.{key}": value for key, value in depth.state_dict().items()}
    state |= {
        "model2.encoder.upsample_latent0.0.weight": torch.zeros(1),
        "model1.down_norm.running_mean": torch.randn(WIDTH, generator=random) * 0.1,
        "model1.down_norm.running_var": torch.rand(WIDTH, generator=random) + 0.5,
        "model1.down_norm.num_batches_tracked": torch.tensor(7),
        "model1.fc_norm.weight": torch.rand(ATTN, generator=random) + 0.5,
        "model1.fc_norm.bias": torch.randn(ATTN, generator=random) * 0.1,
        "model1.head.weight": torch.zeros(5, 2 * WIDTH + ATTN),
        "model1.head.bias": torch.zeros(5),
        "fc1.weight": torch.randn(OUT, 2 * WIDTH + ATTN, generator=random) * 0.1,
        "fc1.bias": torch.randn(OUT, generator=random) * 0.1,
        "alpha": torch.tensor([0.3]),
        "head.weight": torch.randn(classes, OUT, generator=random) * 0.2,
        "head.bias": torch.randn(classes, generator=random) * 0.1,
    }
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def save(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"model": state, "epoch": 9, "args": argparse.Namespace(lr=1e-4)}, path)
    return path


def norm(head: dict[str, Tensor], which: str, vectors: dict[str, Tensor]) -> Tensor:
    if which == "attn":
        return functional.layer_norm(
            vectors["attn"], (ATTN,), head["fc_norm.weight"], head["fc_norm.bias"], 1e-5
        )
    mean, var = head["down_norm.running_mean"], head["down_norm.running_var"]
    return (vectors[which] - mean) / torch.sqrt(var + 1e-6)


def test_the_parts_together_are_the_released_forward(tmp_path: Path) -> None:
    state = checkpoint()
    imported = import_checkpoint(save(state, tmp_path / "humansam.pth"))
    files = save_imported(imported, tmp_path / "out", "humansam.pth")
    video = load_branch(BranchRequest.parse(f"internvideo2=tiny:{files[0]}?dtype=float32"))
    depth = load_branch(BranchRequest.parse(f"depthpro=tiny:{files[1]}?dtype=float32"))
    head = load_file(files[2])
    vectors = video.forward(video.example(3))
    deep = depth.forward(depth.example(3))["depth"].mean(1)

    ordered = torch.cat([norm(head, name, vectors) for name in ("cls", "avg", "attn")], 1)
    fused = functional.linear(ordered, head["fc1.weight"], head["fc1.bias"])
    alpha = head["alpha"]
    logits = functional.linear(
        alpha * fused + (1 - alpha) * deep, head["classes.weight"], head["classes.bias"]
    )

    pair = torch.stack([norm(head, "cls", vectors), norm(head, "avg", vectors)], 2).flatten(1)
    released = torch.cat([pair, norm(head, "attn", vectors)], 1)  # c0 cls, c0 avg, c1 cls, …
    weights = {key: value.float() for key, value in state.items()}
    fused = functional.linear(released, weights["fc1.weight"], weights["fc1.bias"])
    expected = functional.linear(
        weights["alpha"] * fused + (1 - weights["alpha"]) * deep,
        weights["head.weight"], weights["head.bias"],
    )  # fmt: skip
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits, logits.flip(0), atol=1e-3)


def test_columns_are_put_in_order_as_the_golden_fusion_needs() -> None:
    golden = load_file(GOLDEN / "fusion.safetensors")
    feature, weight = golden["video_feature"], golden["fc1.weight"].float()
    ordered = torch.cat([feature[:, 0:2048:2], feature[:, 1:2048:2], feature[:, 2048:]], 1)
    ours = functional.linear(ordered, columns_by_vector(weight, 1024), golden["fc1.bias"])
    torch.testing.assert_close(ours, golden["expected.fc1_out"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("classes", "scheme"), [(4, "hfv4"), (2, "hfv2")])
def test_the_command(tmp_path: Path, classes: int, scheme: str) -> None:
    path = save(checkpoint(classes), tmp_path / "humansam.pth")
    printed = here("import-checkpoint", path, "--out", tmp_path / "out")
    for name in ("internvideo2-tiny", "depthpro-tiny", "head"):
        assert f"{name}.safetensors" in printed
    described = json.loads((tmp_path / "out/import.json").read_text())
    assert described["scheme"] == scheme
    assert (tmp_path / "out" / "bundle" / "bundle.json").exists()
    again = ("import-checkpoint", path, "--out", tmp_path / "out")
    assert "there already" in here(*again)
    assert "another precision" in here(*again, "--precision", "float16", expect=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    again = ("import-checkpoint", path, "--out", tmp_path / "mine")
    assert "did not make it" in here(*again, expect=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("alpha"), "no HumanSAM checkpoint"),
        (lambda s: s.update({"extra.weight": torch.ones(1)}), "unknown ones"),
        (lambda s: s.update({"head.bias": torch.zeros(7)}), "7 classes"),
        (lambda s: s.update({"fc1.weight": torch.zeros(OUT, 9)}), "fc1 9 columns"),
        (lambda s: s.pop("model1.blocks.2.norm1.weight"), "missing: blocks.2.norm1.weight"),
        (lambda s: s.update({"model1.cls_token": torch.zeros(1, 1, 10)}), "no InternVideo2 preset"),
        (lambda s: s.pop("model2.encoder.patch_encoder.cls_token"), "no Depth Pro preset"),
    ],
)
def test_what_is_no_humansam_checkpoint(tmp_path: Path, change: Any, message: str) -> None:  # noqa: ANN401
    state = checkpoint()
    change(state)
    with pytest.raises(BadWeights, match=message):
        import_checkpoint(save(state, tmp_path / "w.pth"))
