"""TorchScript archives: their numbers are read, nothing in them runs."""

import os
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from extract.errors import BadWeights
from extract.networks import torchscript, weights

CLIP = Path(__file__).parent.parent / "golden" / "priors" / "clip.pt"


def test_an_archive_has_the_tensors_that_torch_finds_in_it() -> None:
    with warnings.catch_warnings(action="ignore"):  # torch.jit is deprecated
        program = torch.jit.load(CLIP, map_location="cpu")  # type: ignore[no-untyped-call]
    wanted = program.state_dict()
    found = weights.read_state(CLIP)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_only_archives_of_programs_are_taken_for_one(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_text("PK")
    assert torchscript.is_archive(CLIP)
    assert not torchscript.is_archive(tmp_path / "plain.pt")
    assert not torchscript.is_archive(tmp_path / "text.pt")


def changed(path: Path, name: str, content: bytes | None) -> Path:
    """CLIP's archive with one file replaced or left out."""
    with zipfile.ZipFile(CLIP) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, before in files.items():
            after = content if entry == f"clip/{name}" else before
            if after is not None:
                archive.writestr(entry, after)
    return path


class Runs:
    """A pickle that would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.witness}'",)


def test_an_archive_with_other_code_is_refused_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    path = changed(tmp_path / "w.pt", "data.pkl", pickle.dumps(Runs(witness), protocol=2))
    with pytest.raises(BadWeights, match=r"asks for posix\.system.*never runs code"):
        weights.read_state(path)
    assert not witness.exists()


def test_the_program_is_not_looked_at(tmp_path: Path) -> None:
    path = changed(tmp_path / "w.pt", "code/__torch__.py", b"raise SystemExit")
    assert set(weights.read_state(path)) == set(weights.read_state(CLIP))


@pytest.mark.parametrize(
    ("name", "content"),
    [("data/3", None), ("data/3", b"\0\0"), ("data.pkl", b"\x80\x02}."), ("data.pkl", b"\x80\x02"),
     ("data.pkl", None)],
)  # fmt: skip
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    with pytest.raises(BadWeights, match=r"cannot be read|refused|no state dict"):
        weights.read_state(changed(tmp_path / "w.pt", name, content))


def test_a_truncated_archive_and_a_flipped_bit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(CLIP.read_bytes()[:60_000])
    with pytest.raises(BadWeights, match=r"cut off|refused"):
        weights.read_state(path)
    shutil.copyfile(CLIP, path)
    with zipfile.ZipFile(CLIP) as archive:
        offset = archive.getinfo("clip/data/3").header_offset + 100
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadWeights, match="cannot be read"):
        weights.read_state(path)
