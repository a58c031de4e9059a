"""JSON: our codec against Python's strict decoder, and the gateway's peek against the worker's."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.errors import BadJson, MissingSignature
from basic_inference_server.gateway.signature_peek import signature_of
from basic_inference_server.wire.json_codec import decode_object, encode_anything
from tests.judges.mutated import JSON_VALUES, mutated

pytestmark = pytest.mark.quick


def written(value: Any) -> bytes:
    """Return a value as a client may write it: escaped or not."""
    return json.dumps(value, ensure_ascii=len(str(value)) % 2 == 0).encode("utf-8", "surrogatepass")


OBJECTS = st.dictionaries(st.text(max_size=8) | st.just("SIGNATURE"), JSON_VALUES, max_size=4)
DOCUMENTS = mutated((OBJECTS | JSON_VALUES).map(written)) | st.binary(max_size=40)


def refuse_constant(name: str) -> Any:
    """Refuse `NaN` and the infinities, which Python reads otherwise."""
    raise ValueError(name)


def strictly_decoded(data: bytes) -> Any:
    """Return what Python's decoder makes of it; raises ValueError for what is no JSON."""
    return json.loads(data.decode("utf-8"), parse_constant=refuse_constant)


def contains(value: Any, is_odd: Any) -> bool:
    """Say whether a key or value anywhere in it is odd."""
    if isinstance(value, dict):
        return any(contains(one, is_odd) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return any(contains(one, is_odd) for one in value)
    return bool(is_odd(value))


def cannot_be_said(value: Any) -> bool:
    """Say whether it is a number too large for a float, or text with half a character."""
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, float) and not math.isfinite(value)


def alike(expected: Any, found: Any) -> bool:
    """Compare, where a whole number over 64 bits may have become the nearest float."""
    if isinstance(expected, dict):
        return expected.keys() == found.keys() and all(
            alike(value, found[key]) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(alike, expected, found))
    if isinstance(expected, int) and isinstance(found, float):
        return not -(2**63) <= expected < 2**64 and float(expected) == found
    return type(expected) is type(found) and expected == found


def as_said(value: Any) -> Any:
    """Return a value as JSON can say it."""
    if isinstance(value, dict):
        return {key: as_said(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_said(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(deadline=None, database=None)
@given(DOCUMENTS)
def test_codec_reads_what_python_reads(data: bytes) -> None:
    """Both read the same object, or both refuse; ours also refuses what cannot be written again."""
    try:
        found = decode_object(data)
    except BadJson:
        found = None
    try:
        expected = strictly_decoded(data)
    except ValueError:
        expected = None
    if not isinstance(expected, dict):
        assert found is None
    elif found is None:
        assert contains(expected, cannot_be_said)
    else:
        assert alike(expected, found)


@settings(deadline=None, database=None)
@given(DOCUMENTS)
def test_gateway_and_worker_read_the_same_signature(data: bytes) -> None:
    """The endpoint that the gateway finds in a body is the one that its worker would find."""
    try:
        peeked = signature_of(data)
    except (BadJson, MissingSignature):
        peeked = None
    try:
        found = decode_object(data).get("SIGNATURE")
    except BadJson:
        return  # the gateway may forward it: the worker refuses it
    assert peeked == (found if isinstance(found, str) else None)


@settings(deadline=None, database=None)
@given(JSON_VALUES)
def test_whatever_is_written_can_be_read(value: Any) -> None:
    """What the codec writes is JSON and says the same; NaN and the infinities become null."""
    assert alike(as_said(value), strictly_decoded(encode_anything(value)))
