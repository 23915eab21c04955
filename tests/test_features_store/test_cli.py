"""`telltale store …` as a user runs it."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from features_store import Store
from heads.commands.main import main
from tests.test_features_store import samples

BRANCH = f"{samples.PROTOCOL}/{samples.SPEC.group}"


def telltale(*arguments: str | Path, expect: int = 0) -> str:
    """Run the command in a process of its own; everything it printed."""
    command = [sys.executable, "-W", "error", "-m", "heads", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == expect, printed
    assert "Traceback" not in printed
    return printed


def here(*arguments: str | Path, expect: int = 0) -> str:
    """The same in this process, without the seconds that libraries take to load."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            status: int | str | None = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # of --help, and of words that nobody knows
            status = ended.code or 0
    assert status == expect, printed.getvalue()
    assert "Traceback" not in printed.getvalue()
    return printed.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    samples.full_store(tmp_path / "s", videos=11, shard_rows=4)
    return tmp_path / "s"


def test_info_and_ls(store: Path) -> None:
    printed = telltale("store", "info", store)
    assert "11 videos (hfv4): 3 appearance, 3 spatial, 3 motion, 2 real" in printed
    assert "internvideo2-tiny@3f9c1a2b  9 ok, 2 failed" in printed
    assert "cls          float16[2, 6]" in printed
    info = json.loads(telltale("store", "info", store, "--json"))
    assert info["protocols"][samples.PROTOCOL][0]["failed"] == 2
    assert f"{BRANCH}/depth\tfloat32[3]\t9 ok, 2 failed" in telltale("store", "ls", store)


def test_damage_is_found_repaired_and_computed_again(store: Path) -> None:
    assert here("store", "verify", store) == "no damage\n"
    chunk = store / BRANCH / "cls/c.1.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    (store / BRANCH / "depth/zarr.json").write_text("{}")
    printed = here("store", "verify", store, expect=3)
    assert f"{chunk}: 99 bytes instead of 100 (shard 1)" in printed
    assert "depth/zarr.json: not a metadata document" in printed
    assert "2 damaged" in printed
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    printed = here("store", "repair", store, "--dry-run")
    assert "(shard 1): would be marked missing" in printed
    assert "depth/zarr.json: not a metadata document of Telltale: would be restored" in printed
    assert f"{BRANCH}: 4 videos in 1 shards would have to be extracted again" in printed
    assert "nothing changed" in printed
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    printed = here("store", "repair", store)
    assert "marked missing; extract again" in printed
    assert f"{BRANCH}: 4 videos in 1 shards have to be extracted again" in printed
    assert "2 repaired, 0 left" in printed
    assert here("store", "verify", store) == "no damage\n"
    assert "4 missing" in here("store", "info", store)


def test_repair_goes_on_until_all_that_a_lost_document_hid_is_in_sight(store: Path) -> None:
    (store / BRANCH / "zarr.json").unlink()
    (store / BRANCH / "cls/c.1.0.0").unlink()
    printed = here("store", "repair", store)
    assert "zarr.json: the file is missing: restored from its second copy" in printed
    assert "c.1.0.0: the file is missing (shard 1): marked missing" in printed
    assert here("store", "verify", store) == "no damage\n"


def test_what_cannot_be_repaired_is_said(store: Path) -> None:
    (store / "videos/id/c.0").write_bytes(b"")
    printed = here("store", "repair", store, expect=1)
    assert "cannot be repaired" in printed
    assert "0 repaired, 1 left" in printed


def test_gc_removes_old_leftovers_and_named_branches_alone(store: Path) -> None:
    before = samples.contents(Store.open(store))
    old, young = store / BRANCH / "cls/.x.1.ab.partial", store / ".y.2.cd.partial"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    assert f"would remove {BRANCH}/cls/.x.1.ab.partial" in here("store", "gc", store, "--dry-run")
    assert old.exists()
    assert "removed 0 branches, 1 leftovers" in here("store", "gc", store)
    assert not old.exists()
    assert young.exists()
    assert samples.contents(Store.open(store)) == before
    printed = here("store", "gc", store, "--branch", "test-2x1/internvideo2", expect=1)
    assert "Give PROTOCOL/BRANCH in full" in printed
    assert samples.contents(Store.open(store)) == before
    here("store", "gc", store, "--branch", BRANCH)
    assert not (store / BRANCH).exists()


def test_export_and_import(store: Path, tmp_path: Path) -> None:
    printed = here("store", "export", store, tmp_path / "s.h5")
    assert "s.h5: " in printed
    assert "11 videos" in here("store", "import", tmp_path / "s.h5", tmp_path / "copy")
    assert samples.contents(Store.open(tmp_path / "copy")) == samples.contents(Store.open(store))
    (tmp_path / "s.h5").write_text("another's")
    printed = here("store", "export", store, tmp_path / "s.h5", expect=1)
    assert "did not make it, or it was changed since" in printed


@pytest.mark.parametrize("action", ["info", "ls", "verify", "repair", "gc"])
def test_what_is_no_store_is_one_line(tmp_path: Path, action: str) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        (tmp_path / "some file").write_text("x")
        printed = here("store", action, path, expect=1)
        assert printed.startswith("telltale: ")
        assert printed.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(store: Path) -> None:
    shell = f"{sys.executable} -m heads store ls {store} | true; echo ${{PIPESTATUS[0]}}"
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run([bash, "-c", shell], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "0\n"
