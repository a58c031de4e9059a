"""Unit tests of running a WSGI application: its environment, its response, its faults."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from basic_inference_server.gateway.wsgi_bridge import WsgiResponse, build_environ, call_wsgi
from tests.support.exchanges import FakeConnection, make_exchange

StartResponse = Callable[..., Callable[[bytes], object]]
OK = [("Content-Type", "text/plain")]


def environ_of(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "method": "POST", "target": "/list_servers?a=1&b=%20",
        "headers": {"Host": "gateway.example:5002", "Content-Type": "application/json",
                    "X-Some-Header": "é", "Content-Length": "99"},
        "body": b"{}", "connection": FakeConnection("192.0.2.7", 5003),
    }  # fmt: skip
    return build_environ(make_exchange(**{**options, **changes}), bound_signature="demo")


def test_environment_is_that_of_the_request() -> None:
    """Flask sees method, path, query, address and headers as they came."""
    environ = environ_of()
    assert {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/list_servers", "QUERY_STRING": "a=1&b=%20",
        "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.7", "SERVER_NAME": "gateway.example",
        "SERVER_PORT": "5003", "CONTENT_TYPE": "application/json", "HTTP_X_SOME_HEADER": "é",
        "HTTP_HOST": "gateway.example:5002", "wsgi.url_scheme": "http",
        "bis.bound_signature": "demo",
    }.items() <= environ.items()  # fmt: skip


def test_length_is_that_of_the_body_which_was_read() -> None:
    """A header cannot make Flask read more or less than there is."""
    environ = environ_of()
    assert ("2", b"{}") == (environ["CONTENT_LENGTH"], environ["wsgi.input"].read())
    assert "HTTP_CONTENT_LENGTH" not in environ


def test_chunked_request_is_one_with_a_length() -> None:
    """The body has been put together by then."""
    environ = environ_of(headers={"Host": "x", "Transfer-Encoding": "chunked"})
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "CONTENT_TYPE" not in environ


@pytest.mark.parametrize(
    "name", ["Remote-Addr", "Wsgi.Input", "Bis.Bound-Signature", "Script-Name", "Content_Length"]
)
def test_header_cannot_set_what_the_gateway_knows(name: str) -> None:
    """A client's header of that name stays a header."""
    expected = environ_of()
    environ = environ_of(headers={"Host": "gateway.example:5002", name: "127.0.0.1"})
    for key in ("REMOTE_ADDR", "bis.bound_signature", "SCRIPT_NAME", "CONTENT_LENGTH"):
        assert expected[key] == environ[key]
    assert isinstance(environ["wsgi.input"], io.BytesIO)


def test_application_that_keeps_to_the_standard_is_served() -> None:
    """The standard library's own checker finds nothing to complain about."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", OK)
        return [environ["wsgi.input"].read(2), b" of ", environ["PATH_INFO"].encode()]

    response = call_wsgi(validator(application), environ_of())
    assert WsgiResponse(200, OK, b"{} of /list_servers") == response


def test_generator_may_begin_its_response_late() -> None:
    """Status and headers count from when they are said."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("404 Not Found", OK)
        yield b"one "
        yield b"two"

    assert WsgiResponse(404, OK, b"one two") == call_wsgi(application, {})


def test_old_fashioned_write_comes_before_the_result() -> None:
    """The standard's `write` callable works."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", OK)
        write(b"one ")
        return [b"two"]

    assert b"one two" == call_wsgi(application, {}).body


class ClosingResult:
    """A result that wants to be closed; breaks in the middle when it is told to."""

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        if self.breaks:
            raise RuntimeError("in the middle")

    def close(self) -> None:
        self.closed += 1


def application_of(result: Iterable[bytes]) -> Any:
    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", OK)
        return result

    return application


def test_result_is_closed_once() -> None:
    """An application that opened a file gets to close it."""
    result = ClosingResult(breaks=False)
    assert b"one" == call_wsgi(application_of(result), {}).body
    assert 1 == result.closed


def test_result_that_breaks_is_closed_and_raises() -> None:
    """Half a response is never answered."""
    result = ClosingResult(breaks=True)
    with pytest.raises(RuntimeError, match="in the middle"):
        call_wsgi(application_of(result), {})
    assert 1 == result.closed


def test_response_may_be_replaced_until_something_was_written() -> None:
    """An error page takes the place of the response, but not of half of it."""

    def failing(*, writes: bool) -> Any:
        def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
            write = start_response("200 OK", OK)
            if writes:
                write(b"half")
            try:
                int("x")
            except ValueError:
                start_response("500 Oh", [], sys.exc_info())
            return [b"error"]

        return application

    assert WsgiResponse(500, [], b"error") == call_wsgi(failing(writes=False), {})
    with pytest.raises(ValueError, match="invalid literal"):
        call_wsgi(failing(writes=True), {})


def test_application_that_says_nothing_is_an_error() -> None:
    """Without a status there is a 500, not a 200."""

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return []

    assert WsgiResponse(500, [], b"") == call_wsgi(application, {})
