"""Heads that are not in the package: out of a file, or offered by another distribution."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from extract import errors as extract_errors
from features_store import Store
from heads.errors import BadSetting
from heads.head import head_class, use_head
from tests.test_heads.test_own_features import write

OWN = '''
"""The linear head under another name."""
from heads.zoo.linear import Linear


class Mine(Linear):
    """See the module."""

    name = "mine_alone"


HEAD = Mine
'''


def telltale(*arguments: str, cwd: Path, code: int = 0) -> str:
    """In a process of its own: a head of the user's is not known there by accident."""
    command = [sys.executable, "-m", "heads", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_head_from_a_file_trains_and_its_bundle_is_used_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "my_head.py").write_text(OWN)
    load = ["features", "import", "own.npz", "--name", "own", "--store", "s.zarr"]
    telltale(*load, "--videos", "videos.csv", "--scheme", "hfv2", cwd=tmp_path)
    train = ["train", "--store", "s.zarr", "--arrays", "own/signal", "--out", "b"]
    telltale(*train, "--head", "my_head.py:Mine", cwd=tmp_path)
    judge = ["evaluate", "b", "--store", "s.zarr"]
    said = telltale(*judge, cwd=tmp_path, code=1)
    assert "Head 'mine_alone' unknown" in said
    assert "telltale --plugin FILE.py" in said
    assert "mine_alone" in telltale("--plugin", "my_head.py", *judge, cwd=tmp_path)


def test_a_bundle_never_names_the_file(tmp_path: Path) -> None:
    """Loading a bundle must not run code that the bundle points at."""
    (tmp_path / "evil.py").write_text(OWN.replace("HEAD = Mine", "raise SystemExit('ran')"))
    with pytest.raises(BadSetting, match="unknown"):
        head_class(str(tmp_path / "evil.py"))
    with pytest.raises(extract_errors.BadSetting, match="is not there"):
        use_head("nowhere.py")


def test_an_entry_point_of_another_distribution_is_a_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[telltale.heads]\nborrowed = other_heads:Mine\n")
    (tmp_path / "other_heads.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert head_class("borrowed").name == "mine_alone"
    (info / "entry_points.txt").write_text("[telltale.heads]\nbroken = other_heads:OWN\n")
    with pytest.raises(extract_errors.BadSetting, match="cannot be loaded"):
        head_class("broken")
    (info / "entry_points.txt").write_text("[telltale.heads]\nnumber = other_heads:Linear.name\n")
    with pytest.raises(BadSetting, match="a subclass of"):
        head_class("number")


OWN_BRANCH = '''
"""How bright a view is, by a preparation of its own."""
import numpy as np
import torch

from extract.branch import Branch
from extract.decoding.job import Output
from features_store.schema import ArraySpec


def brightness(frames, views):
    return np.array([[frames[n].mean() for n in view.frames[:1]] for view in views], np.float32)


class Bright(Branch):
    name = "bright"

    def __init__(self, request):
        self.preset, self.precision = request.preset, request.computes_in
        self.device = torch.device(request.device)
        self.outputs = {"mean": ArraySpec(shape=(1,), dtype="float32")}
        self.prepare = Output(
            name="bright", function=f"{__file__}:brightness", shape=(1,), dtype="float32"
        )
        self.decides = {"revision": 1, "precision": self.precision}
        self.provenance = {"source": "no weights"}

    def compute(self, batch):
        return {"mean": batch}

    def example(self, count):
        return torch.rand(count, 1)


def load(request):
    return Bright(request)
'''


def test_a_branch_from_a_file_is_extracted_like_ours(tmp_path: Path) -> None:
    (tmp_path / "my_branch.py").write_text(OWN_BRANCH)
    telltale("synth", "--out", "made-up", "--videos", "8", cwd=tmp_path)
    extract = ["extract", "made-up", "--store", "s.zarr", "--branch", "my_branch.py=plain"]
    telltale(*extract, cwd=tmp_path)
    table = Store.open(tmp_path / "s.zarr").table(["bright/mean"])
    assert table.arrays["bright/mean"].shape == (8, 1, 1)
    assert (table.arrays["bright/mean"] > 1).all()
    assert "0 to do" in telltale(*extract, cwd=tmp_path)
    said = telltale(*extract[:-1], "nowhere.py=plain", cwd=tmp_path, code=1)
    assert "nowhere.py is not there" in said
