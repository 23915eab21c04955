"""The `telltale` command itself: help, version, doctor, errors."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from features_store import TelltaleError
from heads.commands import doctor
from heads.commands import main as cli
from heads.commands.guide import GROUPS
from tests.test_features_store.test_cli import here, telltale


def test_help_and_version() -> None:
    printed = telltale("--help")
    assert "store: what the networks say, kept\n  extract  " in printed
    assert telltale() == printed
    assert telltale("--version") == f"telltale {version('telltale-video')}\n"
    assert "verify" in telltale("store", "--help")


def test_every_command_is_in_one_group_and_its_examples_parse() -> None:
    parser = cli.build_parser()
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(parser.told)
    for name in grouped:
        printed = here(name, "--help")
        for line in (line for names in GROUPS.values() for line in names.get(name, ())):
            assert f"\n  {line}\n" in f"{printed}\n"
            command, _, _ = line.partition(" > ")
            parsed = parser.parse_args(shlex.split(command)[1:])
            assert callable(parsed.run)


def test_errors_name_what_is_near() -> None:
    assert "command 'scor' is unknown; did you mean 'score'?" in here("scor", expect=2)
    assert "usage: telltale heads" in here("heads", "--sett", expect=2)
    said = here("train", "--store", "s", "--out", "o", "--hed", "x", expect=2)
    assert "unrecognized arguments: --hed x; did you mean '--head'?" in said
    assert "unknown; have: bash, zsh, fish" in here("completion", "x", expect=2)


def test_help_shows_defaults_and_survives_a_terminal_without_utf8() -> None:
    assert "(default: runs/demo)" in here("demo", "--help")
    command = [sys.executable, "-m", "heads", "extract", "--help"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert b"\\u" in done.stdout
    assert not done.stderr


def test_completion_is_a_script_that_knows_the_commands() -> None:
    assert "import-checkpoint" in here("completion", "bash")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from heads.commands.main import build_parser; build_parser().format_help(); "
        "print([m for m in ('torch', 'zarr', 'numpy', 'h5py', 'av', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['numpy']\n"


def test_the_store_needs_neither_torch_nor_zarr() -> None:
    code = (
        "import sys, features_store; "
        "print([m for m in ('torch', 'zarr', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_doctor_says_what_is_here_and_how_to_get_the_rest() -> None:
    printed = telltale("doctor")
    assert "ok        torch" in printed
    assert "features_store   " in printed
    assert "All that is needed is here." in printed


def test_doctor_tells_missing_from_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = doctor.Part(
        title="x", module="x_absent", distribution="x-absent", needed_for="extract", install="get x"
    )
    assert doctor.look_at(absent).state == "missing"
    assert "for extract: get x" in doctor.look_at(absent).detail

    info = tmp_path / "x_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x-broken\nVersion: 1.0\n")
    (tmp_path / "x_broken.py").write_text("raise RuntimeError('operator does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = doctor.Part(
        title="x", module="x_broken", distribution="x-broken", needed_for="extract", install="get x"
    )
    finding = doctor.look_at(broken)
    assert finding.state == "broken"
    assert "1.0 does not import (RuntimeError: operator does not exist); get x" in finding.detail
    monkeypatch.setattr(doctor, "PARTS", (absent, broken))
    assert doctor.run(argparse.Namespace()) == 1


def test_a_strangers_package_of_that_name_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "telltale-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telltale\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "PARTS", ())
    assert doctor.run(argparse.Namespace()) == 1
    assert "pip uninstall telltale" in capsys.readouterr().out


def test_no_message_or_page_advises_a_strangers_package() -> None:
    root = Path(cli.__file__).parents[2]
    advice = re.compile(r"pip install[^\n]*[ '\"]here(\[|'|\"| |$)")
    for pattern in ("*.py", "*.md", "*.toml", "*.html"):
        for path in root.rglob(pattern):
            if not {".venv", ".git", "tests"} & set(path.relative_to(root).parts):
                assert not advice.search(path.read_text()), path


def test_packages_from_two_places_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    doctor.check_packages_belong_together()
    place = doctor.package_place
    monkeypatch.setattr(
        doctor, "package_place", lambda n: Path("/other/extract") if n == "extract" else place(n)
    )
    with pytest.raises(TelltaleError, match="extract from /other/extract"):
        doctor.check_packages_belong_together()


def test_unexpected_errors_are_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(doctor, "run", broken)
    assert cli.main(["doctor"]) == 1
    assert "ZeroDivisionError: by zero (not an error that Telltale expects" in (
        capsys.readouterr().err
    )
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "doctor"])


def test_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupted)
    assert cli.main(["doctor"]) == 130
    assert "run the same command again" in capsys.readouterr().err
