"""Checkpoint files of every kind of wrongness."""

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from extract.branch import BranchRequest, load_branch
from extract.errors import BadSetting, BadWeights
from extract.networks import weights
from extract.networks.weights import MADE_UP, RANDOM, given_or_shipped


def test_safetensors_zip_and_old_pickles_are_read(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.bin")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    hashes = set()
    for name in ("w.safetensors", "w.bin", "old.pth"):
        found = weights.read_state(tmp_path / name)
        assert torch.equal(found["a"], state["a"])
        hashes.add(weights.content_hash(found))
    assert len(hashes) == 1


def test_a_namespace_of_arguments_is_allowed(tmp_path: Path) -> None:
    args = argparse.Namespace(lr=1e-4, model="x")
    torch.save({"model": {"a": torch.ones(2)}, "epoch": 1, "args": args}, tmp_path / "w.pth")
    assert torch.equal(weights.read_state(tmp_path / "w.pth")["a"], torch.ones(2))


class Runs:
    """A pickle that would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.witness}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, *, zipped: bool) -> None:
    witness = tmp_path / "ran"
    torch.save(
        {"model": {"a": torch.ones(2)}, "evil": Runs(witness)},
        tmp_path / "w.pth", _use_new_zipfile_serialization=zipped,
    )  # fmt: skip
    with pytest.raises(BadWeights, match="never runs code"):
        weights.read_state(tmp_path / "w.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Runs(witness)))
    with pytest.raises(BadWeights):
        weights.read_state(tmp_path / "plain.pkl")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "is text"),
        (b"  <html>", "is text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "is text"),
        (b'{"error": "Entry not found"}', "is text"),
        (b"\x00\x01\x02\x03 rubbish", "is no checkpoint"),
        (b"PK\x03\x04 but not a zip", "cannot be read"),
        (b"\x80\x02 not a pickle", "refused|cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("w.pth", "w.bin"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadWeights, match=message):
            weights.read_state(tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_download_is_refused(tmp_path: Path, name: str, share: float) -> None:
    state = {"a": torch.randn(100, 100), "b": torch.randn(50)}
    path = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadWeights, match=r"cut off|refused"):
        weights.read_state(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(BadWeights, match="is not a file"):
            weights.read_state(path)


def test_what_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "note": "hello"}, tmp_path / "w.pth")
    with pytest.raises(BadWeights, match="no state dict of tensors"):
        weights.read_state(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "l.pth")
    with pytest.raises(BadWeights, match="no state dict of tensors"):
        weights.read_state(tmp_path / "l.pth")


def test_prefixes_that_collide_are_refused() -> None:
    state = {"encoder.a": torch.ones(1), "a": torch.ones(1)}
    with pytest.raises(BadWeights, match="both mean 'a'"):
        weights.without_prefix(state, ("encoder.",))


def test_the_hash_depends_on_names_shapes_types_and_every_number() -> None:
    state = {"a": torch.arange(4.0), "b": torch.ones(2)}
    base = weights.content_hash(state)
    assert base == weights.content_hash({"b": torch.ones(2), "a": torch.arange(4.0)})
    for other in (
        {"a": torch.arange(4.0), "c": torch.ones(2)},
        {"a": torch.arange(4.0).reshape(2, 2), "b": torch.ones(2)},
        {"a": torch.arange(4.0).double(), "b": torch.ones(2)},
        {"a": torch.tensor([0.0, 1, 2, 3.0000002]), "b": torch.ones(2)},
    ):
        assert weights.content_hash(other) != base


def test_seeded_weights_are_the_same_every_time() -> None:
    one, two, three = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(3, 4)
    weights.seeded(one, 1)
    weights.seeded(two, 1)
    weights.seeded(three, 2)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, three.weight)


@pytest.mark.parametrize("name", ["internvideo2", "depthpro"])
def test_tiny_presets_have_trained_weights_and_random_ones_on_request(name: str) -> None:
    trained, random = (
        load_branch(BranchRequest.parse(f"{name}=tiny{query}")) for query in ("", "?random=true")
    )
    path, source = given_or_shipped(name, "tiny", None)
    assert path is not None
    assert trained.provenance["source"] == source == MADE_UP
    assert random.provenance["source"] == RANDOM
    assert trained.offer.fingerprint != random.offer.fingerprint
    by_path = load_branch(BranchRequest.parse(f"{name}=tiny:{path}"))
    assert by_path.offer.fingerprint == trained.offer.fingerprint
    with pytest.raises(BadSetting, match=rf"random=true is for {name}=tiny without a path"):
        load_branch(BranchRequest.parse(f"{name}=tiny:{path}?random=true"))


def test_shipped_weights_are_small_and_say_what_made_them() -> None:
    files = [given_or_shipped(name, "tiny", None)[0] for name in ("internvideo2", "depthpro")]
    assert sum(path.stat().st_size for path in files if path) <= 6 * 2**20
    recipes = set()
    for path in files:
        assert path is not None
        with safe_open(path, "pt") as file:
            recipes.add(file.metadata()["recipe"])
            assert int(file.metadata()["rounds"]) > 0
            assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert len(recipes) == 1
