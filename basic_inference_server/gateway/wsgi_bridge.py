"""Runs the Flask control plane beside the data plane: in threads, off the event loop.

The body has been read strictly by then, so Flask sees exactly what was sent. Calls that wait for a
server have threads of their own, so that however many of them wait, the others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from basic_inference_server.core.errors import InternalError, Overloaded
from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.administration_lanes import MAX_WAITING, Lane, Lanes

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from basic_inference_server.gateway.exchange import Exchange

_HOP_HEADERS = frozenset({"connection", "content-length", "content-type", "date", "x-request-id"})


@dataclass
class WsgiResponse:
    """What a WSGI application answered."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class WsgiBridge:
    """Hands exchanges to a WSGI application that is made on first use."""

    def __init__(
        self, make_application: Callable[[], WSGIApplication], log: EventLog, version: str
    ) -> None:
        self._make_application = make_application
        self._application: WSGIApplication | None = None
        self._making = threading.Lock()
        self._lanes = Lanes(log)
        self._log = log
        self._version = version

    def warm_up(self) -> None:
        """Import Flask and build the application in a thread, before anybody asks for it."""
        with contextlib.suppress(Overloaded):  # without a thread; the first call will do it
            self._lanes.prompt.threads.submit(self._get_application)

    def _get_application(self) -> WSGIApplication:
        with self._making:  # the warm-up and a first call may come at the same time
            if self._application is None:
                self._application = self._make_application()
            return self._application

    def handle(self, exchange: Exchange, bound_signature: str | None) -> None:
        """Answer the exchange through the application.

        Raises:
            Overloaded: more calls wait than the threads can serve soon, or there is no thread.
        """
        environ = build_environ(exchange, bound_signature)
        lane = self._lanes.of(environ["PATH_INFO"])
        if lane.waiting >= MAX_WAITING:
            raise Overloaded("Too many administration calls are waiting.", retry_after_s=1)
        loop = asyncio.get_running_loop()
        done = lane.threads.submit(partial(self._call, environ))
        lane.waiting += 1
        done.add_done_callback(
            lambda done: loop.call_soon_threadsafe(self._answer, exchange, lane, done)
        )

    def _call(self, environ: dict[str, Any]) -> WsgiResponse:
        return call_wsgi(self._get_application(), environ)

    def _answer(self, exchange: Exchange, lane: Lane, done: Future[WsgiResponse]) -> None:
        lane.waiting -= 1
        error = done.exception()
        if error is not None:
            self._log.error("control_plane_fault", error=repr(error))
            exchange.fail(InternalError("The control plane failed."), self._version)
            return
        response = done.result()
        content_type = "application/json"
        extra = b""
        for name, value in response.headers:
            lowered = name.lower()
            if lowered == "content-type":
                content_type = value
            elif lowered not in _HOP_HEADERS:
                extra += f"{lowered}: {value}\r\n".encode("latin-1")
        exchange.answer(response.status, response.body, content_type.encode("latin-1"), extra)

    def close(self) -> None:
        """Let running calls end; take no new ones."""
        self._lanes.close()


def build_environ(exchange: Exchange, bound_signature: str | None) -> dict[str, Any]:
    """Return the WSGI environment of a request (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": exchange.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": exchange.path.decode("latin-1"),
        "QUERY_STRING": exchange.query.decode("latin-1"),
        "SERVER_NAME": exchange.headers.get(b"host", b"").decode("latin-1").partition(":")[0],
        "SERVER_PORT": str(exchange.connection.local_port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(exchange.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(exchange.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "bis.request_id": exchange.request_id.decode("ascii"),
        "bis.bound_signature": bound_signature,
        **caller_environ(exchange),
    }
    return environ


def caller_environ(exchange: Exchange) -> dict[str, Any]:
    """Return the part of it that says who calls, and with which headers."""
    environ: dict[str, Any] = {
        "REMOTE_ADDR": exchange.connection.client,
        "bis.peer": exchange.connection.peer,
    }
    for name, value in exchange.headers.items():
        key = name.decode("latin-1").upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value.decode("latin-1")
        elif key not in {"CONTENT_LENGTH", "TRANSFER_ENCODING"}:
            environ[f"HTTP_{key}"] = value.decode("latin-1")
    return environ


def call_wsgi(application: WSGIApplication, environ: dict[str, Any]) -> WsgiResponse:
    """Run a WSGI application to its end and return its whole response."""
    response = WsgiResponse()
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None and written:
            raise exc_info[1].with_traceback(exc_info[2])
        response.status = int(status.split(" ", 1)[0])
        response.headers = headers
        return written.append

    result: Iterable[bytes] = application(environ, start_response)
    try:
        written.extend(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    response.body = b"".join(written)
    return response
