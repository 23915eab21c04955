"""What the service refuses: other places, other pages, strangers, and too much."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from extract.decoding.cuts import NETWORKS, Cutting
from heads.serving import routes
from heads.serving.access import OPEN, session_of
from heads.serving.jobs import WAITING
from heads.serving.routes import application
from heads.serving.worker import Worker
from tests.test_heads.test_serving.judges import FakeJudge
from tests.test_heads.test_serving.served import Open, as_json, ask, ended, post, send, uploads

TOKEN = "a token that nobody guesses"


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
            "/jobs", content=as_json(name), headers={"content-type": "application/json"}
        )
        assert found.status_code in (403, 404), name
    assert "secret" not in client.get("/jobs").text


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


@pytest.mark.usefixtures("still")
def test_a_sender_who_never_ends_keeps_no_place(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = opened()
    monkeypatch.setattr(routes, "_PATIENCE", 0.05)
    monkeypatch.setattr(routes, "_SLOWEST", 10_000)

    def drops() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(20):
            time.sleep(0.02)
            yield b"x"

    kind = {"content-type": "multipart/form-data; boundary=b"}
    found = client.post("/jobs", content=drops(), headers=kind)
    assert found.status_code == 408
    assert "10,000 bytes a second" in found.json()["error"]
    assert (uploads(tmp_path), service.arriving) == ([], 0)
    assert post(client, b"x" * 100).status_code == 202


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


@pytest.mark.parametrize(
    "given", [*(f"shots:{name}" for name in NETWORKS), "shots", "windows=2.5", "windows=123456"]
)
def test_the_page_may_send_what_the_service_was_started_with(opened: Open, given: str) -> None:
    default = str(Cutting.parse(given))
    _, client = opened(segments=default)
    assert f'value="{default}" selected' in client.get("/").text
    form = {"file": ("a.mp4", b"hello", "video/mp4")}
    found = client.post("/jobs", files=form, data={"segments": default})
    assert (found.status_code, found.json()["segments"]) == (202, default)


@pytest.mark.usefixtures("still")
def test_uploads_that_begin_together_count_each_other(opened: Open, tmp_path: Path) -> None:
    service, _ = opened(max_waiting=3)
    begun: list[int] = []

    async def body(number: int) -> AsyncIterator[bytes]:
        head = 'content-disposition: form-data; name="file"; filename="a"'
        yield f"--b\r\n{head}\r\n\r\n{number}".encode()
        await asyncio.sleep(0.2)
        begun.append(len(uploads(tmp_path)))
        yield b"\r\n--b--\r\n"

    async def all_at_once() -> list[int]:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        transport = httpx2.ASGITransport(application(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = (client.post("/jobs", content=body(n), headers=kind) for n in range(8))
            return [found.status_code for found in await asyncio.gather(*sent)]

    assert sorted(asyncio.run(all_at_once())) == [202] * 3 + [503] * 5
    assert max(begun) <= 3
