"""What a power cut can lose: the order in which files reach the disk.

No kill shows it, for what was written stays in the page cache. So the calls themselves are
recorded: write < fsync < rename < fsync of the folder, and data before its record.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features_store import Store, commit, shard_writer
from features_store.commit import TEMPORARY_SUFFIX
from tests.data.make_store import FORMATS, store_of
from tests.test_features_store import samples

BRANCH = f"{samples.PROTOCOL}/{samples.SPEC.group}"


@dataclass(slots=True)
class Calls:
    """What was asked of the operating system: (call, path), in order."""

    made: list[tuple[str, str]] = field(default_factory=list)
    open: dict[int, str] = field(default_factory=dict)

    def of(self, name: str, within: Callable[[str], bool] = lambda path: True) -> list[int]:
        return [
            at for at, (call, path) in enumerate(self.made) if call == name and within(path)
        ]  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    seen = Calls()
    real: dict[str, Any] = {
        name: getattr(os, name) for name in ("open", "close", "writev", "fsync", "link", "mkdir")
    }
    replace, mkdir = Path.replace, Path.mkdir

    def record(name: str, path: object) -> None:
        seen.made.append((name, str(path)))

    def open_(path: Any, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 (as os has it)
        descriptor = int(real["open"](path, *arguments, **options))
        seen.open[descriptor] = str(path)
        return descriptor

    def close(descriptor: int) -> None:
        seen.open.pop(descriptor, None)
        real["close"](descriptor)

    def writev(descriptor: int, buffers: Any) -> int:  # noqa: ANN401 (as os has it)
        record("write", seen.open[descriptor])
        return int(real["writev"](descriptor, buffers))

    def fsync(descriptor: int) -> None:
        record("fsync", seen.open[descriptor])
        real["fsync"](descriptor)

    def link(source: Any, target: Any) -> None:  # noqa: ANN401 (as os has it)
        record("rename", target)
        real["link"](source, target)

    def replace_(path: Path, target: Path) -> Path:
        record("rename", target)
        return replace(path, target)

    def mkdir_(path: Path, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        record("mkdir", path)
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "close", close)
    monkeypatch.setattr(os, "writev", writev)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "replace", replace_)
    monkeypatch.setattr(Path, "mkdir", mkdir_)
    return seen


def temporary_of(path: str) -> Callable[[str], bool]:
    folder, name = path.rsplit("/", 1)
    return lambda found: found.startswith(f"{folder}/.{name}.") and found.endswith(TEMPORARY_SUFFIX)


def assert_durable(calls: Calls, path: str, *, beside_others: bool = False) -> int:
    """The file reached the disk in the right order; when its folder did comes back. Chunks of a
    shard may be written side by side with others of it."""
    written = calls.of("write", temporary_of(path))
    flushed = calls.of("fsync", temporary_of(path))
    renamed = calls.of("rename", lambda found: found == path)
    folder = calls.of("fsync", lambda found: found == path.rsplit("/", 1)[0])
    assert written, path
    assert flushed, path
    assert renamed, path
    assert max(written) < min(flushed) < min(renamed)
    after = [at for at in folder if at > min(renamed)]
    assert after, f"the folder of {path} is not flushed"
    # Nothing else is renamed before this file's name is on the disk.
    between = [at for at in calls.of("rename") if min(renamed) < at < min(after)]
    assert beside_others or not between
    return min(after)


@pytest.mark.parametrize("replaces", [True, False])
def test_a_file_is_flushed_before_its_name_and_its_name_before_anything_else(
    tmp_path: Path, calls: Calls, *, replaces: bool
) -> None:
    path = tmp_path / "a/b/file"
    assert commit.write_file(path, [b"one", b"two"], replace=replaces)
    assert path.read_bytes() == b"onetwo"
    assert_durable(calls, str(path))
    made = [name for call, name in calls.made if call == "mkdir"]
    assert made == [str(tmp_path / "a"), str(tmp_path / "a/b")]
    for folder in made:  # a folder's own name too, before there is something in it
        at = calls.made.index(("mkdir", folder))
        assert calls.made[at + 1] == ("fsync", str(Path(folder).parent))


def test_data_are_on_the_disk_before_the_record_that_speaks_of_them(
    tmp_path: Path, calls: Calls
) -> None:
    branch = samples.new_store(tmp_path / "s", 4).branch(
        samples.PROTOCOL, samples.SPEC, shard_rows=4
    )
    calls.made.clear()
    samples.write(branch, 0)
    folder = f"{tmp_path}/s/{BRANCH}"
    data = [assert_durable(calls, f"{folder}/{name}", beside_others=True) for name in
            ("cls/c.0.0.0", "depth/c.0.0", "error/c.0")]  # fmt: skip
    record = calls.of("rename", lambda path: path == f"{folder}/status/c.0")
    assert len(record) == 1
    assert max(data) < record[0] < assert_durable(calls, f"{folder}/status/c.0")


def test_a_committed_shard_names_new_chunks_before_they_come(tmp_path: Path, calls: Calls) -> None:
    branch = samples.new_store(tmp_path / "s", 4).branch(
        samples.PROTOCOL, samples.SPEC, shard_rows=4
    )
    samples.write(branch, 0, only=[0])
    calls.made.clear()
    samples.write(branch, 0)
    folder = f"{tmp_path}/s/{BRANCH}"
    begun, done = calls.of("rename", lambda path: path == f"{folder}/status/c.0")
    flushed = calls.of("fsync", lambda path: path == f"{folder}/status")
    first = calls.of("rename", lambda path: path == f"{folder}/cls/c.0.0.0")
    assert begun < flushed[0] < first[0] < done


def test_videos_are_on_the_disk_before_their_number(tmp_path: Path, calls: Calls) -> None:
    store = samples.new_store(tmp_path / "s", 0)
    calls.made.clear()
    store.add_videos(samples.video_columns(0, 3))
    table = f"{tmp_path}/s/videos"
    begun, done = calls.of("rename", lambda path: path == f"{table}/zarr.json")
    for name in ("id", "label", "rank"):
        chunk = [
            at for at, made in enumerate(calls.made) if made == ("rename", f"{table}/{name}/c.0")
        ]
        assert begun < chunk[0] < assert_durable(calls, f"{table}/{name}/c.0") < done


def test_a_finished_file_is_flushed_before_it_gets_its_name(tmp_path: Path, calls: Calls) -> None:
    draft = tmp_path / "draft"
    draft.write_bytes(b"x")
    commit.publish(draft, tmp_path / "file")
    assert [call for call, _ in calls.made] == ["fsync", "rename", "fsync"]
    assert [path for _, path in calls.made] == [
        str(draft), str(tmp_path / "file"), str(tmp_path)
    ]  # fmt: skip


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.mark.parametrize("version", FORMATS)
@pytest.mark.parametrize("at", range(1, 6))
def test_a_retry_killed_anywhere_leaves_no_failure_without_its_reason(
    tmp_path: Path, at: int, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store_of(version), tmp_path / "s")
    branch = Store.open(tmp_path / "s").branch("val", samples.SPEC, shard_rows=4)
    arrays = {
        name: np.stack([samples.numbers(name, row) for row in range(4)])
        for name in samples.SPEC.arrays
    }
    branch.write_shard(0, arrays, np.array([2, 2, 2, 1], np.uint8), {0: "a", 1: "b", 2: "c"})
    real, left = commit.write_file, at

    def mortal(*arguments: Any, **options: Any) -> bool:  # noqa: ANN401 (as write_file has it)
        nonlocal left
        left -= 1
        if not left:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(commit, "write_file", mortal)
    with pytest.raises(Killed):
        branch.write_shard(0, arrays, np.array([1, 2, 0, 0], np.uint8), {1: "b again"})
    monkeypatch.undo()
    found = Store.open(tmp_path / "s").open_branch("val", "internvideo2")
    assert found.status()[[2, 3]].tolist() == [2, 1]  # what the retry had nothing to do with
    assert found.status()[1] == 2  # nor is it lost that a video failed which fails again
    reasons = found.errors()
    assert reasons[2] == "c"
    assert all(reasons.values())
    assert np.array_equal(found.read_shard(0).parts["cls"][3], arrays["cls"][3])
    branch.write_shard(0, arrays, np.array([1, 2, 0, 0], np.uint8), {1: "b again"})
    assert found.errors() == {1: "b again", 2: "c"}
    assert found.status()[:4].tolist() == [1, 2, 2, 1]


def test_failures_that_are_told_again_are_not_written_again(tmp_path: Path, calls: Calls) -> None:
    """A writer that is killed between two records leaves its own behind; here it has none."""
    store = samples.full_store(tmp_path / "s")
    branch = store.branch(samples.PROTOCOL, samples.SPEC, shard_rows=4)
    shards = range(3)
    assert any(samples.failed(row) for row in range(11))
    calls.made.clear()
    for shard in shards:
        samples.write(branch, shard)
    assert not calls.of("rename")


@pytest.mark.parametrize("at_once", [1, 4])
def test_chunks_that_are_written_side_by_side_are_all_there_before_the_record(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(shard_writer, "AT_ONCE", at_once)
    write_file = commit.write_file

    def slowly(path: Path, *arguments: Any, **options: Any) -> bool:  # noqa: ANN401
        if "depth" in str(path):
            time.sleep(0.05)  # the last one to come
        return write_file(path, *arguments, **options)

    monkeypatch.setattr(commit, "write_file", slowly)
    samples.full_store(tmp_path / "s", videos=4)
    renamed = [path for call, path in calls.made if call == "rename" and "/c." in path]
    assert "/status/" in renamed[-1]
    assert len(renamed) == len(set(renamed)) >= 4
