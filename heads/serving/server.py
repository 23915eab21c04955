"""The socket and the server: where it listens, and how it ends."""

import ipaddress
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from heads.errors import BadSetting
from heads.serving.routes import application
from heads.serving.service import Service
from heads.serving.tls import Tls

TOKEN = "TELLTALE_TOKEN"
SHORTEST_TOKEN = 16
_PARTING = 1
"""Seconds that requests in flight are given at the end."""


def read_token(file: Path | None) -> str | None:
    """From a file, else from the environment; None where neither has one."""
    if file is None:
        where, token = f"The environment variable {TOKEN}", os.environ.get(TOKEN)
        if token is None:
            return None
    else:
        try:
            where, token = f"--token-file {file}", file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise BadSetting(f"--token-file {file}: {reason}.") from error
    token = token.strip()
    if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()):
        raise BadSetting(
            f"{where}: a token has {SHORTEST_TOKEN} or more ASCII characters; make one with "
            f"`openssl rand -hex 32`."
        )
    return token


def listening(host: str, port: int, *, guarded: bool) -> socket.socket:
    """A socket at the address; refused where others than this machine reach it and nobody asks
    for a token."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError) as error:
        raise BadSetting(f"--host {host} --port {port}: no such address ({error}).") from error
    if not guarded and not _is_loopback(str(address[0])):
        raise BadSetting(
            f"--host {host}: others than this machine reach it, so a token is needed, with TLS or "
            f"without: give --token-file FILE, or the environment variable {TOKEN}."
        )
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except (OSError, OverflowError) as error:
        found.close()
        reason = getattr(error, "strerror", None) or error
        raise BadSetting(
            f"--host {host} --port {port}: {reason}. Choose another port, or 0 for any."
        ) from error
    return found


def url_of(listener: socket.socket, tls: Tls | None = None) -> str:
    host, port = listener.getsockname()[:2]
    return f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}/"


def is_read_by_others(listener: socket.socket, tls: Tls | None) -> bool:
    """Whether a network that others may read carries the token and the videos as they are."""
    return tls is None and not _is_loopback(str(listener.getsockname()[0]))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


class _Server(uvicorn.Server):
    """Tells whoever sends an upload that it will not wait for the rest."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.ends.set()
        await super().shutdown(sockets)


def serve(
    service: Service, listener: socket.socket, begun: Callable[[], object], tls: Tls | None = None
) -> None:
    """Until ctrl-C or SIGTERM, which end it at once. `begun` is called when it is ready."""
    config = uvicorn.Config(
        application(service), log_config=None, log_level="warning", access_log=False,
        server_header=False, lifespan="off", ws="none", timeout_graceful_shutdown=_PARTING,
        ssl_certfile=tls.certificate if tls else None, ssl_keyfile=tls.key if tls else None,
    )  # fmt: skip
    server = _Server(config, service)

    def ended(number: int, frame: FrameType | None) -> None:
        """uvicorn raises the signal once more when it has ended: nothing is left to be done."""

    before = {number: signal.signal(number, ended) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        begun()
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()
