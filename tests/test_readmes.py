"""Every command of every README is one that exists; those that need no weights are run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from heads.commands.main import build_parser
from tests.test_features_store.test_cli import here

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "extract", "features_store", "heads", "heads/shipped", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
    if path.name != "CHANGELOG.md"
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```|((?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """(kind, text) of every code block; an indented one has no kind."""
    text = (ROOT / page).read_text()
    return [(found[1] or "", found[2] or found[3]) for found in _BLOCK.finditer(text)]


def commands(text: str) -> list[str]:
    """The lines that begin with `telltale`, a continued line as one."""
    whole = re.sub(r"\\\n\s*", "", text)
    lines = [line.strip().removeprefix("$ ") for line in whole.split("\n")]
    return [line for line in lines if line.startswith("telltale ")]


def words(command: str) -> list[str]:
    """As a shell splits them, without a comment."""
    return shlex.split(command, comments=True)


PRINTED = sorted(
    {(page, line) for page in PAGES for _, text in blocks(page) for line in commands(text)}
)


@pytest.mark.parametrize(("page", "line"), PRINTED)
def test_what_is_printed_can_be_typed(page: str, line: str) -> None:
    assert "…" not in line, f"{page}: nobody can type an ellipsis"
    parsed = build_parser().parse_args(words(line)[1:])
    assert callable(parsed.run)


RUN = ("sh", "python", "console")
RUNNABLE = [  # what CONTRIBUTING.md shows are files, which a test of their own puts in place
    page
    for page in PAGES
    if page != "CONTRIBUTING.md" and any(kind in RUN for kind, _ in blocks(page))
]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", RUNNABLE)
def test_a_page_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sh` and `python` blocks end well; a `console` block prints what it says. Those are commands
    of a shell; the others run in this process, without the seconds that libraries take to load."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, page, "exec"), {"__name__": "__main__"})
        elif kind == "sh":
            for line in commands(text):
                here(*words(line)[1:])
        elif kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, expected = part.partition("\n")
                assert run(words(command)) == expected


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_the_first_page_is_one_read() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
