"""Unit tests of making one JSON object of every accepted form of a request."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.errors import BadRequest, UnsupportedMediaType, UriTooLong
from basic_inference_server.gateway.form_fields import MAX_FIELDS
from basic_inference_server.gateway.request_body import addressee_of, read_body
from tests.support.exchanges import make_exchange

FORM = "application/x-www-form-urlencoded"
JSON = b'{"SIGNATURE":"demo","A":1}'


def body_of(
    body: bytes = b"", content_type: str | None = None, target: str = "/run", method: str = "POST"
) -> bytes:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return bytes(read_body(make_exchange(method, target, headers, body)).content)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
        "Application/JSON", "application/vnd.api+json", "text/json", FORM, None, "",
        "application/json; Charset=UTF8", 'application/json; charset="utf-8"; v=1',
        "application/json ; CHARSET = us-ascii", "application/json; xcharset=latin-1",
    ],
)  # fmt: skip
def test_json_body_is_handed_on_untouched(content_type: str | None) -> None:
    """Under any type that means JSON, and under those that `curl -d` sends with it."""
    assert JSON == body_of(JSON, content_type)


def test_json_body_is_not_copied() -> None:
    """A large body is passed on as the object that received it."""
    body = bytearray(JSON)
    exchange = make_exchange(headers={"Content-Type": "application/json"}, body=body)
    assert body is read_body(exchange).content


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b" {}", b"\xff"])
def test_what_json_holds_is_for_the_reader_to_judge(body: bytes) -> None:
    """A body that says it is JSON is never taken for a form."""
    assert body == body_of(body, "application/json")


@settings(deadline=None, max_examples=60, database=None)
@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=5))
def test_any_form_becomes_its_fields(fields: dict[str, str]) -> None:
    """Names and values of every language survive, in a body and in a query."""
    encoded = urlencode(fields).encode()
    assert fields == json.loads(body_of(encoded, FORM))
    assert fields == json.loads(body_of(target=f"/run?{encoded.decode()}", method="GET"))


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        pytest.param("a=1&b=", {"a": "1", "b": ""}, id="empty value"),
        pytest.param("a", {"a": ""}, id="no equals sign"),
        pytest.param("a=1&a=2&b=3&a=", {"a": ["1", "2", ""], "b": "3"}, id="a repeated field"),
        pytest.param("a=x+y%2B", {"a": "x y+"}, id="plus is a space"),
        pytest.param("", {}, id="nothing"),
        pytest.param("a=1&&b=2&", {"a": "1", "b": "2"}, id="empty pairs"),
        pytest.param("a=%7B%22x%22%3A1%7D", {"a": '{"x":1}'}, id="JSON in a field"),
    ],
)
def test_form_is_read_like_a_browser_writes_it(encoded: str, expected: dict[str, str]) -> None:
    """Fields of a query are texts, with the usual rules."""
    assert expected == json.loads(body_of(target=f"/run?{encoded}", method="GET"))


def test_query_counts_when_a_post_has_no_body() -> None:
    """`curl -X POST '…?SIGNATURE=demo'` works."""
    for content_type in (None, FORM):
        body = body_of(b"", content_type, "/run?SIGNATURE=demo")
        assert {"SIGNATURE": "demo"} == json.loads(body)


def test_body_wins_over_the_query() -> None:
    """There is one source of fields."""
    assert {"a": "1"} == json.loads(body_of(b"a=1", FORM, "/run?b=2"))


def test_body_of_a_get_is_ignored() -> None:
    """A GET is its query."""
    assert {"a": "1"} == json.loads(body_of(JSON, "application/json", "/run?a=1", "GET"))


RAW_TYPES = ["text/plain", "image/png", "application/xml", "multipart/form-data; boundary=x"]


@pytest.mark.parametrize("content_type", RAW_TYPES)
def test_any_other_type_is_a_raw_body(content_type: str) -> None:
    """It goes to the endpoint as it came, with its type and the fields of the query."""
    body = bytearray(b"\xff\0")
    headers = {"Content-Type": content_type}
    exchange = make_exchange("POST", "/run/demo?A=1&B=x%20y", headers, body)
    found = read_body(exchange)
    assert content_type.encode() == found.content_type
    assert body is found.content
    assert {"A": "1", "B": "x y"} == json.loads(found.fields)


@pytest.mark.parametrize(
    "content_type", ["x", "text", "a/b\x01", "é/é", "/", "a/", "a/ b", "a/" + "b" * 1023]
)
def test_type_that_is_none_is_refused(content_type: str) -> None:
    """What cannot be a media type goes no further."""
    with pytest.raises(UnsupportedMediaType, match="is not a media type"):
        body_of(b"hello", content_type)


def test_raw_body_says_in_its_query_for_whom_it_is() -> None:
    """Or in the path; without either the answer says what to do."""
    headers = {"Content-Type": "image/png"}
    named = make_exchange("POST", "/run?SIGNATURE=demo", headers, b"x")
    assert "demo" == addressee_of(read_body(named))
    with pytest.raises(UnsupportedMediaType, match="'image/png' names no endpoint"):
        addressee_of(read_body(make_exchange("POST", "/run", headers, b"x")))


def test_query_beside_a_raw_body_has_a_limit() -> None:
    """Escapes make it longer than the target was."""
    target = "/run/demo?A=" + "%01" * 11_000
    with pytest.raises(UriTooLong):
        read_body(make_exchange("POST", target, {"Content-Type": "image/png"}, b"x"))


@pytest.mark.parametrize("name", ["charset", "Charset", "v=utf-8; CHARSET"])
@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "UTF-32"])
def test_json_of_another_charset_is_refused(charset: str, name: str) -> None:
    """JSON is UTF-8; a byte order mark of another encoding is not guessed at."""
    body = '{"SIGNATURE":"demo"}'.encode(charset)
    if body[:1] == b"{":
        body = b" " + body
    with pytest.raises(UnsupportedMediaType, match="JSON is read as UTF-8 only"):
        body_of(body, f"application/json; {name}={charset}")


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"a=\xff", id="raw bytes"),
        pytest.param(b"a=%FF", id="escaped bytes"),
        pytest.param("é=1".encode(), id="unescaped letter"),
        pytest.param(b"&".join(b"f%d=1" % n for n in range(MAX_FIELDS + 1)), id="too many fields"),
    ],
)
def test_form_that_cannot_be_decoded_is_a_bad_request(encoded: bytes) -> None:
    """Bytes that are no text are refused instead of guessed at."""
    with pytest.raises(BadRequest, match="The fields cannot be decoded"):
        body_of(encoded, FORM)
    with pytest.raises(BadRequest, match="The fields cannot be decoded"):
        body_of(target=f"/run?{encoded.decode('latin-1')}", method="GET")
