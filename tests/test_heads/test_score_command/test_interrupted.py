"""A command that is interrupted or killed goes on where it was."""

import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from heads.scoring import archive
from tests.test_heads.archives import FakeRun, fill, rows
from tests.test_heads.archives import score as score_all
from tests.test_heads.test_score_command.typed import score


def test_an_interrupted_run_says_how_many_are_left(
    inbox: Path,
    bundle: Path,
    tmp_path: Path,
    fake: FakeRun,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.stop_after = 1
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv", expect=130)
    assert "stopped with 2 videos left; run the same command again" in capsys.readouterr().out
    fake.stop_after = None
    score(inbox, "--bundle", bundle, "--out", tmp_path / "s.csv")
    assert sorted(fake.computed) == ["a.mp4", "b.mp4", "sub/c.mp4"]


def score_in_child(inbox: str, out: str) -> None:
    archive.VIDEOS_A_PART = 3
    score_all(Path(inbox), Path(out), FakeRun())


def test_killed_after_the_first_part_was_seen(tmp_path: Path) -> None:
    """SIGKILL, again and again, each time when one to three more parts are on the disk."""
    inbox, out = tmp_path / "in", tmp_path / "s.csv"
    fill(inbox, {f"{number:03}.mp4": str(number) for number in range(60)})
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    killed = 0
    for number in range(5):
        before = parts(out)
        process = context.Process(target=score_in_child, args=(str(inbox), str(out)))
        process.start()
        while process.is_alive() and len(parts(out) - before) <= number % 3:
            time.sleep(0.001)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if out.exists():
            break
    assert killed >= 3
    score_all(inbox, out, FakeRun())
    whole = tmp_path / "whole.csv"
    score_all(inbox, whole, FakeRun())
    assert list(rows(out)) == list(rows(whole))
    assert len(rows(out)) == 60
    assert {row["error"] for row in rows(out).values()} == {None}
    assert not out.with_name(f"{out.name}.parts").exists()


def parts(out: Path) -> set[str]:
    return {path.name for path in out.with_name(f"{out.name}.parts").glob("*/*.parquet")}
