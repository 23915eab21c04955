"""Tensors written one by one are what safetensors reads."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from features_store.errors import WriteFailed
from heads.finetuning.tensor_file import write_tensors

TENSORS = {
    "odd": torch.arange(3, dtype=torch.uint8),
    "half": torch.randn(3, 5).half(),
    "brain": torch.randn(7).bfloat16(),
    "turned": torch.randn(4, 6).mT,
    "none": torch.zeros(0, 2),
    "scalar": torch.tensor(2.5),
    "long": torch.tensor([2**40]),
    "double": torch.randn(2).double(),
    "yes": torch.tensor([True, False, True]),
    "int": torch.tensor([[1], [2]], dtype=torch.int32),
}


def test_safetensors_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.safetensors"
    write_tensors(path, TENSORS, {"telltale": "é"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"telltale": "é"}
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert list(path.parent.iterdir()) == [path]


def test_who_does_not_write_leaves_nothing(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", TENSORS, writes=False)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_tensors(path, TENSORS)
    old = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_tensors(path, {"here": torch.ones(2), "nowhere": torch.ones(2, device="meta")})
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteFailed, match="Make room"):
        write_tensors(tmp_path / "folder", TENSORS)
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "folder"]
