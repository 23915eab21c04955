"""SimMIM's transformer beside its golden files, which `benchmarks.parity` recomputes."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from extract.errors import BadWeights
from extract.networks import simmim, weights
from extract.networks.simmim import Architecture, SimMim

GOLDEN = Path(__file__).parents[1] / "golden" / "human-anomaly"
CHECKPOINT = GOLDEN / "ckpt29_tiny.pth"


def changed(path: Path, content: bytes) -> Path:
    """The checkpoint with another pickle in it."""
    with zipfile.ZipFile(CHECKPOINT) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, before in files.items():
            archive.writestr(entry, content if entry.endswith("data.pkl") else before)
    return path


def with_settings(path: Path, also: str) -> Path:
    """The checkpoint, which asks for another class beside its settings."""
    with zipfile.ZipFile(CHECKPOINT) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        program = archive.read(name)
    known = b"c__builtin__\nset\n"
    assert known in program
    module, _, what = also.rpartition(".")
    return changed(path, program.replace(known, f"c{module}\n{what}\n".encode()))


def test_a_checkpoint_with_its_settings_gives_its_network() -> None:
    state = weights.read_state(CHECKPOINT)
    assert simmim.architecture_of(state) == Architecture(image=32, width=16, depth=1, heads=2)


@pytest.mark.parametrize("also", ["os.system", "builtins.eval", "yacs.config.load_cfg"])
def test_a_checkpoint_that_asks_for_more_is_refused(tmp_path: Path, also: str) -> None:
    with pytest.raises(BadWeights, match="never runs code"):
        weights.read_state(with_settings(tmp_path / "ckpt29.pth", also))


def test_a_checkpoint_without_a_network_is_refused(tmp_path: Path) -> None:
    program = io.BytesIO()
    program.write(b"\x80\x02cyacs.config\nCfgNode\n)\x81.")
    path = changed(tmp_path / "ckpt29.pth", program.getvalue())
    with pytest.raises(BadWeights, match="no 'model'"):
        weights.read_state(path)


def test_a_tensor_outside_its_bytes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(CHECKPOINT) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        program = archive.read(name)
    width, longer = (pickle.dumps((number,), 2)[2:-3] for number in (16, 17))
    path = changed(tmp_path / "ckpt29.pth", program.replace(width, longer))
    with pytest.raises(BadWeights, match="cannot be read"):
        weights.read_state(path)


def test_another_index_of_positions_is_refused() -> None:
    state = load_file(GOLDEN / "vit_weights.safetensors")
    state["blocks.1.attn.relative_position_index"][3, 4] += 1
    with pytest.raises(BadWeights, match=r"blocks\.1\.attn\.relative_position_index is another"):
        simmim.from_state(state)


def test_weights_of_another_network_are_refused() -> None:
    state = load_file(GOLDEN / "vit_weights.safetensors")
    del state["blocks.2.gamma_1"]
    with pytest.raises(BadWeights, match=r"missing: blocks\.2\.gamma_1"):
        simmim.from_state(state)
    with pytest.raises(BadWeights, match="not SimMIM's transformer"):
        simmim.from_state({"cls_token": torch.zeros(1, 1, 4)})


def test_it_starts_as_the_released_training_does() -> None:
    model = SimMim(Architecture(image=32, width=192, depth=2, heads=3))
    model.start(0)
    model.requires_grad_(requires_grad=False)
    spread = {name: float(parameter.std()) for name, parameter in model.named_parameters()}
    assert spread["blocks.0.attn.qkv.weight"] == pytest.approx(0.02, rel=0.02)
    assert spread["blocks.1.attn.proj.weight"] == pytest.approx(0.01, rel=0.03)
    assert spread["blocks.1.mlp.fc2.weight"] == pytest.approx(0.01, rel=0.03)
    assert spread["head.weight"] == pytest.approx(2e-5, rel=0.15)
    assert not model.get_parameter("blocks.0.attn.relative_position_bias_table").any()
    biases = [name for name in spread if name.endswith("bias")]
    assert "head.bias" in biases
    assert not [name for name in biases if model.get_parameter(name).any()]


def test_stochastic_depth_scales_what_blocks_add() -> None:
    model, _ = simmim.from_state(load_file(GOLDEN / "vit_weights.safetensors"))
    images = torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    keep = torch.ones(3, 2, 2)
    torch.testing.assert_close(model.feature(images, keep), model.feature(images))
    keep[:, :, 0] = 0  # the first picture goes past all blocks
    embedded = model.pooled(model.embed(images))
    found = model.feature(images, keep)
    torch.testing.assert_close(found[0], embedded[0])
    torch.testing.assert_close(found[1], model.feature(images)[1])
