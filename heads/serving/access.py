"""Who may ask, and what every answer says to browsers.

With a token, whoever asks must have it, as `Authorization: Bearer …` or in the cookie that
`POST /session` gives for it. Without one the service is this machine's alone: requests that name
another host are refused (a page elsewhere may have its name point here), and so is, with a token or
without, whatever a page of another origin sends.
"""

import hashlib
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heads.serving.metrics import Counters

COOKIE = "telltale_session"
OPEN = frozenset({"/", "/page.css", "/page.js", "/health", "/openapi.json"})
"""Where nothing is told that needs a token."""
HERE = frozenset({"localhost", "127.0.0.1", "::1"})
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Stands before the routes."""

    def __init__(
        self, app: ASGIApp, token: str | None, hosts: frozenset[str], counters: Counters
    ) -> None:
        self._app, self._token, self._counters = app, token, counters
        self._hosts = HERE | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                name = f'telltale_responses_total{{status="{message["status"]}"}}'
                self._counters.add(name)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, sending)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None and _host(headers.get("host", "")) not in self._hosts:
            return refused(403, "Without a token this service answers to this machine alone.")
        if scope["method"] not in ("GET", "HEAD") and not _is_own(headers):
            return refused(403, "The request comes from a page of another origin.")
        if self._token is None or scope["path"] in OPEN or self._has_token(scope, headers):
            return None
        return refused(
            401, "A token is needed: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"}
        )

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        assert self._token is not None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self._token):
            return True
        return scope["path"] != "/session" and _same(
            _cookie(headers.get("cookie", "")), session_of(self._token)
        )


def session_of(token: str) -> str:
    """What a browser keeps in place of the token: it opens this service and nothing else."""
    return hmac.digest(token.encode(), b"telltale serve: session", hashlib.sha256).hex()


def refused(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)


def _same(given: str, expected: str) -> bool:
    """Takes as long wherever they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _host(text: str) -> str:
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _is_own(headers: Headers) -> bool:
    """Browsers say where a request comes from; other programs do not."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        return False
