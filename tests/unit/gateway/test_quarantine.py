"""Unit tests of refusing what kills, and of requests that nobody waits for any more."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from basic_inference_server.core.errors import Quarantined
from basic_inference_server.core.fingerprints import fingerprint_of, reference_of
from basic_inference_server.gateway.quarantine import (
    MAX_DEPARTED,
    MAX_DEPARTED_BYTES,
    Departed,
    describe_strike,
    require_harmless,
)
from tests.support.planes import ROUTE, Plane, error_of

BODY = b'{"SIGNATURE": "demo", "X": 1}'


def test_only_the_very_same_bytes_are_refused() -> None:
    """The error names the reference that an administrator needs."""
    quarantined = {fingerprint_of(BODY): len(BODY)}
    require_harmless(ROUTE, BODY.replace(b"1", b"2"), quarantined)
    require_harmless(ROUTE, BODY + b" ", quarantined)
    with pytest.raises(Quarantined) as caught:
        require_harmless(ROUTE, bytearray(BODY), quarantined)
    assert {"reference": reference_of(fingerprint_of(BODY))} == caught.value.details


@pytest.mark.parametrize(("keeps", "size"), [(False, 10), (True, 10), (True, 2**20 + 1)])
def test_body_is_sent_only_where_it_is_wanted_and_short(keeps: bool, size: int) -> None:
    """The fingerprint always."""
    body = b"x" * size
    told = describe_strike(replace(ROUTE, quarantine_keeps_body=keeps), body, "r1", "signal 11")
    expected = base64.b64encode(body).decode() if keeps and size == 10 else None
    assert {
        "signature": "demo", "fingerprint": fingerprint_of(body), "length": size,
        "request_id": "r1", "cause": "signal 11", "body": expected,
    } == told  # fmt: skip


def test_departed_are_bounded_in_number_and_bytes() -> None:
    """The oldest go; one that is too large is not kept at all."""
    departed = Departed()
    for call in range(MAX_DEPARTED + 1):
        departed.remember(call, ROUTE, BODY, "r")
    assert None is departed.take(0)
    assert (ROUTE, BODY, "r") == departed.take(1)
    assert None is departed.take(1)
    departed.remember(1000, ROUTE, b"x" * (MAX_DEPARTED_BYTES + 1), "r")
    assert None is departed.take(1000)
    departed.remember(1001, ROUTE, b"x" * MAX_DEPARTED_BYTES, "r")
    assert None is departed.take(2)
    assert None is not departed.take(1001)


def test_quarantined_request_is_not_sent(plane: Plane) -> None:
    """And the endpoint's other requests are."""
    plane.send(fields={"SIGNATURE": "demo", "X": 1})
    body = bytes(plane.hub.frames[0].body)
    plane.know(ROUTE, quarantined={"demo": {fingerprint_of(body): len(body)}})
    assert (422, "quarantined") == error_of(plane.send(fields={"SIGNATURE": "demo", "X": 1}))
    plane.send(fields={"SIGNATURE": "demo", "X": 2})
    assert 2 == len(plane.hub.paths)


def test_death_after_the_deadline_or_after_the_caller_left_is_reported(plane: Plane) -> None:
    """Once each, with the request's own id."""
    plane.send(X_Request_Id="late", X_Request_Timeout="0.000001")
    plane.hub.open.pop().on_deadline()
    plane.send(X_Request_Id="gone")
    assert plane.exchange.on_abandoned is not None
    plane.exchange.on_abandoned()
    for frame in plane.hub.frames:
        plane.announce_death(frame)
        plane.announce_death(frame)
    assert ["late", "gone"] == [fields["request_id"] for _, fields in plane.told]


def test_death_that_is_nobodys_fault_is_not_reported(plane: Plane) -> None:
    """An operator has killed the worker."""
    plane.send(X_Request_Id="late", X_Request_Timeout="0.000001")
    plane.hub.open.pop().on_deadline()
    plane.announce_death(plane.hub.frames[0], "signal 9", blames_request=False)
    assert [] == plane.told
