"""Unit tests of the text around streamed items: what a client's parser makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.wire.frames import Accepts
from basic_inference_server.wire.json_codec import encode
from basic_inference_server.wire.stream_layouts import EVENTS, NDJSON, layout_for, layout_of
from tests.support.event_stream import parse_events, parse_lines

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=80, database=None)
@given(st.lists(JSON_VALUES, max_size=5))
def test_any_items_are_read_back(items: list[Any]) -> None:
    """No text in an item can end it: JSON writes line ends as escapes."""
    encoded = [encode(item) for item in items]
    lines = b"".join(NDJSON.item(one) for one in encoded) + NDJSON.end(b"{}")
    assert items == parse_lines(lines)
    events = b"".join(EVENTS.item(one) for one in encoded) + EVENTS.end(b'{"a":1}')
    assert [*(("message", item) for item in items), ("end", {"a": 1})] == parse_events(events)


def test_error_after_whole_items_is_an_item_of_its_own() -> None:
    """The last line, or an event with that name."""
    error = b'{"ERROR":"broken"}'
    whole = NDJSON.item(b"1")
    assert [1, {"ERROR": "broken"}] == parse_lines(whole + NDJSON.error(error, whole))
    whole = EVENTS.item(b"1")
    assert [("message", 1), ("error", {"ERROR": "broken"})] == parse_events(
        whole + EVENTS.error(error, whole)
    )


@pytest.mark.parametrize("layout", [NDJSON, EVENTS], ids=["lines", "events"])
def test_error_within_an_item_is_still_the_last_one(layout: Any) -> None:
    """A worker that dies while it sends an item leaves half a line, and the error the next one."""
    item = layout.item(b'{"text":"some words"}')
    for cut in range(1, len(item)):
        written = item[:cut]
        body = (written + layout.error(b'{"ERROR":"broken"}', written)).decode()
        last = body.rstrip("\n").rpartition("\n")[2]
        assert {"ERROR": "broken"} == json.loads(last.removeprefix("data: ")), cut
        if layout is EVENTS:
            assert "\n\nevent: error\n" in body


def test_error_as_the_first_thing_needs_no_line_before() -> None:
    """Nothing was written, so nothing has to be ended."""
    assert b"{}\n" == NDJSON.error(b"{}")
    assert b"event: error\ndata: {}\n\n" == EVENTS.error(b"{}")


def test_layout_is_the_same_on_both_sides() -> None:
    """The worker chooses by what is accepted, the gateway knows it by the content type."""
    for accepts, layout in ((Accepts.NDJSON, NDJSON), (Accepts.EVENTS, EVENTS)):
        assert layout is layout_for(accepts)
        assert layout is layout_of(layout.content_type)
