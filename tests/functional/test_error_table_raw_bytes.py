"""No bytes of any kind get HTML, an empty body, a 200 or a hang."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient, head

pytestmark = pytest.mark.shares_gateway

BODY = b'{"SIGNATURE": "mirror"}'
JSON = ("Content-Type", "application/json")
CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint that answers anything."""
    folder = tmp_path_factory.mktemp("raw")
    with shared_gateway(folder, {"mirror": {}}, {"mirror": MIRROR}) as running:
        yield running


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"\r\n\x00\x01\x02\x03\r\n\r\n", id="binary"),
        pytest.param(b"hello\r\n\r\n", id="a word"),
        pytest.param(b"GET\r\n\r\n", id="a method alone"),
        pytest.param(b"GET /run\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET /run HTTP/3.0\r\nHost: x\r\n\r\n", id="HTTP/3.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"BREW /run HTTP/1.1\r\nHost: x\r\n\r\n", id="unknown method"),
        pytest.param(b"GET /run HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /run HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /run HTTP/1.1\r\nHost x\r\n\r\n", id="header without colon"),
        pytest.param(b"GET /run HTTP/1.1\r\nHost : x\r\n\r\n", id="blank before colon"),
        pytest.param(b"GET /run HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", id="NUL in a header"),
        pytest.param(b"GET /run HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(b"GET /\xff\xfe%41 HTTP/1.1\r\nHost: x\r\n\r\n", id="bytes in the path"),
        pytest.param(head("GET", "/run/%ff%fe%00"), id="escaped bytes in the path"),
        pytest.param(head("GET", "/run?SIGNATURE=%ff%fe"), id="query that is not UTF-8"),
        pytest.param(head("GET", "/" + "x" * 10_000), id="long target"),
        pytest.param(head("GET", "/run", ("X", "y" * 100_000)), id="long header"),
        pytest.param(head("GET", "/run", *[("X", "y")] * 20_000), id="many headers"),
        pytest.param(head("GET", "http://elsewhere/run"), id="absolute target"),
        pytest.param(head("CONNECT", "elsewhere:443"), id="CONNECT"),
        pytest.param(head("TRACE", "/run"), id="TRACE"),
        pytest.param(head("OPTIONS", "*"), id="OPTIONS of everything"),
        pytest.param(head("POST", "/run", ("Content-Length", "-1")), id="negative length"),
        pytest.param(head("POST", "/run", ("Content-Length", "ten")), id="length in words"),
        pytest.param(head("POST", "/run", ("Content-Length", "9" * 30)), id="huge length"),
        pytest.param(
            head("POST", "/run", ("Content-Length", "5"), ("Content-Length", "6")) + b"{}",
            id="two lengths",
        ),
        pytest.param(head("POST", "/run", CHUNKED, length=23) + BODY, id="length and chunks"),
        pytest.param(head("POST", "/run", CHUNKED) + b"zz\r\n", id="chunk size in letters"),
        pytest.param(head("POST", "/run", CHUNKED) + b"-1\r\n", id="negative chunk size"),
        pytest.param(head("POST", "/run", CHUNKED) + b"f" * 20 + b"\r\n", id="huge chunk size"),
        pytest.param(head("POST", "/run", ("Transfer-Encoding", "gzip")), id="unknown transfer"),
        pytest.param(head("GET", "/list_servers//"), id="slashes at the end"),
        pytest.param(head("GET", "//elsewhere/%2e%2e"), id="path that looks like a host"),
        pytest.param(
            head("GET", "/run", ("Connection", "Upgrade"), ("Upgrade", "websocket")),
            id="websocket",
        ),
    ],
)
def test_bytes_of_any_kind_get_an_error_in_json(gateway: RunningGateway, request_: bytes) -> None:
    """Whatever is sent, a JSON error comes back and the gateway goes on serving."""
    with RawClient(gateway.port) as client:
        client.send(request_)
        answer = client.read_answer("GET")
    body = json.loads(answer.content)
    assert 400 <= answer.status_code < 500
    assert {"ERROR", "code", "request_id", "time", "ver", "retryable", "executed"} <= body.keys()
    assert answer.headers["X-Request-Id"] == body["request_id"]
    assert 200 == gateway.run("mirror").status_code


@pytest.mark.parametrize("sent", [b"", b"GET /ru", head("POST", "/run", JSON, length=500) + BODY])
def test_client_that_leaves_in_the_middle_harms_nobody(
    gateway: RunningGateway, sent: bytes
) -> None:
    """A connection that breaks off leaves the gateway as it was."""
    with RawClient(gateway.port) as client:
        client.send(sent)
    assert 200 == gateway.run("mirror").status_code


def test_body_that_ends_early_is_told_so(gateway: RunningGateway) -> None:
    """Half a body and the end of the connection is an error, and nothing is executed."""
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", JSON, length=len(BODY) + 1) + BODY)
        client.end_sending()
        answer = client.read_answer()
    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/list_servers", "/list_servers/", "//list_servers", "//shutdown",
     "/shutdown", "/v1/live", "/run", "//run"],
)  # fmt: skip
def test_every_method_of_every_route_answers_in_json(
    gateway: RunningGateway, method: str, path: str
) -> None:
    """Every answer has a JSON object for its body, whatever was wrong."""
    answer = requests.request(method, gateway.url + path, timeout=60, allow_redirects=False)
    assert "application/json" == answer.headers["Content-Type"]
    assert isinstance(answer.json(), dict)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/run",
        "/v1/live",
        "/list_servers",
        "/shutdown",
    ],
)
def test_options_of_a_route_answers_in_json_or_without_a_body(
    gateway: RunningGateway, path: str
) -> None:
    """An answer to OPTIONS is a JSON object, or 204 and nothing at all."""
    answer = requests.options(gateway.url + path, timeout=60, allow_redirects=False)
    if answer.status_code == 204:
        assert b"" == answer.content
        return
    assert "application/json" == answer.headers["Content-Type"]
    assert isinstance(answer.json(), dict)
