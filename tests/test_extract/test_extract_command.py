"""`telltale extract` as a user runs it: on one device, on several, and before anything is done."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from extract.manifest.manifest import Manifest
from features_store import Store
from heads.commands.main import main
from tests.test_extract.extractions import (
    assert_equal_stores,
    committed,
    extract,
    write_videos,
)

LIMIT = 120


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data", 12)


@pytest.fixture(scope="module")
def reference(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("reference") / "s"
    extract(manifest, store)
    return store


@pytest.fixture
def listing(manifest: Manifest) -> str:
    return "".join(f"{video.path}\n" for video in manifest.videos)


@pytest.fixture
def command(manifest: Manifest, tmp_path: Path) -> list[str]:
    return [
        "extract", str(manifest.root), "--store", str(tmp_path / "s"), "--branch",
        "internvideo2=tiny", "--workers", "2", "--shard-rows", "4",
    ]  # fmt: skip


Run = Callable[..., "Done"]


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process, which saves starting one; devices have theirs."""

    def call(command: list[str], *more: str, listing: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(listing))
        status = main([*command, *more])
        return Done(status, *capfd.readouterr())

    return call


def events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def assert_every_shard_once(found: list[dict[str, object]], store: Path) -> None:
    """Three shards of every group: twelve videos, four in each."""
    commits = [(event["branch"], event["shard"]) for event in found if event["event"] == "commit"]
    groups = [f"val/{group}" for group in Store.open(store).branches("val")]
    assert sorted(commits) == [(group, shard) for group in sorted(groups) for shard in range(3)]


def test_a_dry_run_writes_nothing(run: Run, command: list[str], tmp_path: Path) -> None:
    for more in (
        [],
        ["--device", "cpu,cpu"],
        ["--engine", "ray"],
        ["--engine", "ray", "--device", "cuda", "--runners", "4"],
    ):
        done = run(command, "--dry-run", "--part", "1/3", *more)
        assert done.status == 0, done.stderr
        assert "12 videos asked for, 4 to decode here" in done.stdout
        assert "enough" in done.stdout
        assert ("were not measured" in done.stdout) == ("cuda" in more)
        assert not (tmp_path / "s").exists()


def test_summary_log_and_list_of_failures(run: Run, command: list[str], tmp_path: Path) -> None:
    done = run(command, "--log", str(tmp_path / "log"))
    assert done.status == 3, done.stderr
    assert "11 videos, 1 failed" in done.stdout
    found = events(tmp_path / "log")
    assert [found[0]["event"], found[-1]["event"]] == ["start", "end"]
    assert_every_shard_once(found, tmp_path / "s")
    assert found[-1]["ok"] == 11
    rows = (tmp_path / "s.failures.csv").read_text().splitlines()
    assert len(rows) == 2
    assert "nothing to do" in run(command).stdout


def test_devices_share_a_list_on_standard_input(
    run: Run, command: list[str], listing: str, manifest: Manifest, reference: Path, tmp_path: Path
) -> None:
    command[1] = "-"
    more = ["--root", str(manifest.root), "--device", "cpu,cpu"]
    done = run(command, *more, "--log", str(tmp_path / "log"), listing=listing)
    assert done.status == 3, done.stderr
    assert done.stdout.count("12 videos asked for, 12 to do") == 1
    assert "11 videos, 1 failed" in done.stdout
    found = events(tmp_path / "log")
    assert [found[0]["event"], found[-1]["event"]] == ["start", "end"]
    assert_every_shard_once(found, tmp_path / "s")
    assert sum(event["event"] == "failed" for event in found) == 1
    assert (found[0]["videos"], found[-1]["ok"], found[-1]["left"]) == (12, 11, 0)
    assert len((tmp_path / "s.failures.csv").read_text().splitlines()) == 2
    ours, theirs = (Store.open(path) for path in (tmp_path / "s", reference))
    assert sorted(ours.videos.column("id").tolist()) == sorted(theirs.videos.column("id").tolist())


def test_devices_write_what_one_writes(
    run: Run, command: list[str], reference: Path, tmp_path: Path
) -> None:
    done = run(command, "--device", "cpu,cpu,cpu")
    assert done.status == 3, done.stderr
    assert_equal_stores(reference, tmp_path / "s")


def test_what_a_device_cannot_do_is_said_once_and_leaves_nothing(
    run: Run, command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_bytes(b"no weights")
    command[command.index("internvideo2=tiny")] = f"internvideo2=tiny:{tmp_path / 'weights.bin'}"
    done = run(command, "--device", "cpu,cpu")
    assert done.status == 1
    assert done.stderr.count("weights.bin") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
def test_ctrl_c_ends_tidily(
    run: Run, command: list[str], devices: str, reference: Path, tmp_path: Path
) -> None:
    """After the first commit, with most of the work still to do."""
    command[command.index("--workers") + 1] = "1"
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "heads", *command, "--device", devices, "--shard-rows", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + LIMIT
        while not committed(tmp_path / "s") and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
        if process.returncode == 130:
            break
        shutil.rmtree(tmp_path / "s")  # a busy machine: it was done already
    assert process.returncode == 130, (out, err)
    assert "run the same command again to go on" in out
    assert "Traceback" not in err
    status = Store.open(tmp_path / "s").open_branch("val", "internvideo2").status()
    assert 0 < (status > 0).sum() < 12
    assert f"stopped with {(status == 0).sum()} videos left" in out
    assert run(command, "--shard-rows", "1").status in (0, 3)
    ours, theirs = (Store.open(path) for path in (tmp_path / "s", reference))
    a, b = (store.table(["internvideo2/cls"]) for store in (ours, theirs))
    assert a.arrays["internvideo2/cls"].tobytes() == b.arrays["internvideo2/cls"].tobytes()


def test_mistakes_are_explained(run: Run, command: list[str], tmp_path: Path) -> None:
    mine = tmp_path / "labels.csv"
    mine.write_text("id,label\n")
    for wrong, said in (
        (["--part", "9/3"], "give 1/N to N/N"),
        (["--device", "cuda:7"], "this machine has 0 GPUs"),
        (["--engine", "ray", "--device", "cuda:1"], "give cpu or cuda, and their number by"),
        (["--branch", "dpth=tiny"], "'dpth' unknown; have: altfreezing, anatomy"),
        (["--protocol", "test-4"], "Protocol 'test-4' unknown"),
        (["--max-failed", "2"], "more than 0, at most 1"),
        (["--failures", str(mine)], "is no list of failed videos"),
    ):
        done = run(command, *wrong)
        assert done.status == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert mine.read_text() == "id,label\n"
    assert not (tmp_path / "s").exists()
