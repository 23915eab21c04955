"""The service as programs see it: what is taken, what becomes of it, what is said."""

import errno
import html
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from heads.serving.jobs import ATTEMPTS, DONE, Job
from tests.test_heads.test_serving.judges import FakeJudge, bundle_in
from tests.test_heads.test_serving.served import (
    Open,
    ask,
    ended,
    eventually,
    post,
    send,
    uploads,
)


def test_an_upload_is_judged_and_does_not_stay(opened: Open, tmp_path: Path) -> None:
    _, client = opened()
    found = post(client, b"hello", "a.mp4")
    assert found.status_code == 202
    assert found.headers["location"] == f"/jobs/{found.json()['id']}"
    told = ended(client, found.json()["id"])
    assert (told["name"], told["bytes"], told["state"]) == ("a.mp4", 5, "done")
    assert told["sha256"].startswith("2cf24dba5fb0a30e26e83b2ac5b9e29e")  # as sha256sum has it
    assert told["answer"]["line"] == told["line"] == "it says hello"
    page = client.get(told["page"])
    assert (page.text, page.headers["content-type"]) == ("<p>a.mp4</p>", "text/html; charset=utf-8")
    assert page.headers["content-security-policy"] == "default-src x; frame-ancestors 'none'"
    eventually(lambda: uploads(tmp_path) == [])
    (listed,) = client.get("/jobs").json()["jobs"]
    assert (listed["id"], listed["line"]) == (told["id"], "it says hello")


def test_what_is_no_video_fails_with_a_plain_reason(opened: Open, tmp_path: Path) -> None:
    _, client = opened()
    told = ended(client, send(client, b"broken")["id"])
    assert (told["state"], told["reason"]) == ("failed", "no video container that is known")
    assert told["answer"] is told["page"] is None
    assert client.get(f"/jobs/{told['id']}/page").status_code == 404
    eventually(lambda: uploads(tmp_path) == [])


def test_the_same_file_is_judged_once_and_has_all_its_names(
    opened: Open, judge: FakeJudge, tmp_path: Path
) -> None:
    service, client = opened(root=tmp_path)
    heard: list[str] = []
    service.worker._on_end = lambda job: heard.append(f"{job.name}: {job.line}")
    hostile = '<b>"d"#t=0.0,0.1&.mp4'
    first = ended(client, send(client, b"hello", "a.mp4")["id"])
    again = post(client, b"hello", "a.mp4")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    other = post(client, b"hello", "b.mp4")
    (tmp_path / "c.mp4").write_bytes(b"hello")
    (tmp_path / hostile).write_bytes(b"hello")
    found = [other.json(), *(ask(client, name)[1] for name in ("c.mp4", hostile))]
    found = [first, *(ended(client, told["id"]) for told in found)]
    names = ["a.mp4", "b.mp4", "c.mp4", hostile]
    assert [told["name"] for told in found] == names
    ids = [*names[:3], hostile.replace("#t=", "%23t=")]  # the whole file, and no second of it
    assert [told["answer"]["rows"] for told in found] == [[{"id": name}] for name in ids]
    pages = [client.get(told["page"]).text for told in found]
    assert pages == [f"<p>{html.escape(name)}</p>" for name in ids]
    eventually(lambda: heard == [f"{name}: it says hello" for name in names])
    assert judge.judged == ["hello"]
    assert uploads(tmp_path) == []


def test_networks_know_a_file_below_the_root_by_its_path(
    opened: Open, judge: FakeJudge, tmp_path: Path
) -> None:
    """As `telltale score` and files of boxes do; it is shown by its name alone."""
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.mp4").write_bytes(b"hello")
    _, client = opened(root=tmp_path)
    told = ended(client, ask(client, "./day//a.mp4")[1]["id"])
    ended(client, send(client, b"another", "b#t=0,1.mp4")["id"])
    assert [task.id for task in judge.tasks] == ["day/a.mp4", "b%23t=0,1.mp4"]
    assert (told["name"], told["answer"]["rows"]) == ("a.mp4", [{"id": "a.mp4"}])


def test_what_failed_may_be_sent_again(opened: Open, judge: FakeJudge) -> None:
    _, client = opened()
    first, second = (ended(client, send(client, b"broken")["id"]) for _ in range(2))
    assert first["id"] != second["id"]
    assert len(judge.judged) == 2


def test_whoever_asks_says_how_it_is_cut(opened: Open, judge: FakeJudge, tmp_path: Path) -> None:
    _, client = opened(segments="windows=7s", root=tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"hello")
    ways = {None: "windows=7s", "whole": "whole", "shots": "shots", "windows=10s": "windows=10s"}
    jobs = set()
    for given, way in ways.items():
        more = {"segments": given} if given else {}
        form = {"file": ("a.mp4", b"hello", "video/mp4")}
        told = client.post("/jobs", files=form, data=more).json()
        assert (told["segments"], ended(client, told["id"])["state"]) == (way, "done")
        jobs.add(told["id"])
        again = client.post("/jobs", json={"path": "a.mp4", **more}).json()
        assert ended(client, again["id"])["segments"] == way
    assert len(jobs) == len(judge.tasks) == len(ways)  # the same file, cut alike, is judged once
    assert [task.segments for task in judge.tasks] == list(ways.values())
    for bad in ("windows=0s", "hours", "", "windows=10", "x" * 200):
        form = {"file": ("a.mp4", b"hello", "video/mp4")}
        assert client.post("/jobs", files=form, data={"segments": bad}).status_code == 400
        found = client.post("/jobs", json={"path": "a.mp4", "segments": bad})
        assert (found.status_code, "windows=10s" in found.text) == (400, True)
    for body in ({"path": "a.mp4", "segments": 7}, {"path": "a.mp4", "more": 1}, ["a.mp4"]):
        assert client.post("/jobs", json=body).status_code == 400


def test_another_bundle_judges_anew_and_the_answer_says_which(opened: Open, tmp_path: Path) -> None:
    _, client = opened()
    first = ended(client, send(client, b"hello")["id"])
    bundle_in(tmp_path / "bundle", "second")
    second = ended(client, send(client, b"hello")["id"])
    third = ended(client, send(client, b"hello")["id"])
    assert [one["answer"]["bundle"] for one in (first, second)] == ["first bundle", "second bundle"]
    assert second["answer"]["fingerprints"] == {"a/b": "second"}
    assert first["id"] != second["id"] == third["id"]


def test_jobs_wait_for_a_bundle_that_is_away(
    opened: Open, judge: FakeJudge, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("heads.serving.worker._ROUND", 0.01)
    _, client = opened()
    bundle = next(tmp_path.rglob("bundle.json"))
    bundle.rename(tmp_path / "away.json")
    job = send(client, b"hello")["id"]
    eventually(lambda: "waiting for the bundle" in str(client.get(f"/jobs/{job}").json()))
    assert judge.judged == []
    (tmp_path / "away.json").rename(bundle)
    assert ended(client, job)["state"] == "done"
    assert [m for m in caplog.messages if m.startswith("jobs wait: ")] == [
        f"jobs wait: {bundle.parent} is no bundle"
    ]


def test_what_breaks_off_is_tried_again_and_given_up(opened: Open, judge: FakeJudge) -> None:
    _, client = opened()
    told = ended(client, send(client, b"break")["id"])
    assert told["state"] == "failed"
    assert told["reason"] == f"given up after {ATTEMPTS} attempts: the worker was lost"
    assert len(judge.judged) == ATTEMPTS
    ended_once = 'telltale_jobs_ended_total{state="failed"} 1\n'
    eventually(lambda: ended_once in client.get("/metrics").text)
    found = client.get("/metrics").text
    assert f"telltale_breaks_total {ATTEMPTS}\n" in found
    assert 'telltale_jobs{state="failed"} 1\n' in found
    assert "telltale_uploaded_bytes_total 5\n" in found


def test_a_file_that_changes_meanwhile_fails(
    opened: Open, judge: FakeJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a.mp4"
    place.write_bytes(b"before")
    whole = judge.judge

    def change(*given: object) -> object:
        place.write_bytes(b"and after")
        return whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "judge", change)
    _, client = opened(root=tmp_path)
    told = ended(client, ask(client, "a.mp4")[1]["id"])
    assert (told["state"], "changed while" in told["reason"]) == ("failed", True)


def test_a_row_is_written_when_its_file_is_on_the_disk(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = opened()
    happened: list[str] = []
    whole_sync, whole_run = os.fsync, service.queue._run

    def sync(handle: int) -> None:
        happened.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        whole_sync(handle)

    def run(statement: str, *values: object) -> None:
        if statement.startswith("INSERT INTO jobs"):
            happened.append("row")
        whole_run(statement, *values)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(service.queue, "_run", run)
    ended(client, send(client, b"hello")["id"])
    first, second, third = happened[:3]
    assert first.endswith(".partial")
    assert (second, third) == (str(tmp_path / "served" / "uploads"), "row")


@pytest.mark.usefixtures("still")
def test_a_full_disk_leaves_neither_file_nor_row(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = opened()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_too(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        found = post(client, b"hello")
        assert (found.status_code, "No space left" in found.json()["error"]) == (507, True)
    with monkeypatch.context() as broken:
        broken.setattr(service.queue, "_run", full_too)
        assert post(client, b"hello").status_code == 507
    assert uploads(tmp_path) == []
    assert client.get("/jobs").json() == {"jobs": []}
    assert post(client, b"hello").status_code == 202


def test_old_results_are_forgotten(opened: Open) -> None:
    _, client = opened(keep=2)
    jobs = [ended(client, send(client, text)["id"])["id"] for text in (b"a", b"b", b"c")]
    assert [one["id"] for one in client.get("/jobs").json()["jobs"]] == [jobs[2], jobs[1]]
    assert client.get(f"/jobs/{jobs[0]}").status_code == 404
    assert client.get(f"/jobs/{jobs[0]}/page").status_code == 404


def test_a_worker_outlives_a_disk_that_fails(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    service, client = opened()
    whole = service.queue.finish
    calls = []

    def full(*given: object) -> None:
        calls.append(given)
        if len(calls) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        whole(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(service.queue, "finish", full)
    monkeypatch.setattr("heads.serving.worker._ROUND", 0.01)
    assert ended(client, send(client, b"hello")["id"])["state"] == DONE
    assert client.get("/health").json() == {"status": "ok"}


def test_a_job_is_put_back_when_the_disk_takes_that_again(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = opened()
    broken = iter([True] * 3)
    for name in ("finish", "retry"):
        whole = getattr(service.queue, name)

        def full(*given: object, whole: Callable[..., object] = whole) -> object:
            if next(broken, False):
                raise sqlite3.OperationalError("database or disk is full")
            return whole(*given)

        monkeypatch.setattr(service.queue, name, full)
    monkeypatch.setattr("heads.serving.worker._ROUND", 0.01)
    assert ended(client, send(client, b"hello")["id"], 5)["state"] == DONE


def test_a_verdict_stays_where_nobody_can_be_told(opened: Open, judge: FakeJudge) -> None:
    service, client = opened()
    told: list[str] = []

    def nobody_reads(job: Job) -> None:
        told.append(job.name)
        raise BrokenPipeError

    service.worker._on_end = nobody_reads
    jobs = [send(client, text, text.decode())["id"] for text in (b"a", b"b")]
    eventually(lambda: told[1:] == ["b"])
    assert [ended(client, job)["state"] for job in jobs] == [DONE, DONE]
    assert judge.judged == told == ["a", "b"]
