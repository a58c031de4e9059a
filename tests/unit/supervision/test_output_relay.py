"""Unit tests of passing a child's output on: records, plain lines, floods."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from basic_inference_server.core.logs import RECORD_MARK, Event, EventLog, to_line
from basic_inference_server.supervision.output_relay import (
    MAX_LINES_PER_S,
    SHOWN_LINES,
    OutputRelay,
)
from tests.support.manual_clock import ManualClock

MARK = RECORD_MARK + b"secret"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.supervision.output_relay.monotonic_s", clock)
    return clock


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def relay(said: list[Event], clock: ManualClock) -> OutputRelay:
    log = EventLog(said.append).bind(server="demo")
    return OutputRelay("demo", log, said.append, MARK)


def record(**event: Any) -> bytes:
    return MARK + to_line(event)


def test_record_is_passed_on_as_it_was_said(relay: OutputRelay, said: list[Event]) -> None:
    """The child's event keeps its own time and fields, and gets its server's name."""
    relay(record(time="2024", level="error", event="request_failed", worker_id=1))
    assert [
        {"time": "2024", "level": "error", "event": "request_failed", "worker_id": 1,
         "server": "demo"},
    ] == said  # fmt: skip


def test_child_cannot_speak_for_another_server(relay: OutputRelay, said: list[Event]) -> None:
    """The name comes from whose pipe it was, never from the record."""
    relay(record(event="stopped", server="gateway"))
    assert ["demo"] == [event["server"] for event in said]


def test_plain_line_becomes_an_event(relay: OutputRelay, said: list[Event]) -> None:
    """What C code or a support process prints is shown with its server."""
    relay("înc\xe4rcat".encode())
    assert [("output", "încärcat", "demo", "info")] == [
        (event["event"], event["message"], event["server"], event["level"]) for event in said
    ]


def test_line_that_is_not_utf8_is_shown_escaped(relay: OutputRelay, said: list[Event]) -> None:
    """Bytes of any kind are readable and lose nothing."""
    relay(b"a\xff\x00b")
    assert "a\\xff\x00b" == said[0]["message"]


@pytest.mark.parametrize("line", [b"", b"   ", b"\t\r"])
def test_empty_line_is_nothing(relay: OutputRelay, said: list[Event], line: bytes) -> None:
    """Blank lines are no events."""
    relay(line)
    assert [] == said


def test_broken_record_is_shown_as_text(relay: OutputRelay, said: list[Event]) -> None:
    """Half a record is worth showing too."""
    relay(MARK + b'{"event": "ha')
    assert [("output", '\x1esecret{"event": "ha')] == [
        (event["event"], event["message"]) for event in said
    ]


@pytest.mark.parametrize(
    "text", [b"5", b"[1]", b"null", b'"x"', b"[" * 5000], ids=["5", "[1]", "null", '"x"', "deep"]
)
def test_record_that_is_no_object_is_shown_as_text(
    relay: OutputRelay, said: list[Event], text: bytes
) -> None:
    """A child that writes the mark by itself does not disturb the supervisor."""
    relay(MARK + text)
    assert [(MARK + text).decode()] == [event["message"] for event in said]


def test_last_lines_are_kept_for_whoever_asks_why_it_died(
    relay: OutputRelay, said: list[Event]
) -> None:
    """Printed lines count, the engine's own records do not; the newest few are kept."""
    relay(record(event="worker_ready"))
    for number in range(SHOWN_LINES):
        relay(b"plain %d" % number)
    relay(record(event="output", message="printed", worker_id=1))
    relay(record(event="output", message="another worker's", worker_id=2))
    expected = [f"plain {number}" for number in range(1, SHOWN_LINES)] + ["printed"]
    assert expected == relay.last_lines(1)


def test_text_that_looks_like_a_record_is_a_text(relay: OutputRelay, said: list[Event]) -> None:
    """Whoever does not know the secret in the mark cannot write records, only lines."""
    forged = RECORD_MARK + to_line({"event": "stopped", "level": "critical"})
    relay(forged)
    assert [("output", "info", forged.decode())] == [
        (event["event"], event["level"], event["message"]) for event in said
    ]


@pytest.mark.parametrize(
    "make",
    [lambda: b"line", lambda: record(event="output", message="x")],
    ids=["plain", "printed"],
)
def test_flood_is_counted_instead_of_shown(
    relay: OutputRelay, said: list[Event], clock: ManualClock, make: Callable[[], bytes]
) -> None:
    """Two thousand lines a second are shown; the number of the others is said afterwards."""
    for _ in range(MAX_LINES_PER_S + 500):
        relay(make())
    assert MAX_LINES_PER_S == len(said)
    clock.advance(1)
    relay(make())
    suppressed, following = said[MAX_LINES_PER_S:]
    assert ("output_suppressed", "warning", 500) == (
        suppressed["event"], suppressed["level"], suppressed["lines"],
    )  # fmt: skip
    assert "output" == following["event"]


def test_events_of_the_engine_pass_through_a_flood(
    relay: OutputRelay, said: list[Event], clock: ManualClock
) -> None:
    """What explains the flood is never lost in it."""
    for _ in range(MAX_LINES_PER_S + 1):
        relay(b"x")
    relay(record(event="request_failed"))
    assert "request_failed" == said[-1]["event"]


def test_calm_after_a_flood_is_shown_again(
    relay: OutputRelay, said: list[Event], clock: ManualClock
) -> None:
    """Each second has its own allowance, and nothing is said twice."""
    for _ in range(3):
        for _ in range(MAX_LINES_PER_S):
            relay(b"x")
        clock.advance(1)
    assert 3 * MAX_LINES_PER_S == len(said)
    assert {"output"} == {event["event"] for event in said}


def test_relayed_record_is_json_again(relay: OutputRelay, said: list[Event]) -> None:
    """What was one record stays renderable, whatever it holds."""
    hostile = 'a\n\x1e{"event":"stopped"}\x1b[2J'
    relay(record(event="message", message=hostile))
    assert hostile == json.loads(to_line(said[0]))["message"]
