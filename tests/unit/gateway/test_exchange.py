"""Unit tests of one HTTP exchange: its request id, its path, its answer."""

from __future__ import annotations

import pytest

from basic_inference_server.core.errors import MethodNotAllowed, NotReady, Unauthorized
from basic_inference_server.gateway.exchange import renew_id_prefix
from tests.support.exchanges import FakeConnection, make_exchange


@pytest.mark.parametrize(
    "given", ["a", "req-1", "A.b:c/d+e=f_g", "x" * 128], ids=["short", "usual", "signs", "longest"]
)
def test_sane_request_id_of_the_caller_is_kept(given: str) -> None:
    """A caller finds its own id in answers and logs."""
    assert given.encode() == make_exchange(headers={"X-Request-Id": given}).request_id


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a\tb", "é", 'a"b', "a{b", "bis_" + "x" * 43],
    ids=["empty", "too long", "space", "tab", "not ascii", "quote", "brace", "token"],
)  # fmt: skip
def test_other_request_id_is_replaced(given: str) -> None:
    """Nothing of a caller's gets into a header or a log line that could harm there."""
    made = make_exchange(headers={"X-Request-Id": given}).request_id
    assert made != given.encode("latin-1")
    assert made.replace(b"-", b"").isalnum()


def test_made_request_ids_are_unique_across_processes() -> None:
    """Each process has a prefix of its own and counts."""
    first, second = make_exchange().request_id, make_exchange().request_id
    renew_id_prefix()
    third = make_exchange().request_id
    assert 3 == len({first, second, third})
    assert first.partition(b"-")[0] == second.partition(b"-")[0] != third.partition(b"-")[0]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/run", b"/run", b""),
        ("/run?a=1&b=%20", b"/run", b"a=1&b=%20"),
        ("/run?", b"/run", b""),
        ("/run?a?b", b"/run", b"a?b"),
        ("/run/%64emo", b"/run/demo", b""),
        ("/run/a%2Fb", b"/run/a%2Fb", b""),
        ("/shutdown%2f?a", b"/shutdown%2F", b"a"),
        ("/%2fa%2F%20", b"/%2Fa%2F ", b""),
        ("/run/?a=/", b"/run", b"a=/"),
        ("/run/x//", b"/run/x/", b""),
        ("/", b"/", b""),
        ("/%e2%82%ac", "/€".encode(), b""),
        ("/%ff", "/\ufffd".encode(), b""),
        ("/a%", b"/a%", b""),
        ("/a%zz", b"/a%zz", b""),
        ("/%00", b"/\x00", b""),
    ],
)
def test_target_is_split_and_its_path_decoded(target: str, path: bytes, query: bytes) -> None:
    """The path is decoded once, but for slashes, and loses one at its end; the query stays."""
    exchange = make_exchange(target=target)
    assert (path, query) == (exchange.path, exchange.query)


def test_answer_has_date_length_type_and_id() -> None:
    """Every answer carries what the contract promises."""
    connection = FakeConnection()
    exchange = make_exchange(headers={"X-Request-Id": "id-1"}, connection=connection)
    exchange.answer(200, b'{"a":1}', extra_headers=b"x-extra: 1\r\n")
    assert (200, {"a": 1}) == (connection.status, connection.json)
    assert "GMT" == connection.headers.pop("date")[-3:]
    assert {
        "content-type": "application/json", "content-length": "7", "x-request-id": "id-1",
        "x-extra": "1",
    }.items() <= connection.headers.items()  # fmt: skip


def test_answer_without_a_body_says_no_length() -> None:
    """204 has neither a body nor its length (RFC 9110, section 8.6)."""
    connection = FakeConnection()
    make_exchange(connection=connection).answer_empty(204)
    assert 204 == connection.status
    assert not {"content-length", "content-type"} & connection.headers.keys()


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (NotReady("No.", retry_after_s=7), "retry-after", "7"),
        (NotReady("No.", retry_after_s=0.2), "retry-after", "1"),
        (Unauthorized("No."), "www-authenticate", 'Bearer realm="basic_inference_server"'),
        (MethodNotAllowed("No.", allowed=["GET", "POST"]), "allow", "GET, POST"),
    ],
)
def test_error_has_the_header_of_its_kind(
    error: NotReady | Unauthorized | MethodNotAllowed, header: str, value: str
) -> None:
    """A client that reads only headers is told too."""
    connection = FakeConnection()
    make_exchange(connection=connection).fail(error, "2.3.2")
    assert (error.status, value) == (connection.status, connection.headers[header])
    assert (error.code, "2.3.2") == (connection.json["code"], connection.json["ver"])


def test_error_without_details_has_no_such_header() -> None:
    """Nothing is promised that is not known."""
    connection = FakeConnection()
    make_exchange(connection=connection).fail(NotReady("No."), "1")
    assert "retry-after" not in connection.headers
