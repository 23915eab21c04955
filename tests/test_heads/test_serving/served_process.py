"""Services for tests in processes of their own, which can be killed."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from tests.test_heads.test_serving.served import eventually


class Served:
    """A service in a process of its own."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:\d+/", self.said)
        assert found is not None, self.said
        self.url = found[0]
        self.client = httpx2.Client(base_url=self.url)

    @staticmethod
    def fake(folder: Path, *files: Path, **environment: str) -> "Served":
        """With a judge that needs no network; `files`: its certificate and key."""
        command = ["tests.test_heads.test_serving.judges", str(folder), *map(str, files)]
        return Served(command, **environment)

    def send(self, text: str) -> str:
        """An upload; its job."""
        form = {"file": ("a.mp4", text.encode(), "video/mp4")}
        return str(self.client.post("/jobs", files=form).json()["id"])

    def wait_for(self, job: str) -> None:
        """Until it was begun."""
        eventually(lambda: self.client.get(f"/jobs/{job}").json()["state"] != "waiting")

    def wait_for_a_look(self, job: str) -> None:
        """Until the process that judges is at it."""
        progress = {"step": "looking", "done": 1, "of": 2}
        eventually(lambda: self.client.get(f"/jobs/{job}").json()["progress"] == progress)

    def half_an_upload(self) -> socket.socket:
        """It never ends, for as long as the socket is open."""
        place = urlsplit(self.url)
        assert place.hostname is not None
        sender = socket.create_connection((place.hostname, place.port or 80))
        form = 'content-disposition: form-data; name="file"; filename="half"'
        sender.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b"--b\r\n" + form.encode() + b"\r\n\r\nhalf"
        )
        return sender

    @property
    def children(self) -> list[str]:
        """Folders that are there for as long as a process that it started."""
        found = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [f"/proc/{child}/fd" for path in found for child in path.read_text().split()]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.client.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status
