"""Strict readers of streamed answers: lines of JSON, and Server-sent events."""

from __future__ import annotations

import json
from typing import Any


def parse_lines(body: bytes) -> list[Any]:
    """Return the value of each line; every line has its end."""
    lines = body.split(b"\n")
    assert b"" == lines.pop(), "the last line has no end"
    return [json.loads(line) for line in lines]


def parse_events(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each event, as the HTML standard has them dispatched (9.2.6)."""
    events, name, data = [], "message", list[str]()
    for line in body.decode("utf-8").split("\n"):
        field, _, value = line.partition(": ")
        if not line and data:
            events.append((name, json.loads("\n".join(data))))
        if not line:
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        else:
            raise AssertionError(f"a field that nobody knows: {line!r}")
    assert not data, "the last event has no end"
    return events
