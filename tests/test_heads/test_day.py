"""A trust-and-safety engineer's day: an inbox that grows, two watchers on it that are killed again
and again, and in the evening every verdict is found with what made it and why.

Files are texts and features are made of them, so that a day takes seconds; what watches, writes,
claims, resumes and explains is the real command in processes of its own.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from heads.bundle import Bundle
from heads.commands.main import main
from heads.scoring import run as run_module
from heads.scoring import watch as watch_module
from heads.scoring.output import read_about
from heads.scoring.versions import version
from tests.test_heads import archives
from tests.test_heads.archives import FakeRun, branches, fill, rows, scorer

LIMIT = 60.0
"""Seconds after which a watcher counts as hanging."""
HUGE = 10**6
"""Bytes that are too many here."""
SEED = 3


def features(path: str, branch: str) -> tuple[dict[str, object], str]:
    """As `archives` makes them, with a limit to the size of a file."""
    if os.path.exists(path) and os.stat(path).st_size > HUGE:  # noqa: PTH110, PTH116
        return {}, f"the file has more than {HUGE:,} bytes"
    return REAL(path, branch)  # type: ignore[return-value]


REAL = archives.features


def faked(patch: pytest.MonkeyPatch) -> None:
    """Networks and decoders of this process are made of texts. What a killed process wrote the
    kernel still has, so nothing waits for a disk."""
    patch.setattr(os, "fsync", lambda _: None)
    patch.setattr(archives, "features", features)
    for place in (run_module, watch_module):
        patch.setattr(place, "runner", lambda *_, **__: FakeRun())
    patch.setattr(run_module, "find_branches", lambda *_: list(branches()))


def watch_in_child(inbox: str, bundle: str, out: str) -> None:
    faked(pytest.MonkeyPatch())
    command = ["score", inbox, "--bundle", bundle, "--out", out, "--watch", "0.05"]
    os._exit(main(command))


@dataclass
class Watcher:
    """One machine's, on the shared folder."""

    inbox: Path
    bundle: Path
    out: Path
    killed: int = 0
    _process: ForkServerProcess | None = field(default=None)

    def start(self) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__])
        arguments = (str(self.inbox), str(self.bundle), str(self.out))
        self._process = context.Process(target=watch_in_child, args=arguments)
        self._process.start()

    def work(self) -> None:
        """Until it has written something more, or has nothing left to do."""
        before = len(self.lines())
        wait_until(lambda: len(self.lines()) > before or not self.missing())

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.join()
        self.killed += self._process.exitcode == -signal.SIGKILL

    def end(self) -> None:
        """Ctrl-C in the evening, once it knows all that is there."""
        assert self._process is not None
        assert self._process.pid is not None
        wait_until(lambda: not self.missing())
        os.kill(self._process.pid, signal.SIGINT)
        self._process.join(LIMIT)
        assert self._process.exitcode == 0

    def lines(self) -> list[dict[str, object]]:
        """Whole ones."""
        if not self.out.exists():
            return []
        *whole, _ = self.out.read_text().split("\n")
        return [json.loads(line) for line in whole]

    def missing(self) -> set[str]:
        """Files whose present version has no line."""
        known = {(row["id"], row["size"], row["modified"]) for row in self.lines()}
        return {name for name, which in present(self.inbox).items() if (name, *which) not in known}


def present(inbox: Path) -> dict[str, tuple[int | None, str | None]]:
    files = [path for path in inbox.rglob("*") if path.is_file()]
    return {path.relative_to(inbox).as_posix(): version(str(path)) for path in files}


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < end, "a watcher hangs"
        time.sleep(0.01)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    made = scorer().bundle
    about = replace(
        made.about, config={"epochs": 1}, provenance={"detector": "humansam"},
        branches={name: f"{name}=tiny?random=false" for name in ("internvideo2", "depthpro")},
    )  # fmt: skip
    Bundle(made.head, about).save(tmp_path / "b")
    return tmp_path / "b"


def test_a_day(
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inbox, chance = tmp_path / "in", random.Random(SEED)
    fill(inbox, {"a.mp4": "a", "b.mp4": "b", "old.mp4": "renamed later"})
    watchers = [Watcher(inbox, bundle, tmp_path / f"{name}.jsonl") for name in ("one", "two")]

    def huge() -> None:
        with (inbox / "huge.mp4").open("wb") as file:
            file.truncate(2 * HUGE)

    events: list[Callable[[], object]] = [
        lambda: fill(inbox, {"sub/c.mp4": "c", "broken.mp4": "broken"}),
        lambda: fill(inbox, {"a.mp4": "another a"}),
        lambda: (inbox / "old.mp4").rename(inbox / "new.mp4"),
        lambda: fill(inbox, {"copy of b.mp4": "b", "=1+1.mp4": "formula"}),
        huge,
        lambda: fill(inbox, {"b.mp4": "broken"}),
    ]
    for watcher in watchers:
        watcher.start()
    for number, event in enumerate(events):
        time.sleep(chance.uniform(0, 0.3))
        event()
        if number % 2:
            continue
        unlucky = chance.choice(watchers)
        if chance.random() < 0.5:
            unlucky.work()
        unlucky.kill()
        unlucky.start()
    wait_until(lambda: not watchers[0].missing())
    command = ["score", str(inbox), "--bundle", str(bundle), "--watch", "1", "--out"]
    assert main([*command, str(watchers[0].out)]) == 1  # two on one file
    assert "another process writes this" in capsys.readouterr().err
    for watcher in watchers:
        watcher.end()
    assert sum(watcher.killed for watcher in watchers) == len(events) // 2
    audited(watchers, tmp_path, monkeypatch, capsys)


def audited(
    watchers: list[Watcher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every verdict is there once, is the one that the file gets by itself, and says why."""
    inbox, bundle = watchers[0].inbox, watchers[0].bundle
    faked(monkeypatch)
    whole = tmp_path / "whole.parquet"
    assert main(["score", str(inbox), "--bundle", str(bundle), "--out", str(whole)]) == 3
    expected = rows(whole)
    content = Bundle.load(bundle).content
    for watcher in watchers:
        lines = watcher.lines()
        assert len({(row["id"], row["size"], row["modified"]) for row in lines}) == len(lines)
        found = rows(watcher.out)
        assert found.keys() - {"old.mp4"} == expected.keys() == present(inbox).keys()
        for name, row in expected.items():
            for what in ("size", "modified", "verdict", "error"):
                assert found[name][what] == row[what], (name, what)
            if row["forgery"] is not None:
                assert found[name]["forgery"] == pytest.approx(row["forgery"], abs=1e-6)
        assert found["copy of b.mp4"]["verdict"] == expected["copy of b.mp4"]["verdict"]
        assert read_about(watcher.out)["bundle"] == content
        capsys.readouterr()
        assert main(["verdict", str(watcher.out), *expected]) == 0
        said = capsys.readouterr().out
        assert said.count(f"bundle {content[:8]} (fusion), val") == len(expected) - 3
        assert "huge.mp4: cannot be scored: the file has more than 1,000,000 bytes" in said
        assert said.count("cannot be scored: no video container that is known") == 2
        for name, (size, modified) in present(inbox).items():
            assert f"{name}, {size:,} bytes, changed last {modified}" in said
