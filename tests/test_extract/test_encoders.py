"""Encoders on single frames and on clips: out of folders, out of a package, by our own networks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from extract.branch import Branch, BranchRequest, for_protocol, load_branch
from extract.encoders.preprocessing import normalised, read_look
from extract.errors import BadSetting, BadWeights
from extract.networks import efficientnet, paths
from extract.views.looks import LOOKS, Look, look_at, looked
from extract.views.protocol import Protocol
from tests.test_extract.folders import IMAGES, SIZE, VIDEOS, folder

GOLDEN = Path(__file__).parents[1] / "golden"


def branch(text: str) -> Branch:
    return load_branch(BranchRequest.parse(text))


def frames(count: int, height: int = 90, width: int = 161) -> dict[int, np.ndarray]:
    random = np.random.default_rng(3)
    return {i: random.integers(0, 256, (height, width, 3), np.uint8) for i in range(count)}


def rows(found: Branch, views: str, count: int, fps: float = 8.0) -> torch.Tensor:
    plan = Protocol.parse(views).views("v", count, fps=fps)
    return torch.from_numpy(found.prepare.load()(frames(count), plan))


def test_efficientnet_lite0_is_the_published_network() -> None:
    golden = load_file(GOLDEN / "efficientnet_lite0.safetensors")
    picture = torch.nn.functional.interpolate(golden["picture"], size=(224, 224), mode="bilinear")
    look = LOOKS["short"]
    mean, std = (torch.tensor(x)[:, None, None] for x in (look.mean, look.std))
    with torch.no_grad():
        found = efficientnet.read()((picture - mean) / std).mean((2, 3))
    torch.testing.assert_close(found, golden["feature"], atol=2e-5, rtol=0)


def test_efficientnet_lite0_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package_here")
    with pytest.raises(BadWeights, match=r"no-such-package-here.*\[mini\]"):
        branch("image=efficientnet-lite0")


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_encoder_out_of_a_folder_is_transformers_own(kind: str) -> None:
    import transformers

    found = branch(f"image=hf:{folder(kind)}?outputs=tokens&frames=3&dtype=float32")
    look = found.model.look  # type: ignore[attr-defined]
    pixels = frames(3)
    given = np.stack([normalised(looked(pixels[i], look), look) for i in range(3)])
    network = transformers.AutoModel.from_pretrained(folder(kind)).eval()
    with torch.no_grad():
        theirs = network(pixel_values=torch.from_numpy(given))
    ours = found.forward(rows(found, "frames-3@all", 3))
    hidden = theirs.last_hidden_state
    if kind == "ResNet":
        hidden = hidden.flatten(2).transpose(1, 2)
    tokens = ours["tokens"][0]
    torch.testing.assert_close(tokens, hidden[:, -tokens.shape[1] :], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        ours["cls"][0], theirs.pooler_output.flatten(1), atol=1e-5, rtol=1e-5
    )
    assert tokens.shape[1] == (SIZE // 8) ** 2


@pytest.mark.parametrize("kind", ["ViT", "CLIPVision", "SiglipVision", "Dinov2", "VideoMAE"])
def test_pictures_are_prepared_as_the_folders_processor_does(kind: str) -> None:
    from transformers import AutoImageProcessor

    look, known = read_look(folder(kind))
    assert known == "the folder's processor, checked"
    processor = AutoImageProcessor.from_pretrained(folder(kind))
    for picture in frames(1, 77, 130).values(), frames(1, 131, 60).values():
        (pixels,) = picture
        theirs = processor(images=[pixels], return_tensors="np")["pixel_values"]
        ours = normalised(looked(pixels, look), look)
        np.testing.assert_allclose(ours, theirs.reshape(ours.shape), atol=1e-6)


def test_a_folder_that_prepares_pictures_in_another_way_is_refused(tmp_path: Path) -> None:
    place = copied("ViT", tmp_path)
    told = json.loads((place / "preprocessor_config.json").read_text())
    told |= {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 28}}
    (place / "preprocessor_config.json").write_text(json.dumps({**told, "crop_pct": 0.5}))
    with pytest.raises(BadWeights, match=r"prepares .*look=short"):
        branch(f"image=hf:{place}")
    assert branch(f"image=hf:{place}?look=whole").model.look.height == SIZE  # type: ignore[attr-defined]
    (place / "preprocessor_config.json").unlink()
    with pytest.raises(BadWeights, match="does not say how pictures are prepared"):
        branch(f"image=hf:{place}")


def test_a_folder_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    place = copied("ViT", tmp_path)
    state = load_file(place / "model.safetensors")
    pooler = {k: v for k, v in state.items() if not k.startswith("pooler")}
    save_file(pooler, place / "model.safetensors", {"format": "pt"})
    without = branch(f"image=hf:{place}")
    views = without.example(1)
    whole = branch(f"image=hf:{folder('ViT')}")
    assert not torch.allclose(without.forward(views)["cls"], whole.forward(views)["cls"])
    pooler.pop(next(key for key in pooler if "layer.1" in key or "layers.1" in key))
    save_file(pooler, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadWeights, match="lacks weights of image encoder"):
        branch(f"image=hf:{place}")


def test_folders_that_belong_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="video=hf:"):
        branch(f"image=hf:{folder('VideoMAE')}")
    with pytest.raises(BadWeights, match=r"holds a 'vit'.*videomae"):
        branch(f"video=hf:{folder('ViT')}")
    with pytest.raises(BadWeights, match="give a folder"):
        branch(f"image=hf:{tmp_path}/nothing")
    with pytest.raises(BadWeights, match="no folder of a network"):
        branch(f"image=hf:{tmp_path}")
    with pytest.raises(BadSetting, match=r"'dinov9' unknown; have: .*xclip-b16.*hf:FOLDER"):
        branch("image=dinov9")
    with pytest.raises(BadWeights, match=r"image=dinov2-b14:PATH.*efficientnet-lite0"):
        branch("image=dinov2-b14")


@pytest.mark.parametrize("kind", VIDEOS)
def test_a_video_encoders_tokens_are_sorted_by_time(kind: str, tmp_path: Path) -> None:
    """Without layers a token knows its own frames alone."""
    place = without_layers(kind, tmp_path)
    found = branch(f"video=hf:{place}?outputs=tokens,velocity")
    times = found.outputs["tokens"].shape[0]
    views = found.example(1)
    changed = views.clone()
    changed[0, 5, 1:] = 255 - changed[0, 5, 1:]
    before, after = (found.forward(each)["tokens"][0] for each in (views, changed))
    moved = (before - after).abs().amax((1, 2)) > 0
    assert moved.tolist() == [time == 5 * times // 8 for time in range(times)]


def test_frames_exchange_messages_in_x_clip_and_nowhere_else() -> None:
    for encoder, together in (("xclip-tiny", True), ("clip-tiny", False), ("dinov2-tiny", False)):
        found = branch(f"image={encoder}?frames=16")
        views = found.example(1)
        changed = views.clone()
        changed[0, 3, 1:] = 255 - changed[0, 3, 1:]
        before, after = (found.forward(each)["cls"][0] for each in (views, changed))
        moved = [not torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert moved == [(frame < 8) if together else frame == 3 for frame in range(16)]
    with pytest.raises(BadSetting, match="8 frames together"):
        branch("image=xclip-tiny?frames=12")


def test_what_is_missing_of_a_short_video_is_said_and_changes_nothing() -> None:
    found = branch("image=dinov2-tiny?frames=8&outputs=cls,steps,roughness")
    short = found.forward(rows(found, "frames-8@8", 5))
    assert short["present"][0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    whole = found.forward(rows(found, "frames-8@8", 8))
    assert whole["present"].all()
    torch.testing.assert_close(short["cls"][0, :5], whole["cls"][0, :5])
    torch.testing.assert_close(short["steps"][0, :4], whole["steps"][0, :4])
    tokens = branch("image=dinov2-tiny?frames=8&outputs=tokens&dtype=float32")
    seen = tokens.forward(rows(found, "frames-8@8", 5))["tokens"][:, :5]
    torch.testing.assert_close(short["roughness"], paths.roughness(seen), atol=1e-5, rtol=1e-5)
    nothing = found.forward(rows(found, "frames-8@8:stall", 5, fps=4.0))
    assert not nothing["present"].any()
    assert all(numbers.isfinite().all() for numbers in nothing.values())


def test_reductions_are_what_heads_would_make_of_tokens() -> None:
    found = branch("image=clip-tiny?outputs=cls,tokens,tokens:4x4,steps,velocity&dtype=float32")
    said = found.forward(found.example(2))
    tokens = said["tokens"]
    whole = torch.cat([said["cls"], tokens.flatten(2)], -1)
    torch.testing.assert_close(said["steps"], paths.lengths(whole))
    torch.testing.assert_close(said["angles"], paths.angles(whole))
    moved = (tokens[:, 1:] - tokens[:, :-1]).abs().mean(2)
    torch.testing.assert_close(said["velocity"], moved)
    torch.testing.assert_close(said["tokens:4x4"].mean(2), adaptive_mean(tokens), atol=1e-4, rtol=0)


def adaptive_mean(tokens: torch.Tensor) -> torch.Tensor:
    """Of 4 x 4 fields of a 14 x 14 grid, which overlap."""
    side = 14
    edges = [(side * i // 4, -(-side * (i + 1) // 4)) for i in range(4)]
    grid = tokens.reshape(*tokens.shape[:2], side, side, *tokens.shape[3:])
    found = [grid[:, :, a:b, c:d].mean((2, 3)) for a, b in edges for c, d in edges]
    return torch.stack(found).mean(0)


def test_a_request_gets_the_protocols_number_of_frames() -> None:
    asked = BranchRequest.parse("image=dinov2-tiny")
    sixteen = for_protocol(asked, Protocol.parse("frames-16@8"))
    assert sixteen.options["frames"] == "16"
    assert load_branch(sixteen).prepare.suits(Protocol.parse("frames-16@8"))
    assert not load_branch(asked).prepare.suits(Protocol.parse("frames-16@8"))
    own = BranchRequest.parse("image=dinov2-tiny?frames=4")
    assert for_protocol(own, Protocol.parse("frames-16@8")) == own
    other = BranchRequest.parse("internvideo2=tiny")
    assert for_protocol(other, Protocol.parse("frames-16@8")) == other


def test_an_encoder_of_any_size_is_fed_at_the_size_that_is_asked_for() -> None:
    usual, large = (
        branch(f"image=efficientnet-lite0?frames=3&look=visible{size}")
        for size in ("", "&size=320")
    )
    assert usual.offer.fingerprints["cls"] != large.offer.fingerprints["cls"]
    views = Protocol.parse("frames-3@all").views("v", 3)
    seen = look_at(frames(3, 400, 640), views, **dict(large.prepare.options))
    assert seen.shape == (1, 3, 1 + 320 * 320 * 3)
    said = large.forward(torch.from_numpy(seen))
    assert said["cls"].shape == (1, 3, 1280)
    tokens = branch("image=efficientnet-lite0?frames=3&size=320&outputs=tokens")
    assert tokens.outputs["tokens"].shape == (3, 100, 1280)
    with pytest.raises(BadSetting, match="one size only"):
        branch("image=dinov2-tiny?size=320")
    with pytest.raises(BadSetting, match="1 to 1024"):
        branch("image=efficientnet-lite0?size=5000")


def test_looks_cut_pad_and_turn_colours() -> None:
    frame = frames(1, 40, 100)[0]
    look = Look(height=40, width=80, resize="none", cut=0.1)
    np.testing.assert_array_equal(looked(frame, look), frame[:, 10:90])
    np.testing.assert_array_equal(looked(frame, replace(look, bgr=True)), frame[:, 10:90, ::-1])
    padded = looked(frame, Look(height=60, width=100, resize="none"))
    np.testing.assert_array_equal(padded[10:50], frame)
    assert not padded[:10].any()
    assert not padded[50:].any()
    views = Protocol.parse("windows-2x3").views("v", 4)
    seen = look_at(frames(4, 40, 100), views, **Look(height=32, width=32).plain())
    assert seen[:, :, 0].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert not seen[1].any()
    with pytest.raises(BadSetting, match="less than one half"):
        Look(cut=0.5)


def copied(kind: str, place: Path) -> Path:
    return Path(shutil.copytree(folder(kind), place / kind))


def without_layers(kind: str, place: Path) -> Path:
    """The same network with no layer but its embeddings."""
    made = copied(kind, place)
    told = json.loads((made / "config.json").read_text()) | {"num_hidden_layers": 0}
    (made / "config.json").write_text(json.dumps(told))
    state = load_file(made / "model.safetensors")
    kept = {k: v for k, v in state.items() if ".layer." not in k or k.startswith("predictor")}
    save_file(kept, made / "model.safetensors", {"format": "pt"})
    return made
