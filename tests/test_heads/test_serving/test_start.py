"""How a service begins and ends: its folder, its address, its token, its processes."""

import os
import socket
from pathlib import Path

import pytest

from features_store.errors import InUse
from heads.commands.main import main
from heads.errors import BadRun, BadSetting
from heads.serving import server
from heads.serving.jobs import WAITING, Asked, Queue
from heads.serving.messages import Unfinished
from tests.test_heads.test_serving.judges import FakeJudge, bundle_in
from tests.test_heads.test_serving.served import Open, send, serving, uploads

TOKEN = "a token that nobody guesses"


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


def test_addresses_that_others_reach_need_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(BadSetting, match=r"a token is needed.* give --token-file FILE, or"):
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

    from heads.errors import BadRun
    from heads.serving.judge_process import JudgeProcess
    from heads.serving.messages import Task, Unscorable

    judge = JudgeProcess(partial(FakeJudge, bundle_in(tmp_path / "bundle")))
    heard: list[object] = []

    def judged(text: str) -> str:
        (tmp_path / "file").write_text(text)
        task = Task(id="a", path=str(tmp_path / "file"), root=str(tmp_path))
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
        gone = Task(id="a", path=str(tmp_path / "gone"), root=str(tmp_path))
        with pytest.raises(Unscorable, match="FileNotFoundError"):
            judge.judge(gone, heard.append)
        (tmp_path / "bundle" / "bundle.json").unlink()
        with pytest.raises(BadRun, match="is no bundle"):
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
