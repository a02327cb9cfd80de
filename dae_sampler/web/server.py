"""The server of the page: a few fixed files, and one address that takes requests and streams what becomes of them.

A visitor can name no file: the page's own are known by their names when the server starts, and pictures come and go as
data. Answers are server-sent events; closing the connection ends the work. Requests that another site's page could
send from a visitor's browser are refused: by their Host (DNS rebinding) and by their Origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import mimetypes
import socket
from collections.abc import AsyncIterator, Iterable
from importlib import resources
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError
from .ask import Ask
from .desk import BusyError, Desk, Job, sentence
from .exhibit import Exhibit
from .work import do

MOST_BYTES = 24 * 2**20
"""Of a request: a picture of 18 MB, as text."""
SLOWEST = 60.0
"""Seconds that a request may take to arrive."""
MOST_CONNECTIONS = 100
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def listen(host: str, port: int) -> socket.socket:
    """A socket that the server can be reached at; port 0 takes a free one.

    Raises:
        InputError: the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(
            f"cannot listen at {host}, port {port} ({reason}): choose another `port`, or 0 for a free one"
        ) from None


def server_of(exhibits: Iterable[Exhibit], host: str = "localhost", seed: int = 0) -> uvicorn.Server:
    """The server of the page, to be run.

    Args:
        exhibits: the models.
        host: a name that the machine is called by.
        seed: that the page begins with.
    """
    desk = Desk()
    config = uvicorn.Config(
        _application(exhibits, desk, host, seed),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    return _Server(config, desk)


class _Server(uvicorn.Server):
    """A server whose visitors' work ends before it does."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.desk.end()
        await super().shutdown(sockets)


def _application(exhibits: Iterable[Exhibit], desk: Desk, host: str, seed: int) -> ASGIApp:
    known = {exhibit.name: exhibit for exhibit in exhibits}
    facts = json.dumps({"seed": seed, "models": [exhibit.describe() for exhibit in known.values()]})  # in ASCII

    async def describe(request: Request) -> Response:
        return Response(facts, media_type="application/json")

    async def work(request: Request) -> Response:
        ask = Ask.from_json(await _json_of(request))
        visitor = request.client.host if request.client else ""
        return _Stream(desk.open(visitor, lambda tell: do(known, ask, tell)))

    app = Starlette(
        routes=[*_pages(), Route("/models", describe), Route("/work", work, methods=["POST"])],
        exception_handlers={
            InputError: _refuse,
            BusyError: _refuse,
            HTTPException: _refuse,
            ClientDisconnect: _refuse,
            Exception: _apologise,
        },
    )
    return _Guard(app, host)


class _Guard:
    """Refuses what no visitor of ours sends, and adds the headers that keep a browser to this server."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.names = app, {"localhost", host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows(host) or (origin is not None and origin.partition("://")[2] != host):
            response = JSONResponse({"error": "This page is not served under that name: use its own address."}, 403)
            await response(scope, receive, guarded)
        else:
            await self.app(scope, receive, guarded)

    def _knows(self, host: str) -> bool:
        """Whether a Host header is this server's: an address or a name that nobody else's DNS can point here."""
        name = host.lower().removesuffix(f":{host.rpartition(':')[2]}") if not host.endswith("]") else host.lower()
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(name.strip("[]")))
        return name in self.names


class _Stream(StreamingResponse):
    """What becomes of a job, as server-sent events; the job ends when its visitor has gone."""

    def __init__(self, job: Job) -> None:
        super().__init__(_told(job), media_type="text/event-stream")
        self.job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.job.leave()


async def _told(job: Job) -> AsyncIterator[str]:
    while (event := await job.events.get()) is not None:
        yield f"data: {json.dumps(event)}\n\n"
    yield 'data: {"end": true}\n\n'


async def _json_of(request: Request) -> Any:
    """The body of a request, within limits of size and time.

    Raises:
        InputError: it is too large or too slow, or no JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise InputError("requests are JSON: load the page again")
    parts, size = [], 0
    try:
        async with asyncio.timeout(SLOWEST):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise InputError(f"this file is too large: at most {MOST_BYTES * 3 // 4 / 1e6:.0f} MB fit")
    except TimeoutError:
        raise InputError("the request took too long to arrive: try again") from None
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise InputError("requests are JSON: load the page again") from None


def _pages() -> list[Route]:
    """A route for each file of the page, and no others."""

    def route(name: str, body: bytes) -> Route:
        kind = mimetypes.guess_type(name)[0]

        async def page(request: Request) -> Response:
            return Response(body, media_type=kind)

        return Route("/" if name == "index.html" else f"/{name}", page)

    files = resources.files("dae_sampler.web").joinpath("page").iterdir()
    return [route(file.name, file.read_bytes()) for file in files]


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": "There is nothing here."}, error.status_code)
    if isinstance(error, InputError):
        return JSONResponse({"error": sentence(error)}, 503 if isinstance(error, BusyError) else 400)
    return Response(status_code=400)  # nobody is there to read it


async def _apologise(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "Something went wrong here: the server's terminal says what."}, 500)
