"""Heads that are not in the package: out of a file, or offered by another distribution."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from extract import errors as extract_errors
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
