"""What can be asked of the service. `openapi.document` says the same; a test compares them."""

import asyncio
import html
import json
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator
from importlib.resources import files as resources
from string import Template

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from extract.manifest.names import escaped
from heads.serving import openapi
from heads.serving.access import COOKIE, Guard, refused, session_of
from heads.serving.files import Arriving, inside, not_kept, plain_name, too_large
from heads.serving.jobs import DONE, Asked, Job
from heads.serving.messages import WHOLE, Refusal
from heads.serving.multipart import FileForm
from heads.serving.naming import named_json, named_page
from heads.serving.service import Service

_LONGEST_JSON = 2**16
_PATIENCE = 60.0
"""Seconds that a sender may be silent."""
_SLOWEST = 4096
"""Bytes a second, on average: others wait for the place that an upload takes."""
_YEAR = 365 * 24 * 3600


def application(service: Service) -> Starlette:
    """The ASGI application of an open service."""
    found = _Routes(service)
    routes = [
        Route("/", found.page, methods=["GET"]),
        Route("/page.css", found.style, methods=["GET"]),
        Route("/page.js", found.script, methods=["GET"]),
        Route("/health", found.health, methods=["GET"]),
        Route("/metrics", found.metrics, methods=["GET"]),
        Route("/openapi.json", found.openapi, methods=["GET"]),
        Route("/session", found.session, methods=["POST"]),
        Route("/jobs", found.jobs, methods=["GET"]),
        Route("/jobs", found.submit, methods=["POST"]),
        Route("/jobs/{id}", found.job, methods=["GET"]),
        Route("/jobs/{id}/page", found.job_page, methods=["GET"]),
    ]
    settings = service.settings
    guard = Middleware(Guard, token=settings.token, hosts=settings.hosts, counters=service.counters)
    return Starlette(
        routes=routes, middleware=[guard],
        exception_handlers={Refusal: _refusal, HTTPException: _http},
    )  # fmt: skip


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._queue = service.queue
        self._settings = service.settings

    def page(self, _: Request) -> Response:
        settings = self._settings
        return HTMLResponse(
            Template(_part("page.html")).substitute(
                bundle=html.escape(settings.bundle.name),
                most=_size(settings.max_bytes),
                bytes=settings.max_bytes,
                ways=_ways(settings.segments),
                paths="" if settings.root is not None else "hidden",
            )
        )

    def style(self, _: Request) -> Response:
        report = (resources("heads.reporting") / "page.css").read_text(encoding="utf-8")
        return Response(report + _part("page.css"), media_type="text/css")

    def script(self, _: Request) -> Response:
        return Response(_part("page.js"), media_type="text/javascript")

    async def health(self, _: Request) -> Response:
        """Needs neither a thread nor the queue."""
        alive = self._service.worker.alive
        return JSONResponse({"status": "ok" if alive else "broken"}, 200 if alive else 503)

    def metrics(self, _: Request) -> Response:
        words = self._service.counters.text(self._queue.counts(), alive=self._service.worker.alive)
        return PlainTextResponse(words, media_type="text/plain; version=0.0.4")

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(
            openapi.document(self._settings.max_bytes, guarded=self._settings.token is not None)
        )

    async def session(self, request: Request) -> Response:
        """Whoever comes here has the token."""
        response = Response(status_code=204)
        if self._settings.token is not None:
            response.set_cookie(
                COOKIE, session_of(self._settings.token), max_age=_YEAR, httponly=True,
                samesite="strict", secure=request.url.scheme == "https",
            )  # fmt: skip
        return response

    def jobs(self, request: Request) -> Response:
        given = request.query_params.get("count", "20")
        if not (given.isascii() and given.isdigit() and len(given) < 4 and 1 <= int(given) <= 200):
            raise Refusal(400, "count: give a number from 1 to 200.")
        newest = self._queue.newest(int(given))
        return JSONResponse({"jobs": [self._service.told(job) for job in newest]})

    def job(self, request: Request) -> Response:
        return self._answer(self._queue.job(request.path_params["id"]))

    def job_page(self, request: Request) -> Response:
        job = self._queue.job(request.path_params["id"])
        page, policy = self._queue.page(job)
        headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
        return HTMLResponse(named_page(page, job.name), headers=headers)

    async def submit(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            return await self._upload(request)
        if kind == "application/json":
            return await run_in_threadpool(self._path, await _read(request))
        raise Refusal(415, "Send a form with a file (multipart/form-data), or JSON with a path.")

    async def _upload(self, request: Request) -> Response:
        most, service = self._settings.max_bytes, self._service
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said[:20]) > most + _LONGEST_JSON:
            raise too_large(most)
        before = service.arriving
        service.arriving += 1
        try:
            await run_in_threadpool(self._queue.check_room, before)
            with Arriving(self._settings.uploads, secrets.token_hex(8), most) as arriving:
                form = FileForm(request.headers["content-type"], arriving.write)
                await _receive(request, form, most + _LONGEST_JSON, service.ends)
                return await run_in_threadpool(self._arrived, arriving, form)
        finally:
            service.arriving -= 1

    def _arrived(self, arriving: Arriving, form: FileForm) -> Response:
        name, segments = plain_name(form.end()), self._cut(form.segments)
        if not arriving.bytes:
            raise Refusal(400, "The file is empty.")
        known = self._service.known(arriving.sha256, name, segments)
        if known is not None:
            return self._answer(known)
        place = self._settings.uploads / arriving.id
        asked = Asked(
            kind="upload", name=name, place=arriving.id, bytes=arriving.bytes,
            sha256=arriving.sha256, segments=segments,
        )  # fmt: skip
        try:
            job = self._queue.add(asked, lambda: arriving.keep(place))
        except (Refusal, sqlite3.Error) as error:
            place.unlink(missing_ok=True)
            raise error if isinstance(error, Refusal) else not_kept(error) from error
        self._service.counters.add("telltale_uploaded_bytes_total", arriving.bytes)
        return self._answer(job, 202)

    def _path(self, body: bytes) -> Response:
        name, given = _asked(body)
        segments, root = self._cut(given), self._settings.root
        if root is None:
            raise Refusal(403, "This service takes uploads alone; it was started without --root.")
        found = inside(root, name)
        size = found.stat().st_size
        if size > self._settings.max_bytes:
            raise too_large(self._settings.max_bytes)
        text = escaped(name)
        asked = Asked(
            kind="path", name=plain_name(text), place=text, bytes=size, segments=segments
        )  # fmt: skip
        return self._answer(self._queue.add(asked), 202)

    def _cut(self, given: str | None) -> str:
        if given is None:
            return self._settings.segments
        if re.fullmatch(openapi.SEGMENTS, given) is None:
            raise Refusal(400, f"segments: {openapi.SEGMENTS_WORDS}.")
        return given

    def _answer(self, job: Job, status: int = 200) -> Response:
        """A job, with its answer where there is one."""
        told = self._service.told(job)
        own = f"/jobs/{job.id}"
        answer = None if job.answer is None else json.loads(named_json(job.answer, job.name))
        told["answer"] = answer
        told["page"] = f"{own}/page" if job.state == DONE else None
        return JSONResponse(told, status, {"Location": own} if status == 202 else None)


async def _receive(request: Request, form: FileForm, most: int, ends: asyncio.Event) -> None:
    """`most`: bytes of the whole form, whatever is in it. `ends`: the service does."""
    parts, came, begun = request.stream(), 0, time.monotonic()
    ending = asyncio.create_task(ends.wait())
    try:
        while part := await _next(parts, ending):
            came += len(part)
            if came > most:
                raise Refusal(413, "The form is too large.")
            taken = time.monotonic() - begun
            if taken > _PATIENCE and came < _SLOWEST * taken:
                raise Refusal(408, f"It comes too slowly: {_SLOWEST:,} bytes a second are needed.")
            await run_in_threadpool(form.feed, part)
    except ClientDisconnect as error:  # nobody hears this
        raise Refusal(400, "The upload broke off.") from error
    finally:
        ending.cancel()


async def _next(parts: AsyncGenerator[bytes, None], ending: asyncio.Task[bool]) -> bytes:
    """Empty at the end."""

    async def next_part() -> bytes:
        return await anext(parts, b"")

    coming = asyncio.create_task(next_part())
    done, _ = await asyncio.wait(
        {coming, ending}, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED
    )
    if coming in done:
        return coming.result()
    coming.cancel()
    if ending in done:
        raise Refusal(503, "The service ends; send it again in a moment.")
    raise Refusal(408, f"Nothing came for {_PATIENCE:.0f} seconds.")


async def _read(request: Request) -> bytes:
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > _LONGEST_JSON:
            raise Refusal(413, "That is too much for a path.")
    return found


def _asked(body: bytes) -> tuple[str, str | None]:
    """A path, and how the video is to be cut where that is said."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "The body is no JSON.") from error
    given = found if isinstance(found, dict) else {}
    path, segments = given.get("path"), given.get("segments", "whole")
    is_text = isinstance(path, str) and isinstance(segments, str)
    if not is_text or not path or not set(given) <= {"path", "segments"}:
        raise Refusal(
            400, 'Give {"path": "FILE"}, from the root on; "segments" may stand beside it.'
        )
    return path, given.get("segments")


def _ways(chosen: str) -> str:
    """Options of a choice of how videos are cut."""
    words = {WHOLE: "as a whole", "windows=10s": "every 10 seconds", "shots": "shot by shot"}
    return "".join(
        f'<option value="{html.escape(way)}"{" selected" if way == chosen else ""}>'
        f"{html.escape(said)}</option>"
        for way, said in ({chosen: chosen} | words).items()
    )


def _size(count: int) -> str:
    """For people."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def _part(name: str) -> str:
    return (resources("heads.serving") / name).read_text(encoding="utf-8")


def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {"Retry-After": "10"} if error.status == 503 else None
    return refused(error.status, str(error), headers)


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, str(error.detail), error.headers)
