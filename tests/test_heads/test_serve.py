"""The service as programs see it: what is taken, what is refused, what is never lost."""

import errno
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from features_store.errors import InUse
from heads.commands.main import main
from heads.errors import BadRun, BadSetting
from heads.serving import server
from heads.serving.access import OPEN, session_of
from heads.serving.jobs import ATTEMPTS, DONE, WAITING, Asked, Queue
from heads.serving.messages import Unfinished
from heads.serving.service import Service
from heads.serving.worker import Worker
from tests.test_heads.judges import FakeJudge, bundle_in
from tests.test_heads.served import Told, ended, eventually, post, send, serving

TOKEN = "a token that nobody guesses"
Open = Callable[..., tuple[Service, TestClient]]


@pytest.fixture
def judge(tmp_path: Path) -> FakeJudge:
    return FakeJudge(bundle_in(tmp_path / "bundle"))


@pytest.fixture
def opened(tmp_path: Path, judge: FakeJudge) -> Iterator[Open]:
    """Services that close at the end."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            serving(tmp_path / "served", judge, tmp_path / "bundle", **settings)
        )


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes jobs from the queue."""
    monkeypatch.setattr(Worker, "_run", lambda self: self._ending.wait())


def uploads(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "served" / "uploads").iterdir())


def ask(client: TestClient, path: str) -> tuple[int, Told]:
    found = client.post("/jobs", json={"path": path})
    return found.status_code, found.json()


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
    assert (page.text, page.headers["content-type"]) == ("<p>page</p>", "text/html; charset=utf-8")
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


def test_the_same_file_is_judged_once(opened: Open, judge: FakeJudge, tmp_path: Path) -> None:
    _, client = opened(root=tmp_path)
    first = ended(client, send(client, b"hello", "a.mp4")["id"])
    again = post(client, b"hello", "b.mp4")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert again.json()["answer"] == first["answer"]
    (tmp_path / "c.mp4").write_bytes(b"hello")
    _, told = ask(client, "c.mp4")
    told = ended(client, told["id"])
    assert (told["answer"], client.get(told["page"]).text) == (first["answer"], "<p>page</p>")
    assert judge.judged == ["hello"]


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


def test_files_under_the_root_and_none_else(opened: Open, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.mp4").write_bytes(b"inside")
    (root / "link.mp4").symlink_to(root / "sub" / "a.mp4")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "out.mp4").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    _, client = opened(root=root)
    for name in ("sub/a.mp4", "link.mp4", "./sub//a.mp4"):
        status, told = ask(client, name)
        assert (status, ended(client, told["id"])["line"]) == (202, "it says inside")
    for name in ("../secret", str(tmp_path / "secret"), "out.mp4", "up/secret", "sub/../../secret"):
        assert ask(client, name)[0] == 403, name
    for name in ("sub", "fifo", "gone.mp4", "a\0b", "\ud800", "x" * 5000):
        found = client.post(
            "/jobs", content=_json(name), headers={"content-type": "application/json"}
        )
        assert found.status_code in (403, 404), name
    assert "secret" not in client.get("/jobs").text


def _json(path: str) -> bytes:
    import json

    return json.dumps({"path": path}).encode()


def test_a_file_that_becomes_a_link_out_of_the_root_is_not_read(
    opened: Open, judge: FakeJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.mp4").write_bytes(b"inside")
    with monkeypatch.context() as quiet:
        quiet.setattr(Worker, "_run", lambda self: None)
        service, client = opened(root=root)
        _, told = ask(client, "a.mp4")
    (root / "a.mp4").unlink()
    (root / "a.mp4").symlink_to(tmp_path / "bundle" / "bundle.json")
    job = service.queue.take(1)
    assert job is not None
    service.worker._do(job)
    told = ended(client, told["id"])
    assert (told["state"], told["reason"]) == ("failed", "That path leaves the root.")
    assert judge.judged == []


def test_without_a_root_no_path_is_taken(opened: Open) -> None:
    _, client = opened()
    status, told = ask(client, "a.mp4")
    assert (status, "--root" in told["error"]) == (403, True)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\videos\\a.mp4", "a.mp4"),
        ("<script>alert(1)</script>.mp4", "script>.mp4"),
        ("..", "upload"),
        ("%22a%22.mp4", '"a".mp4'),
        ("x" * 300, "x" * 200),
    ],
)
@pytest.mark.usefixtures("still")
def test_names_are_names_and_no_paths(opened: Open, tmp_path: Path, given: str, kept: str) -> None:
    _, client = opened()
    told = send(client, b"hello", given)
    assert told["name"] == kept
    (place,) = uploads(tmp_path)
    assert re.fullmatch("[0-9a-f]{16}", place)


@pytest.mark.usefixtures("still")
def test_too_much_is_refused_and_leaves_nothing(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(b"x" * 101)
    service, client = opened(max_bytes=100, max_waiting=1, root=tmp_path)
    assert post(client, b"x" * 101).status_code == 413
    assert post(client, b"x" * 200_000).status_code == 413  # by what its sender says
    kind = {"content-type": "multipart/form-data; boundary=b"}
    parts = iter([b"before the first part " * 5000] * 2)  # it does not say how much
    assert client.post("/jobs", content=parts, headers=kind).status_code == 413
    assert ask(client, "large.mp4")[0] == 413
    assert post(client, b"").status_code == 400
    assert uploads(tmp_path) == []
    assert service.queue.counts()[WAITING] == 0
    assert post(client, b"x" * 100).status_code == 202
    full = post(client, b"another")
    assert (full.status_code, full.headers["retry-after"]) == (503, "10")
    assert len(uploads(tmp_path)) == 1
    assert service.arriving == 0


@pytest.mark.parametrize(
    "body",
    [
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
        b'--b\r\ncontent-disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
        b"no form at all",
        b"",
    ],
)
def test_a_form_that_breaks_off_leaves_nothing(opened: Open, tmp_path: Path, body: bytes) -> None:
    _, client = opened()
    kind = {"content-type": "multipart/form-data; boundary=b"}
    found = client.post("/jobs", content=body, headers=kind)
    assert found.status_code == 400
    assert "curl -F file=@clip.mp4" in found.json()["error"]
    assert client.get("/jobs").json() == {"jobs": []}
    assert uploads(tmp_path) == []


def test_whoever_asks_needs_the_token(opened: Open, capfd: pytest.CaptureFixture[str]) -> None:
    _, client = opened(token=TOKEN)
    asked = {"/metrics", "/jobs", "/jobs/0123456789abcdef", "/jobs/0123456789abcdef/page"}
    right = {"Authorization": f"Bearer {TOKEN}"}
    for path in asked:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "telltale_session=x"}):
            assert client.get(path, headers=headers).status_code == 401, path
        assert client.get(path, headers=right).status_code in (200, 404)
    assert all(client.get(path).status_code == 200 for path in OPEN)
    assert post(client, b"hello").status_code == 401
    assert client.post("/session").status_code == 401
    cookie = client.post("/session", headers=right).headers["set-cookie"]
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/jobs").status_code == 200  # by the cookie
    assert session_of(TOKEN) != session_of(TOKEN + "x")
    assert TOKEN not in "".join(capfd.readouterr())


def test_pages_of_others_get_nothing(opened: Open) -> None:
    _, client = opened()
    assert client.get("/jobs", headers={"Host": "evil.example:8000"}).status_code == 403
    assert client.get("/jobs", headers={"Host": "[::1]:8000"}).status_code == 200
    for headers in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):  # fmt: skip
        form = {"file": ("a.mp4", b"x", "video/mp4")}
        assert client.post("/jobs", files=form, headers=headers).status_code == 403
    own = {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/jobs", files={"file": ("a", b"x")}, headers=own).status_code == 202


def test_every_answer_has_its_policy(opened: Open) -> None:
    _, client = opened()
    for path in ("/", "/page.js", "/jobs", "/nothing", "/health"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


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


def test_what_was_being_judged_waits_again(tmp_path: Path, judge: FakeJudge) -> None:
    queue = Queue(tmp_path / "q.sqlite", most=9, kept=9)
    jobs = [queue.add(Asked(kind="upload", name=name, place=name, bytes=1)) for name in ("a", "b")]
    taken = queue.take(0)
    assert taken is not None
    assert (taken.id, queue.ahead(jobs[1])) == (jobs[0].id, 1)
    queue._file.close()  # as a kill does, without a word
    again = Queue(tmp_path / "q.sqlite", most=9, kept=9)
    assert again.counts()[WAITING] == 2
    taken = again.take(0)
    assert taken is not None
    assert taken.id == jobs[0].id
    again.close()


@pytest.mark.usefixtures("still")
def test_files_that_no_job_waits_for_go_at_the_start(tmp_path: Path, judge: FakeJudge) -> None:
    with serving(tmp_path / "served", judge, tmp_path / "bundle") as (_, client):
        told = send(client, b"hello")
        there = uploads(tmp_path)
        for name in (".half.partial", "renamed-but-no-row"):
            (tmp_path / "served" / "uploads" / name).write_bytes(b"x")
    with serving(tmp_path / "served", judge, tmp_path / "bundle") as (service, _):
        assert uploads(tmp_path) == there
        assert service.queue.job(told["id"]).state == WAITING


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


def test_two_services_never_have_one_queue(opened: Open, tmp_path: Path, judge: FakeJudge) -> None:
    opened()
    with (
        pytest.raises(InUse, match=rf"another process writes this \(process {os.getpid()} on"),
        serving(tmp_path / "served", judge, tmp_path / "bundle"),
    ):
        pass


def test_a_file_that_is_no_queue_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "q.sqlite"
    place.write_bytes(b"something else, and long enough to be looked at" * 99)
    with pytest.raises(BadRun, match="is no queue of"):
        Queue(place, most=1, kept=1)
    assert place.read_bytes().startswith(b"something else")


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


def test_addresses_that_others_reach_need_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(BadSetting, match="a token is needed: give --token-file FILE, or"):
            server.listening(host, 0, guarded=False)
    server.listening("0.0.0.0", 0, guarded=True).close()
    with server.listening("localhost", 0, guarded=False) as listener:
        assert server.url_of(listener).startswith("http://127.0.0.1:")
        with pytest.raises(BadSetting, match="in use"):
            server.listening("127.0.0.1", listener.getsockname()[1], guarded=False)
    with pytest.raises(BadSetting, match="no such address"):
        server.listening("no.such.host.invalid", 0, guarded=True)


def test_a_token_comes_from_a_file_or_the_environment_and_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(server.TOKEN, raising=False)
    assert server.read_token(None) is None
    monkeypatch.setenv(server.TOKEN, TOKEN)
    assert server.read_token(None) == TOKEN
    (tmp_path / "token").write_text(f"{TOKEN} of the file\n")
    assert server.read_token(tmp_path / "token") == f"{TOKEN} of the file"
    (tmp_path / "token").write_text("short")
    with pytest.raises(BadSetting, match="16 or more") as refused:
        server.read_token(tmp_path / "token")
    assert "short" not in str(refused.value)
    with pytest.raises(BadSetting, match="No such file"):
        server.read_token(tmp_path / "none")


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    whole = importlib.util.find_spec
    hidden = lambda name, *more: None if name == "uvicorn" else whole(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    assert main(["serve"]) == 1
    assert (
        "needs uvicorn, which is not installed: pip install '.[serve]'" in capsys.readouterr().err
    )


def test_the_command_refuses_before_it_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_in(tmp_path / "b")
    for options, said in (
        (["--bundle", tmp_path / "none"], "no bundle is there"),
        (["--bundle", bundle, "--root", tmp_path / "none"], "no such folder"),
        (["--bundle", bundle, "--max-waiting", 0], "--max-waiting 0: give 1 or more"),
        (["--bundle", bundle, "--host", "0.0.0.0"], "a token is needed"),
        (["--bundle", bundle, "--segments", "hours"], "windows=10s"),
    ):
        folder = ["--folder", tmp_path / "served", "--port", 0]
        assert main(["serve", *map(str, [*folder, *options])]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "served").exists()


def test_the_process_of_a_judge_may_die(tmp_path: Path) -> None:
    from functools import partial

    from heads.serving.judge_process import JudgeProcess
    from heads.serving.messages import Task, Unscorable

    judge = JudgeProcess(partial(FakeJudge, bundle_in(tmp_path / "bundle")))
    heard: list[object] = []

    def judged(text: str) -> str:
        (tmp_path / "file").write_text(text)
        task = Task(name="a", path=str(tmp_path / "file"), root=str(tmp_path))
        return str(judge.judge(task, heard.append).document["line"])

    try:
        assert judge.identity().key == "first"
        assert judged("hello") == "it says hello"
        assert len(heard) == 1
        with pytest.raises(Unscorable, match="no video container"):
            judged("broken")
        with pytest.raises(Unfinished, match="died"):
            judged("die")
        assert judged("again") == "it says again"
        (tmp_path / "bundle" / "bundle.json").unlink()
        with pytest.raises(Unscorable, match="FileNotFoundError"):
            judge.identity()
    finally:
        judge.close()
    with pytest.raises(Unfinished):
        judge.identity()


def test_sockets_are_not_left_open(tmp_path: Path) -> None:
    with server.listening("127.0.0.1", 0, guarded=False) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
