"""Unit tests of how a client says in which form it takes the items of a stream."""

from __future__ import annotations

import pytest

from basic_inference_server.gateway.accepted import accepts
from basic_inference_server.wire.frames import Accepts


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Accepts.NDJSON),
        ("", Accepts.NDJSON),
        ("*/*", Accepts.NDJSON),
        ("application/*", Accepts.NDJSON),
        ("text/html", Accepts.NDJSON),
        ("application/x-ndjson", Accepts.NDJSON),
        ("application/json, text/plain, */*", Accepts.NDJSON),
        ("application/json, application/x-ndjson", Accepts.NDJSON),
        ("application/json", Accepts.WHOLE),
        ("Application/JSON", Accepts.WHOLE),
        (" application/json ; charset=utf-8 ", Accepts.WHOLE),
        ("application/json;q=0.9, text/plain", Accepts.WHOLE),
        ("application/json, */*;q=0", Accepts.WHOLE),
        ("application/json, */* ; q=0.000", Accepts.WHOLE),
        ("application/json;q=0", Accepts.NDJSON),
        ("application/json;q=0.001", Accepts.WHOLE),
        ("text/event-stream", Accepts.EVENTS),
        ("TEXT/Event-Stream", Accepts.EVENTS),
        ("application/json, text/event-stream", Accepts.EVENTS),
        ("*/*,text/event-stream;q=0.1", Accepts.EVENTS),
        ("text/event-stream;q=0", Accepts.NDJSON),
        ("text/event-stream; Q=0.0, application/json", Accepts.WHOLE),
        ("text/event-stream;q=0.5;q=1", Accepts.EVENTS),
        (",,;,", Accepts.NDJSON),
        ("é;q=é", Accepts.NDJSON),
        (";q=0;" * 1000, Accepts.NDJSON),
    ],
)
def test_form_of_the_items_follows_the_header(header: str | None, expected: Accepts) -> None:
    """Events when they are named, one JSON answer when nothing else is taken, else lines."""
    assert expected is accepts(None if header is None else header.encode("latin-1"))
