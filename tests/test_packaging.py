"""What is shipped, and what the README promises."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PACKAGES = ("extract", "features_store", "heads")
ALLOWED = {
    "extract", "features_store", "heads", "benchmarks", "tests",
    "pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md",
    "CONTRIBUTING.md",
}  # fmt: skip


def test_the_top_level_holds_what_the_design_says() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    top = {path.split("/")[0] for path in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED


def test_files_stay_readable() -> None:
    for package in (*PACKAGES, "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            lines = path.read_text().count("\n")
            assert lines <= 320, f"{path.relative_to(ROOT)} has {lines} lines"


def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    build = f"import hatchling.build; hatchling.build.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for package in PACKAGES:
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    for file in ("bundle.json", "head.safetensors", "rows.safetensors", "README.md"):
        assert f"heads/shipped/everyday/{file}" in names
    for branch in ("internvideo2", "depthpro"):
        assert f"extract/networks/tiny/{branch}-tiny.safetensors" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {*PACKAGES, "telltale_video"}
