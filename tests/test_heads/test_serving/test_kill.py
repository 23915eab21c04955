"""A service that is killed at any moment, and started again, has judged every job once."""

import signal
from pathlib import Path

import pytest

from heads.serving.jobs import WAITING, Queue
from tests.test_heads.test_serving.served import ended, eventually
from tests.test_heads.test_serving.served_process import Served

JOBS = 8


def is_alive(process: str) -> bool:
    """A zombie, which nobody has waited for, has no open files."""
    try:
        return any(Path(process).iterdir())
    except OSError:
        return False


def test_killed_and_started_again_it_loses_no_job(tmp_path: Path) -> None:
    uploads = tmp_path / "served" / "uploads"
    served = Served.fake(tmp_path)
    jobs = [served.send(f"slow {number}") for number in range(JOBS)]
    for number in range(0, JOBS, 4):
        served.wait_for(jobs[number])
        with served.half_an_upload():
            eventually(lambda: any(uploads.glob(".*.partial")))
            assert served.end(signal.SIGKILL) == -signal.SIGKILL
        served = Served.fake(tmp_path)
        assert not any(uploads.glob(".*"))
    found = [ended(served.client, job) for job in jobs]
    assert [one["line"] for one in found] == [f"it says slow {number}" for number in range(JOBS)]
    assert len(served.client.get("/jobs?count=200").json()["jobs"]) == JOBS
    eventually(lambda: not any(uploads.iterdir()))
    assert served.end(signal.SIGINT) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_all_its_processes_whatever_it_is_at(
    tmp_path: Path, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    served = Served.fake(tmp_path)
    job = served.send("for ever")
    with served.half_an_upload():
        served.wait_for_a_look(job)
        children = served.children
        assert served.end(number) == (-number if number is signal.SIGKILL else 0)
    assert children
    eventually(lambda: not any(map(is_alive, children)))
    assert capfd.readouterr().err == ""
    queue = Queue(tmp_path / "served" / "queue.sqlite", most=1, kept=1)
    assert queue.job(job).state == WAITING
    queue.close()
