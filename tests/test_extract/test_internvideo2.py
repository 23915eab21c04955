"""InternVideo2 against the released code's numbers, and loading of its checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extract.branch import BranchRequest, load_branch
from extract.branches import internvideo2
from extract.branches.internvideo2 import Architecture, InternVideo2, from_state
from extract.errors import BadSetting, BadWeights
from extract.networks import position
from extract.networks.vit import Gelu

GOLDEN = Path(__file__).parent.parent / "golden"
TOKENS, VECTORS = 3e-5, 1e-5


def golden(which: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"internvideo2_{which}.safetensors")


def architecture(which: str, gelu: Gelu = "erf") -> Architecture:
    model: dict[str, Any] = json.loads((GOLDEN / f"internvideo2_{which}.json").read_text())["model"]
    return Architecture(
        width=model["embed_dim"], depth=model["depth"], heads=model["num_heads"],
        hidden=model["mlp_hidden"], image=model["img_size"], patch=model["patch_size"],
        frames=model["num_frames"], pool_heads=model["attn_pool_num_heads"],
        pool_width=model["clip_embed_dim"], gelu=gelu,
    )  # fmt: skip


def load(which: str, gelu: Gelu = "erf") -> InternVideo2:
    model, head = from_state(golden(f"{which}_weights"), architecture(which, gelu), which)
    assert sorted(head) == [
        "down_norm.num_batches_tracked", "down_norm.running_mean", "down_norm.running_var",
        "fc_norm.bias", "fc_norm.weight", "head.bias", "head.weight",
    ]  # fmt: skip
    return model.eval()


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_every_intermediate_is_the_released_ones(which: str) -> None:
    model, expected = load(which), golden(which)
    tokens = model.embed(expected["x"])
    close(tokens, expected["eval.embed"], TOKENS)
    for block in range(3):
        tokens = model.run(tokens, block, block + 1)
        close(tokens, expected[f"eval.block{block}"], TOKENS)
    vectors = model.vectors(tokens)
    close(vectors["cls"], expected["eval.cls"], VECTORS)
    close(vectors["avg"], expected["eval.avg"], VECTORS)
    close(vectors["attn"], expected["eval.attn_pool"], VECTORS)


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_the_tanh_gelu_is_the_released_one_and_another(which: str) -> None:
    model, expected = load(which, "tanh"), golden(which)
    tokens = model.run(model.embed(expected["x"]))
    close(tokens, expected["eval_tanh_gelu.block2"], TOKENS)
    assert float((tokens - expected["eval.block2"]).abs().max()) > 1e-4


@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_small_inputs_show_each_epsilon(which: str) -> None:
    model, expected = load(which), golden(which)
    block = model.blocks[0]
    assert isinstance(block, torch.nn.Module)
    for name in ("blocks.0.norm1", "blocks.0.attn.q_norm", "clip_projector.norm1_q"):
        close(model.get_submodule(name)(expected["eps.x"]), expected[f"eps.{name}"], 1e-5)


@torch.no_grad()
def test_half_precision_stays_near() -> None:
    model, expected = load("tiny_a"), golden("tiny_a")
    for dtype, tolerance in ((torch.bfloat16, 0.08), (torch.float16, 0.01)):
        with torch.autocast("cpu", dtype):
            found = model(expected["x"])
        for name, key in (("cls", "cls"), ("avg", "avg"), ("attn", "attn_pool")):
            assert found[name].dtype == torch.float32
            close(found[name], expected[f"eval.{key}"], tolerance)


@torch.no_grad()
@pytest.mark.parametrize("which", ["tiny_a", "tiny_b"])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_blocks_from_cached_tokens_are_the_whole_network(which: str, block: int) -> None:
    model, clips = load(which), golden(which)["x"]
    cached = model(clips, (f"tokens@{block}", "tokens", "cls", "attn"))
    tokens = model.run(cached[f"tokens@{block}"], block)
    assert torch.equal(tokens, cached["tokens"])
    assert torch.equal(model.vectors(tokens)["attn"], cached["attn"])


@torch.no_grad()
def test_pooled_fields_are_means_of_tokens() -> None:
    model, clips = load("tiny_a"), golden("tiny_a")["x"]  # 4 x 4 patches: fields are the tokens
    found = model(clips, ("tokens", "tokens:4x4"))
    close(found["tokens:4x4"], found["tokens"], 1e-6)
    branch = load_branch(BranchRequest.parse("internvideo2=tiny?outputs=tokens,tokens:4x4"))
    results = branch.forward(branch.example(1))
    frame = results["tokens"][0, 1 : 1 + 64].reshape(4, 2, 4, 2, -1).mean((1, 3)).reshape(16, -1)
    torch.testing.assert_close(results["tokens:4x4"][0, 1:17], frame, rtol=1e-6, atol=1e-5)


def test_position_embeddings_are_resized_as_released() -> None:
    expected = golden("posembed")
    for frames, pixels in ((4, 84), (4, 56), (8, 84), (16, 42), (8, 56)):
        resized = position.resize_joint(expected["ckpt.pos_embed"], frames, pixels // 14)
        close(resized, expected[f"t{frames}_s{pixels}.pos_embed"], 1e-5)
    sincos = position.sincos(1024, 8, 16)
    close(sincos[::97], expected["sincos_1024_8x16x16.every_97th_row"], 1e-5)
    time = expected["sep.ckpt.pos_embed_temporal"].transpose(0, 1)
    close(
        position.resize_time(time, 4).transpose(0, 1), expected["sep.t4_s56.pos_embed_temporal"],
        1e-5,
    )  # fmt: skip


def test_a_16_frame_checkpoint_is_recognised() -> None:
    embedding = torch.randn(1, 1 + 16 * 25, 8)
    assert torch.equal(position.resize_joint(embedding, 16, 5), embedding)
    with pytest.raises(BadWeights, match="fits no square grid"):
        position.resize_joint(torch.randn(1, 1 + 97, 8), 8, 4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"module": {f"backbone.{key}": v for key, v in state.items()}},
        lambda state: {f"encoder.{key}": value for key, value in state.items()},
        lambda state: {key: v for key, v in state.items() if not key.startswith("head.")},
        lambda state: {key: v.half() if v.is_floating_point() else v for key, v in state.items()},
        lambda state: {
            **state, "patch_embed.proj.weight": state["patch_embed.proj.weight"][:, :, 0],
        },
    ],
)  # fmt: skip
def test_official_wrappers_and_prefixes_load(tmp_path: Path, wrap: Any) -> None:  # noqa: ANN401
    torch.save(wrap(golden("tiny_a_weights")), tmp_path / "w.bin")
    from extract.networks.weights import read_state

    model, _ = from_state(read_state(tmp_path / "w.bin"), architecture("tiny_a"), "tiny")
    expected = golden("tiny_a_weights")["blocks.1.mlp.fc1.weight"]
    close(model.state_dict()["blocks.1.mlp.fc1.weight"], expected, 1e-3)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda s: s.pop("blocks.1.attn.proj.bias"), r"missing: blocks\.1\.attn\.proj\.bias"),
        (lambda s: s.update({"blocks.1.extra": s["cls_token"]}), r"unexpected: blocks\.1\.extra"),
        (lambda s: s.update({"cls_token": torch.zeros(1, 1, 8)}), r"cls_token is \[1, 1, 8\]"),
        (lambda s: s["cls_token"].fill_(torch.nan), "not finite: cls_token"),
    ],
)
def test_every_key_is_accounted_for(harm: Any, message: str) -> None:  # noqa: ANN401
    state = golden("tiny_a_weights")
    harm(state)
    with pytest.raises(BadWeights, match=message):
        from_state(state, architecture("tiny_a"), "tiny")


def test_another_preset_is_named(tmp_path: Path) -> None:
    model = InternVideo2(internvideo2.PRESETS["tiny"])
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(BadWeights, match=r"not InternVideo2-S14.*look like preset tiny"):
        load_branch(BranchRequest.parse(f"internvideo2=S14:{tmp_path / 'w.safetensors'}"))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("internvideo2=L14", BadWeights, "internvideo2-L14-k400.bin.*internvideo2=tiny"),
        ("internvideo2=XL", BadSetting, "have: S14, B14, L14"),
        ("internvideo2=tiny?outputs=cls,nope", BadSetting, "tokens@K with K from 0 to 3"),
        ("internvideo2=tiny?outputs=cls,cls", BadSetting, "at most once"),
        (
            "internvideo2=tiny?colour=1",
            BadSetting,
            "have: outputs, gelu, dtype, random, quantise, precision",
        ),
        ("internvideo2=tiny?gelu=relu", BadSetting, "have: tanh, erf"),
        ("internvideo2=tiny?precision=int4", BadSetting, "have: float32"),
        ("internvideo2", BadSetting, "give NAME=PRESET:WEIGHTS"),
        ("internvideo2=tiny?x", BadSetting, "option=value"),
        ("dpth=tiny", BadSetting, "Branch 'dpth' unknown; have: "),
    ],
)
def test_wrong_requests(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_branch(BranchRequest.parse(text))


def test_presets_have_the_published_sizes() -> None:
    sizes = {}
    for name in ("S14", "B14", "L14", "1B", "6B"):
        with torch.device("meta"):
            model = InternVideo2(internvideo2.PRESETS[name])
        sizes[name] = round(sum(p.numel() for p in model.parameters()) / 1e6)
    assert 20 < sizes["S14"] < 30
    assert 85 < sizes["B14"] < 95
    assert 300 < sizes["L14"] < 320
    assert 1000 < sizes["1B"] < 1100
    assert 5800 < sizes["6B"] < 6100
