"""Unit tests of reading `SIGNATURE` out of a body: every hostile payload has one clear end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.errors import BadJson, MissingSignature
from basic_inference_server.core.topology import is_signature
from basic_inference_server.gateway.signature_peek import signature_of
from basic_inference_server.wire.json_codec import decode_object

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60, database=None)
@given(st.text(), st.dictionaries(st.text(), JSON_VALUES, max_size=4), st.booleans())
def test_signature_of_any_object_is_what_the_worker_will_read(
    signature: str,
    others: dict[str, Any],
    ascii_only: bool,
) -> None:
    """The gateway and the worker agree, wherever in the object the name is."""
    body = json.dumps({**others, "SIGNATURE": signature}, ensure_ascii=ascii_only).encode()
    assert signature == signature_of(body) == decode_object(body)["SIGNATURE"]


@settings(deadline=None, max_examples=200, database=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_clients_error(body: bytes) -> None:
    """Nothing that arrives raises anything else; now and then it is a request."""
    try:
        signature = signature_of(body)
    except (BadJson, MissingSignature):
        return
    assert json.loads(body)["SIGNATURE"] == signature


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b'\xef\xbb\xbf{"SIGNATURE":"a"}', id="byte order mark"),
        pytest.param(b'{"SIGNATURE":"a",}', id="trailing comma"),
        pytest.param(b'{"SIGNATURE":"a"}x', id="trailing text"),
        pytest.param(b'{"SIGNATURE":"a\xff"}', id="invalid utf-8"),
        pytest.param('{"SIGNATURE":"a"}'.encode("utf-16"), id="utf-16"),
        pytest.param('{"SIGNATURE":"a"}'.encode("utf-32"), id="utf-32"),
        pytest.param(b"{+ACI-SIGNATURE+ACI-:+ACI-a+ACI-}", id="utf-7"),
        pytest.param(b'{"SIGNATURE":"a","x":NaN}', id="not a number"),
        pytest.param(b'{"SIGNATURE":"a","x":-Infinity}', id="infinity"),
        pytest.param(b'{"SIGNATURE":"a","x":01}', id="leading zero"),
        pytest.param(b'{"SIGNATURE":"a","x":"\x01"}', id="control character"),
        pytest.param(b'{"SIGNATURE":"\\ud800"}', id="half a character"),
        pytest.param(b'{"a":' * 100_000, id="deep objects"),
        pytest.param(b'{"SIGNATURE":"a","x":' + b"[" * 100_000, id="deep arrays"),
        pytest.param(
            b'{"SIGNATURE":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", id="deep, whole"
        ),
    ],
)
def test_body_that_is_not_json_is_refused(body: bytes) -> None:
    """Each is `bad_json` in gateway and worker alike, and none is a recursion error."""
    with pytest.raises(BadJson, match=r"^The body is not valid JSON: .+\.$"):
        signature_of(body)
    with pytest.raises(BadJson):
        decode_object(body)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"[]", "array"), (b"null", "null"), (b"1", "int"), (b'"x"', "str"), (b"true", "bool")],
)
def test_body_that_is_no_object_is_refused_by_its_kind(body: bytes, kind: str) -> None:
    """The sentence says what was sent instead."""
    with pytest.raises(BadJson) as caught:
        signature_of(body)
    assert f"The body must be a JSON object: Expected `object`, got `{kind}`." == (
        caught.value.message
    )


@pytest.mark.parametrize("value", ["1", "null", "true", "[]", "{}", "1.5"])
def test_signature_that_is_no_string_is_missing(value: str) -> None:
    """A number or a list names no endpoint."""
    with pytest.raises(MissingSignature, match="SIGNATURE must be a string"):
        signature_of(b'{"SIGNATURE":%b}' % value.encode())


@pytest.mark.parametrize("body", [b"{}", b'{"signature":"a"}', b'{"x":{"SIGNATURE":"a"}}'])
def test_object_without_a_signature_says_what_to_add(body: bytes) -> None:
    """Another spelling or a nested one is none."""
    with pytest.raises(MissingSignature, match=r'add "SIGNATURE": "<endpoint>"'):
        signature_of(body)


@pytest.mark.parametrize(
    "signature",
    ["", " A", "A\n", "A\x00", "\uff21\uff22", "A" * 10_000, "../etc/passwd", "__import__", "*"],
    ids=["empty", "space", "line end", "nul", "full width", "long", "path", "name", "star"],
)
def test_odd_signature_is_only_a_name(signature: str) -> None:
    """It is returned as it is: looked up in a table, it is simply not there."""
    body = json.dumps({"SIGNATURE": signature}).encode()
    assert signature == signature_of(body)
    assert is_signature(signature) is (signature == "__import__")


def test_last_of_a_repeated_signature_counts_in_gateway_and_worker() -> None:
    """Both read the same one, so a request cannot pass as another's."""
    body = b'{"SIGNATURE":"a","x":1,"SIGNATURE":"b"}'
    assert "b" == signature_of(body) == decode_object(body)["SIGNATURE"]


def test_escaped_name_of_the_field_counts_in_gateway_and_worker() -> None:
    """Another way to write the same name is the same name."""
    body = b'{"\\u0053IGNATURE":"a"}'
    assert "a" == signature_of(body) == decode_object(body)["SIGNATURE"]


@pytest.mark.parametrize("value", [b"1e400", b'"\xff"', b'"\xed\xa0\x80"'])
def test_value_that_is_only_skipped_is_judged_by_the_worker(value: bytes) -> None:
    """What the gateway need not understand it does not read; the worker refuses it."""
    body = b'{"SIGNATURE":"a","x":%b}' % value
    assert "a" == signature_of(body)
    with pytest.raises(BadJson):
        decode_object(body)


def test_body_of_a_buffer_is_read() -> None:
    """A body that came in pieces is in a bytearray."""
    assert "a" == signature_of(bytearray(b'{"SIGNATURE":"a"}'))
