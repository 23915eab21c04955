"""Services for tests: an open one, and whoever asks it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from heads.serving.messages import Judge
from heads.serving.routes import application
from heads.serving.service import Service, Settings

Told = Mapping[str, Any]
Open = Callable[..., tuple[Service, TestClient]]


@contextmanager
def serving(
    folder: Path, judge: Judge, bundle: Path, **settings: object
) -> Iterator[tuple[Service, TestClient]]:
    """An open service and somebody of this machine who asks it."""
    asked: dict[str, Any] = {"folder": folder, "bundle": bundle, **settings}
    with (
        Service(Settings(**asked), judge) as service,
        TestClient(application(service), base_url="http://localhost:8000") as client,
    ):
        yield service, client


def post(client: TestClient, content: bytes, name: str = "clip.mp4") -> httpx2.Response:
    return client.post("/jobs", files={"file": (name, content, "video/mp4")})


def send(client: TestClient, content: bytes, name: str = "clip.mp4") -> Told:
    """An upload that is taken."""
    found = post(client, content, name)
    assert found.status_code in (200, 202), found.text
    told: Told = found.json()
    return told


def eventually(true: Callable[[], bool], seconds: float = 60) -> None:
    """It is so, or will be soon."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def ended(client: TestClient | httpx2.Client, job: str, seconds: float = 60) -> Told:
    """A job when it is done or has failed."""
    told: Told = {}

    def is_ended() -> bool:
        nonlocal told
        told = client.get(f"/jobs/{job}").json()
        return told["state"] in ("done", "failed")

    eventually(is_ended, seconds)
    return told


def uploads(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "served" / "uploads").iterdir())


def ask(client: TestClient, path: str) -> tuple[int, Told]:
    found = client.post("/jobs", json={"path": path})
    return found.status_code, found.json()


def as_json(path: str) -> bytes:
    import json

    return json.dumps({"path": path}).encode()
