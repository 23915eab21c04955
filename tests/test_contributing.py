"""CONTRIBUTING.md is true: its branch and its head are followed to the letter, in a copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
COPIED = ("extract", "features_store", "heads", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the two files of the guide in them."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, folder)
    blocks = re.findall(r"Save it as\s+`(\S+\.py)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL)
    assert [name for name, _ in blocks] == ["extract/branches/flicker.py", "heads/zoo/centroid.py"]
    for name, text in blocks:
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    return folder


def python(copy: Path, *arguments: str, cwd: Path | None = None) -> str:
    """In the copy, and only there: an installed Telltale must not be found first."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd or copy, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_examples_pass_the_contract_suites(copy: Path) -> None:
    commands = re.findall(r"^ {4}\.venv/bin/pytest (tests/contracts.*)$", GUIDE, re.MULTILINE)
    suites = [command.split()[0] for command in commands]
    names = [command.split()[-1] for command in commands]
    assert names == ["flicker", "centroid"]
    printed = python(copy, "-m", "pytest", "-q", *suites, "-k", " or ".join(names))
    assert int(re.findall(r"(\d+) passed", printed)[0]) > 20


def test_the_examples_keep_the_style(copy: Path) -> None:
    python(copy, "-m", "ruff", "check", "extract/branches/flicker.py", "heads/zoo/centroid.py")
    python(copy, "-m", "ruff", "format", "--check", "extract/branches", "heads/zoo")


def test_its_commands_go_from_videos_to_figures(copy: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
    lines = block.splitlines()
    assert all(line.startswith("$ telltale ") for line in lines)
    commands = [line.split()[2:] for line in lines]
    each = f"for words in {commands}: assert main(words) == 0"
    printed = python(copy, "-c", f"from heads.commands.main import main\n{each}", cwd=tmp_path)
    assert "flicker-tiny" in printed
    assert "accuracy" in printed.lower()
