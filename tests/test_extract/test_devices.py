"""A run over several devices: who does what, and what becomes of it when one is lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from extract.branch import BranchRequest
from extract.errors import ExtractError, TooManyFailures
from extract.manifest.manifest import Manifest
from extract.running import cluster
from extract.running.carry_out import carry_out
from extract.running.crew import drive
from extract.running.devices import DeviceCrew
from extract.running.extraction import Extraction
from extract.running.messages import Ready
from extract.running.pipeline import Settings
from extract.running.progress import Progress
from extract.running.run import Cluster, Run
from extract.running.summary import Failure, Report, Summary
from extract.running.workload import Piece
from tests.test_extract.extractions import (
    assert_equal_stores,
    extract,
    settings,
    tiny,
    write_videos,
)

LIMIT = 120.0


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_videos(tmp_path_factory.mktemp("videos") / "data", 12)


@pytest.fixture(scope="module")
def reference(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("reference") / "s"
    extract(manifest, store, settings(shard_rows=1))
    return store


def asked(manifest: Manifest, store: Path, **changes: object) -> Run:
    run = Run(
        manifest=manifest,
        store=str(store),
        branches=(BranchRequest.parse("internvideo2=tiny"),),
        settings=settings(shard_rows=1),
        devices=("cpu", "cpu"),
        workers=5,
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def test_a_device_that_is_killed_is_replaced(
    manifest: Manifest, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews: list[DeviceCrew] = []
    begin = DeviceCrew.__init__

    def noted(crew: DeviceCrew, run: Run) -> None:
        begin(crew, run)
        crews.append(crew)

    def killing(extraction: Extraction, processes: int = 1) -> Iterator[Piece]:
        """Before the seventh of twelve pieces is dealt, and after something was committed."""
        for number, piece in enumerate(pieces(extraction, processes)):
            if number == 6 and len(crews) == 1:
                deadline = time.monotonic() + LIMIT
                while not list((tmp_path / "s").glob("val/*/status/c.*")):
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
                os.kill(crews[0].processes[0], signal.SIGKILL)
            yield piece

    pieces = Extraction.pieces
    monkeypatch.setattr(DeviceCrew, "__init__", noted)
    monkeypatch.setattr(Extraction, "pieces", killing)
    carry_out(asked(manifest, tmp_path / "s"), bar=False)
    assert len(crews) == 2
    assert [crew.workers for crew in crews] == [2, 2]  # five decode workers, shared out
    assert_equal_stores(reference, tmp_path / "s")


def test_a_device_that_is_killed_again_ends_the_run(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = DeviceCrew.ready

    def then_kill(crew: DeviceCrew) -> Ready:
        found = ready(crew)
        os.kill(crew.processes[1], signal.SIGKILL)
        return found

    monkeypatch.setattr(DeviceCrew, "ready", then_kill)
    with pytest.raises(ExtractError, match=r"process of cpu was killed \(SIGKILL\)"):
        carry_out(asked(manifest, tmp_path / "s"), bar=False)


class Crew:
    """Processes of which the first takes its time: it never asks for another piece."""

    count, workers = 2, 1

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.done: dict[str, list[int]] = {"slow": [], "quick": []}
        self.stopped = 0
        self._failing = failing

    def ready(self) -> Ready:
        raise NotImplementedError

    def work(self, pieces: Iterator[Piece]) -> Iterator[Report]:
        for name in ("slow", "quick") * 2:
            self._take(name, next(pieces, None))
        while True:
            piece = next(pieces, None)
            if piece is None:
                break
            yield self._take("quick", piece)
        yield Report(ok=sum(map(len, self.done.values())))

    def stop(self) -> None:
        self.stopped += 1

    def _take(self, name: str, piece: Piece | None) -> Report:
        if piece is not None:
            self.done[name] += piece.work.rows.tolist()
        failures = [Failure(id=video, reason="broken") for video in self._failing]
        return Report(failures=failures, device_busy=0.1)


def begun(manifest: Manifest, store: Path, how: Settings) -> Extraction:
    return Extraction.begin(manifest, store, tiny("internvideo2"), how)


def test_a_slow_device_keeps_nobody_waiting(manifest: Manifest, tmp_path: Path) -> None:
    crew = Crew()
    extraction = begun(manifest, tmp_path / "s", settings(shard_rows=1))
    with Progress(bar=False, devices=2) as progress:
        drive(extraction, crew, progress, lambda: False)
    assert len(crew.done["slow"]) == 2
    assert len(crew.done["quick"]) == 10
    assert sorted(crew.done["slow"] + crew.done["quick"]) == list(range(12))


def test_no_more_is_dealt_once_an_end_is_asked_for(manifest: Manifest, tmp_path: Path) -> None:
    crew, answers = Crew(), iter([False] * 6)
    extraction = begun(manifest, tmp_path / "s", settings(shard_rows=1))
    with Progress(bar=False, devices=2) as progress:
        summary = drive(extraction, crew, progress, lambda: next(answers, True))
    assert summary.stopped
    assert crew.stopped == 1
    assert len(crew.done["slow"] + crew.done["quick"]) <= 6


def test_failures_of_all_devices_are_counted_together(manifest: Manifest, tmp_path: Path) -> None:
    crew = Crew(failing=[f"{number}.mp4" for number in range(60)])
    extraction = begun(manifest, tmp_path / "s", settings(shard_rows=1))
    with (
        Progress(bar=False, devices=2) as progress,
        pytest.raises(TooManyFailures, match=r"120 of the first 120 videos failed"),
    ):
        drive(extraction, crew, progress, lambda: False)
    assert crew.stopped == 1
    assert len(crew.done["quick"]) < 10  # the rest was not dealt


def test_idle_is_the_devices_and_no_more_than_all_of_it() -> None:
    """Two devices that were busy for nine of ten seconds each."""
    waited = {"decode": 1.0, "prepare": 2.0, "device": 4.0, "write": 0.0}
    summary = Summary(ok=1, failures=(), seconds=10.0, waited=waited, device_busy=18.0, devices=2)
    assert summary.idle == pytest.approx(0.1)
    (line,) = [line for line in summary.lines() if "idle" in line]
    assert line == "time went to: decode 5%, prepare 10%, device 20%, write 0%; device idle 10%"


class Ray:
    """As much of Ray as starting a crew takes."""

    def __init__(self) -> None:
        self.addresses: list[object] = []
        self.told: list[Run] = []

    def init(self, *, address: object, **_: object) -> None:
        self.addresses.append(address)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 6.0}

    def remote(self, **_: object) -> "Callable[[type], Ray]":
        return lambda _actor: SimpleNamespace(remote=self.told.append)  # type: ignore[return-value]


def test_without_an_address_no_cluster_is_joined_that_happens_to_be_there(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = Ray()
    monkeypatch.setattr(cluster, "import_ray", lambda: ray)
    cluster.RayCrew(asked(manifest, tmp_path / "s", cluster=Cluster(runners=2), workers=None))
    assert [told.workers for told in ray.told] == [2, 2]
    assert [len(told.manifest.videos) for told in ray.told] == [0, 0]
    there = Cluster(address="10.0.0.1:6379")
    cluster.RayCrew(asked(manifest, tmp_path / "s", cluster=there))
    assert ray.addresses == ["local", "10.0.0.1:6379"]
