"""What is shipped, and what the README promises."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ALLOWED = {
    "extract", "features_store", "heads", "benchmarks", "tests",
    "pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md",
}  # fmt: skip


def test_the_top_level_holds_what_the_design_says() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    top = {path.split("/")[0] for path in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED


def test_files_stay_readable() -> None:
    for package in ("extract", "features_store", "heads", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            lines = path.read_text().count("\n")
            assert lines <= 320, f"{path.relative_to(ROOT)} has {lines} lines"


def test_the_wheel_and_the_sdist_hold_the_three_packages(tmp_path: Path) -> None:
    build = pytest.importorskip("hatchling.build", reason="needs hatchling in the environment")
    import zipfile

    done = subprocess.run(
        [sys.executable, "-c", f"import hatchling.build as b; b.build_wheel({str(tmp_path)!r})"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert build
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("extract", "features_store", "heads"):
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readmes_example_prints_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for block in _blocks("python"):
        code = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            capture_output=True,
            text=True,
            check=False,
        )
        assert code.returncode == 0, code.stderr
    checked = 0
    for block in _blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            assert command.startswith("telltale "), command
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            assert done.stdout == expected, done.stderr
            checked += 1
    assert checked >= 3
