"""The priors with networks, on tiny random ones: what they are fed, what they say, what differs."""

import importlib.util
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.branch import Branch, BranchRequest, load_branch
from extract.branches.spatial import DepthScorer
from extract.errors import BadSetting, BadWeights, VideoError
from extract.networks import raft
from extract.priors import depth_map, warping
from extract.priors.picture_pairs import pictures
from extract.priors.two_way_flow import dis_flow, pair_warp
from extract.views.protocol import Protocol
from tests.test_extract.networks import tiny_depth_pro

MOTION = "motion=raft-tiny?pairs=3&side=64&iterations=2"


def frames(count: int, height: int, width: int) -> dict[int, NDArray[np.uint8]]:
    """Blobs that move right."""
    coarse = np.random.default_rng(0).random((6, 12, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    picture = (255 * wide.clip(0, 1)).astype(np.uint8)
    return {number: picture[:, 3 * number : 3 * number + width] for number in range(count)}


def made(branch: Branch, height: int, width: int) -> Tensor:
    views = Protocol.parse(f"pairs-{branch.prepare.pairs}").views("v", 9)
    return torch.from_numpy(branch.prepare.load()(frames(9, height, width), views))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    return tiny_depth_pro(tmp_path_factory.mktemp("depth"))


@pytest.fixture(params=["motion", "spatial"])
def scorer(request: pytest.FixtureRequest) -> Branch:
    if request.param == "motion":
        return load_branch(BranchRequest.parse(MOTION))
    folder = request.getfixturevalue("folder")
    return load_branch(BranchRequest.parse(f"spatial=depthpro:{folder}?pairs=3&side=64"))


@pytest.mark.parametrize(("height", "width"), [(180, 320), (320, 180), (40, 24), (64, 64)])
def test_workers_keep_the_pictures_proportions_and_say_where_they_are(
    height: int, width: int
) -> None:
    views = Protocol.parse("pairs-4").views("v", 9)
    squares = pictures(frames(9, height, width), views, 64)
    assert squares.shape == (1, 4, 2, 64, 64, 4)
    scale = min(1.0, 64 / max(height, width))
    inside = squares[..., 3] == 255
    assert inside[..., : round(height * scale), : round(width * scale)].all()
    assert inside.sum() == 8 * round(height * scale) * round(width * scale)
    assert not squares[~inside].any()
    with pytest.raises(VideoError, match="one frame"):
        pictures({0: frames(1, 40, 24)[0]}, Protocol.parse("pairs-1").views("v", 1), 64)


def test_scores_are_means_of_curves_and_do_not_depend_on_the_batch(scorer: Branch) -> None:
    assert pickle.loads(pickle.dumps(scorer.prepare)) == scorer.prepare  # noqa: S301 (our own)
    views = torch.cat([made(scorer, *size) for size in ((180, 320), (320, 180), (40, 24))])
    found = scorer.forward(views)
    assert set(found) == set(scorer.outputs)
    for name, array in scorer.outputs.items():
        assert found[name].shape == (3, *array.shape)
    torch.testing.assert_close(found["score"], found["curve"].mean(1, keepdim=True))
    assert (found["curve"] > 0).all()
    swapped = scorer.forward(views[[2, 1, 0]])
    alone = scorer.forward(views[1:2])
    for name, numbers in found.items():
        assert torch.equal(swapped[name], numbers[[2, 1, 0]])
        assert torch.equal(alone[name], numbers[1:2])


def test_what_lies_beside_the_picture_does_not_matter(scorer: Branch) -> None:
    views = made(scorer, 40, 24)
    outside = (views[..., 3] == 0)[..., None] & (torch.arange(4) < 3)
    assert torch.equal(
        scorer.forward(views)["curve"], scorer.forward(views.masked_fill(outside, 77))["curve"]
    )


def test_what_comes_twice_is_computed_once(scorer: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames fill three pairs, three frames have one in two pairs."""
    seen: list[int] = []
    model = scorer.model  # type: ignore[attr-defined]
    inner = model if scorer.name == "motion" else model.network
    inner.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len((*args, *kwargs.values())[0])), with_kwargs=True
    )
    for count, pairs in ((2, 1), (3, 2)):
        views = Protocol.parse("pairs-3").views("v", count)
        rows = torch.from_numpy(scorer.prepare.load()(frames(count, 40, 48), views))
        curve = scorer.forward(rows)["curve"][0]
        assert len(set(curve.tolist())) == pairs
        assert sum(seen) == (pairs if scorer.name == "motion" else count)
        seen.clear()


def test_the_motion_score_is_the_warping_error_of_the_flow() -> None:
    branch = load_branch(BranchRequest.parse(MOTION))
    views = made(branch, 60, 64)
    first, second = views[0, :, :, :60, :64, :3].permute(1, 0, 4, 2, 3).float()
    warp = pair_warp(raft.tiny(2), first, second)
    assert warp.flow_p2hw.shape == (3, 2, 60, 64)
    expected = warping.warping_error(first / 255, second / 255, warp)
    torch.testing.assert_close(branch.forward(views)["curve"][0], expected)


def test_motion_that_flow_explains_scores_less_than_a_jump() -> None:
    first, second = (
        torch.from_numpy(picture).permute(2, 0, 1)[None].float()
        for picture in (frames(3, 96, 128)[number] for number in (0, 1))
    )
    jumped = second.clone()
    jumped[..., 30:60, 30:60] = second.flip(3)[..., 30:60, 30:60]
    errors = [
        warping.warping_error(first / 255, each / 255, pair_warp(dis_flow, first, each))
        for each in (second, jumped)
    ]
    assert float(errors[0]) < 0.2 * float(errors[1])


@torch.no_grad()
def test_depth_is_the_inverse_of_the_networks_map_at_the_pictures_size(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = depth_map.read(folder)
    assert capfd.readouterr() == ("", "")
    assert model.size == 256
    picture = torch.rand(2, 3, 50, 70) * 255
    square = torch.nn.functional.interpolate(picture / 127.5 - 1, size=(256, 256), mode="bilinear")
    inverse = model.network(pixel_values=square).predicted_depth
    assert inverse.shape == (2, 256, 256)
    fitted = torch.nn.functional.interpolate(inverse[:, None], size=(50, 70), mode="bilinear")
    found = model(picture)
    torch.testing.assert_close(1 / found, fitted[:, 0].clamp(0.01, 1e4))
    assert found.std() > 0
    assert found.max() <= 100


def test_the_spatial_score_is_depth_distortion_along_the_flow(folder: Path, tmp_path: Path) -> None:
    follow = raft.Raft(raft.LARGE)
    torch.save(follow.state_dict(), tmp_path / "raft.pth")
    text = f"spatial=depthpro:{folder}?pairs=2&side=64"
    plain = load_branch(BranchRequest.parse(text))
    better = load_branch(BranchRequest.parse(f"{text}&raft={tmp_path / 'raft.pth'}&iterations=1"))
    assert isinstance(plain, DepthScorer)
    first, second = made(plain, 64, 64)[0, :, :, :, :, :3].permute(1, 0, 4, 2, 3).float()
    with torch.no_grad():
        expected = warping.depth_distortion(
            plain.model(first), plain.model(second), pair_warp(dis_flow, first, second)
        )
    found = plain.forward(made(plain, 64, 64))["curve"][0]
    torch.testing.assert_close(found, expected)
    assert not torch.equal(better.forward(made(better, 64, 64))["curve"][0], found)
    assert plain.offer.fingerprint != better.offer.fingerprint
    assert "DIS" in str(plain.decides["flow"])


def test_the_fingerprint_follows_what_decides_the_numbers(folder: Path) -> None:
    texts = [
        MOTION,
        MOTION.replace("pairs=3", "pairs=4"),
        MOTION.replace("side=64", "side=128"),
        MOTION.replace("iterations=2", "iterations=3"),
        f"{MOTION}&dtype=float16",
        f"spatial=depthpro:{folder}?pairs=3&side=64",
        f"spatial=depthpro:{folder}?pairs=3&side=128",
        f"spatial=depthpro:{folder}?pairs=3&side=64&precision=bfloat16",
    ]
    found = [load_branch(BranchRequest.parse(text)) for text in texts]
    assert len({branch.offer.fingerprint for branch in found}) == len(texts)
    assert load_branch(BranchRequest.parse(MOTION)).offer.fingerprint == found[0].offer.fingerprint
    said = {str(branch.provenance["source"]) for branch in found}
    assert said == {"random numbers (tiny preset), no training", folder.name}


@pytest.mark.gpu
def test_on_cuda_a_view_gets_its_numbers_in_any_company() -> None:
    request = BranchRequest.parse(MOTION)
    cpu, cuda = load_branch(request), load_branch(replace(request, device="cuda"))
    assert cpu.offer.fingerprint == cuda.offer.fingerprint
    views = torch.cat([made(cpu, *size) for size in ((180, 320), (320, 180))]).cuda()
    found = cuda.forward(views)["curve"]
    torch.testing.assert_close(cuda.forward(views[1:])["curve"], found[1:])
    assert found.isfinite().all()


def test_half_precision_of_depth_is_near(folder: Path) -> None:
    text = f"spatial=depthpro:{folder}?pairs=2&side=64"
    exact, half = (
        load_branch(BranchRequest.parse(each)) for each in (text, f"{text}&precision=bfloat16")
    )
    views = made(exact, 64, 64)
    error = half.forward(views)["score"] / exact.forward(views)["score"] - 1
    assert abs(float(error)) < 0.1


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("motion=raft", "needs weights: motion=raft:PATH"),
        ("motion=raft:none.pth", "is not a file"),
        ("motion=raft-tiny:w.pth", "has random weights"),
        ("motion=raft-tiny?precision=bfloat16", "computes in float32"),
        ("motion=raft-tiny?iterations=0", "iterations=0: give 1 to 64"),
        ("motion=raft-tiny?side=100", "side='100' unknown; have: 64, 128"),
        ("motion=raft-tiny?raft=x", "has no option 'raft'"),
        ("motion=raft-large", "'raft-large' unknown; have: dis, raft, raft-tiny"),
        ("spatial=depthpro", "needs weights: spatial=depthpro:FOLDER"),
        ("spatial=depthpro:none", "none is no folder of a network"),
        ("spatial=depthpro:none?iterations=3", "give raft=PATH"),
        ("spatial=depthpro:none?raft=none.pth", "is not a file"),
        ("spatial=raft", "'raft' unknown; have: dis, depthpro"),
    ],
)
def test_what_they_refuse(text: str, match: str) -> None:
    if "depthpro:none" in text and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    with pytest.raises((BadSetting, BadWeights), match=match):
        load_branch(BranchRequest.parse(text))


def test_a_folder_that_lacks_weights_or_holds_another_network_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    config = (folder / "config.json").read_text()
    state = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadWeights, match="cannot be read as Depth Pro"):
        depth_map.read(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:3000])
    with pytest.raises(BadWeights, match=r"cannot be read as Depth Pro \(SafetensorError"):
        depth_map.read(tmp_path)
    name = next(name for name in state if name.startswith("head."))
    broken = {**state, name: state[name] * torch.nan}
    save_file(broken, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadWeights, match="not finite"):
        depth_map.read(tmp_path)
    del state[name]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadWeights, match=f"lacks weights of Depth Pro: {name}"):
        depth_map.read(tmp_path)
    wrong = config.replace('"patch_size": 64', '"patch_size": "x"')
    (tmp_path / "config.json").write_text(wrong)
    with pytest.raises(BadWeights, match=r"cannot be read as Depth Pro.*'patch_size'"):
        depth_map.read(tmp_path)
    (tmp_path / "config.json").write_text(config.replace('"depth_pro"', '"dinov2"'))
    with pytest.raises(BadWeights, match="holds a 'dinov2'"):
        depth_map.read(tmp_path)


def test_without_transformers_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name)
    )
    with pytest.raises(BadSetting, match=r"pip install '\.\[priors\]'"):
        depth_map.read(Path("none"))
