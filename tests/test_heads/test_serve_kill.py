"""A service that is killed at any moment, and started again, has judged every job once."""

import signal
from pathlib import Path

from tests.test_heads.served import ended, eventually
from tests.test_heads.served_process import Served

JOBS = 12


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


def test_ctrl_c_ends_it_whatever_it_is_at(tmp_path: Path) -> None:
    jobs = set()
    for number in (signal.SIGINT, signal.SIGTERM):
        served = Served.fake(tmp_path)
        with served.half_an_upload():
            job = served.send("for ever")
            jobs.add(job)
            served.wait_for(job)
            assert served.end(number) == 0
    assert len(jobs) == 1  # the second service had it waiting
