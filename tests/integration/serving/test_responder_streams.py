"""Streams through a worker's responder: what is sent, counted and cleaned up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.scoreboard import WorkerState
from basic_inference_server.wire.frames import Accepts
from basic_inference_server.worker.current_request import current_request
from tests.support.event_stream import parse_events, parse_lines
from tests.support.eventually import eventually
from tests.support.responder_desk import LARGE, TIMEOUT_S, Desk, counting


def test_items_are_lines_or_events_or_one_answer(desk: Desk) -> None:
    """As the caller accepts; the last event has what an answer has beside its data."""
    does = counting({"n": 1}, [2], "three")
    lines = desk.answer(does)
    assert ("application/x-ndjson", 200) == (lines.content_type, lines.chunks.status)
    assert [{"n": 1}, [2], "three"] == parse_lines(bytes(lines.body))
    events = desk.answer(does, accepts=Accepts.EVENTS)
    assert ("text/event-stream", 200) == (events.content_type, events.chunks.status)
    *items, (name, end) = parse_events(bytes(events.body))
    assert [("message", {"n": 1}), ("message", [2]), ("message", "three")] == items
    assert ("end", "demo", 2, 3) == (name, end["signature"], end["call_id"], end["worker_id"])
    whole = desk.answer(does, accepts=Accepts.WHOLE)
    assert whole.header is not None
    assert ("application/json", 200) == (whole.content_type, whole.header.status)
    assert [{"n": 1}, [2], "three"] == json.loads(whole.body)["data"]
    assert (3, 0) == desk.counted
    assert [] == desk.said


def test_nothing_yielded_is_an_empty_answer(desk: Desk) -> None:
    """No line, one event, an empty list."""
    assert b"" == desk.answer(counting()).body
    ((name, _),) = parse_events(bytes(desk.answer(counting(), accepts=Accepts.EVENTS).body))
    assert "end" == name
    assert [] == json.loads(desk.answer(counting(), accepts=Accepts.WHOLE).body)["data"]


def test_item_is_sent_before_the_next_one_is_made(desk: Desk) -> None:
    """Nothing is kept back."""
    go_on = threading.Event()

    def predict(_inputs: Any) -> Iterator[int]:
        yield 1
        assert go_on.wait(10)
        yield 2

    with desk.serving(predict) as reply:
        reply.read_head()
        assert b"1\n" == reply.read_until(b"1\n")
        assert WorkerState.BUSY is desk.board.read(desk.slot.index).state
        go_on.set()
        assert b"1\n2\n" == reply.read_all()


@pytest.mark.parametrize("accepts", list(Accepts))
@pytest.mark.parametrize("wrong", [RuntimeError("cannot begin"), object()], ids=["raises", "type"])
def test_error_before_the_first_item_is_an_ordinary_one(
    desk: Desk, accepts: Accepts, wrong: Any
) -> None:
    """With a status of its own; nothing was streamed."""
    reply = desk.answer(counting(wrong, 2), accepts=accepts)
    assert reply.header is not None
    assert (500, False, True) == (
        reply.header.status, reply.header.is_stream, reply.header.failed,
    )  # fmt: skip
    assert ("endpoint_error", "id-1") == (
        json.loads(reply.body)["code"], json.loads(reply.body)["request_id"],
    )  # fmt: skip
    assert (1, 1) == desk.counted
    assert 1 == len(desk.events("request_failed"))


@pytest.mark.parametrize("wrong", [RuntimeError("broke"), object()], ids=["raises", "type"])
def test_error_in_mid_stream_is_the_last_item(desk: Desk, wrong: Any) -> None:
    """The stream has an end, whose status is the error's; it is counted and logged once."""
    lines = desk.answer(counting(1, wrong, 3))
    first, error = parse_lines(bytes(lines.body))
    assert (1, 500, "endpoint_error") == (first, lines.chunks.status, error["code"])
    assert ("id-1", "2.3.2") == (error["request_id"], error["ver"])
    events = desk.answer(counting(1, wrong, 3), accepts=Accepts.EVENTS)
    assert ["message", "error"] == [name for name, _ in parse_events(bytes(events.body))]
    whole = desk.answer(counting(1, wrong, 3), accepts=Accepts.WHOLE)
    assert whole.header is not None
    assert 500 == whole.header.status
    assert (3, 3) == desk.counted
    assert 3 == len(desk.events("request_failed"))


@pytest.mark.parametrize("when", ["in mid-stream", "before the first item"])
def test_caller_who_leaves_closes_the_generator(desk: Desk, when: str) -> None:
    """At its next item: its `finally` runs, within the request; nothing has failed."""
    go_on = threading.Event()
    closed: list[str] = []

    def predict(_inputs: Any) -> Iterator[int]:
        try:
            if when == "in mid-stream":
                yield 1
            assert go_on.wait(10)
            yield from range(1000)
        finally:
            closed.append(current_request().request_id)

    with desk.serving(predict) as reply:
        if when == "in mid-stream":
            reply.read_head().read_until(b"1\n")
        else:
            eventually(lambda: desk.board.read(desk.slot.index).state is WorkerState.BUSY)
        reply.gateway.close()
        go_on.set()
    assert ["id-1"] == closed
    assert (1, 0) == desk.counted
    assert 1 == len(desk.events("answer_undelivered"))


def test_generator_that_cannot_be_closed_harms_nobody(desk: Desk) -> None:
    """The caller has left, so the log is told; the next request is served."""

    def predict(_inputs: Any) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1000)
        finally:
            raise RuntimeError("cannot let go")

    with desk.serving(predict) as reply:
        reply.read_head()
        reply.gateway.close()
    assert [1] == parse_lines(bytes(desk.answer(counting(1)).body))
    assert (2, 0) == desk.counted
    (event,) = desk.events("request_failed")
    assert "demo failed: RuntimeError: cannot let go" == event["error"]


def test_every_item_has_the_whole_time(desk: Desk) -> None:
    """For the supervisor, who ends what hangs, and for the calls that the endpoint makes."""
    seen: list[tuple[int, int]] = []

    def predict(_inputs: Any) -> Iterator[int]:
        for number in range(3):
            deadline_ns = desk.board.read(desk.slot.index).deadline_ns
            seen.append((deadline_ns, current_request().deadline_ns))
            yield number

    before_ns = monotonic_ns()
    desk.answer(predict, patience_s=5)
    for (slot_ns, request_ns), (next_slot_ns, next_request_ns) in pairwise(seen):
        assert slot_ns < next_slot_ns
        assert request_ns < next_request_ns
    for slot_ns, request_ns in seen:
        assert before_ns <= slot_ns - int(TIMEOUT_S * NS_PER_S) <= monotonic_ns()
        assert before_ns <= request_ns - 5 * NS_PER_S <= monotonic_ns()


@pytest.mark.parametrize("items", [1, 64], ids=["one large item", "many items"])
def test_caller_who_does_not_read_costs_the_endpoint_no_time(desk: Desk, items: int) -> None:
    """While nobody reads, the worker waits, and is not what takes long."""
    content = "x" * (LARGE // items)

    def is_extended() -> bool:
        left_ns = desk.board.read(desk.slot.index).deadline_ns - monotonic_ns()
        return left_ns > (TIMEOUT_S + 1) * NS_PER_S

    with desk.serving(counting(*[content] * items)) as reply:
        eventually(is_extended)
        reply.read_head()
        for quarter in (1, 2, 3):  # it goes on, and has to wait once more
            while len(reply.body) < quarter * LARGE // 4:
                reply.read_more()
            eventually(is_extended)
        reply.read_all()
    assert [content] * items == parse_lines(bytes(reply.body))
    assert (1, 0) == desk.counted


def test_caller_who_reads_slowly_gets_all_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one who reads nothing for so long is given up, however large an item is."""
    monkeypatch.setattr("basic_inference_server.serving.streaming.SEND_TIMEOUT_S", 0.3)
    pause = threading.Event()
    with desk.serving(counting("x" * LARGE)) as reply:
        reply.read_head()
        while len(reply.body) < LARGE // 4:  # 50 parts: over half a second
            reply.body += reply.chunks.read(reply.gateway.recv(LARGE // 200))
            pause.wait(0.01)
        reply.read_all()
    assert ["x" * LARGE] == parse_lines(bytes(reply.body))


def test_caller_who_reads_nothing_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a gateway that is no longer there to do so."""
    monkeypatch.setattr("basic_inference_server.serving.streaming.SEND_TIMEOUT_S", 0.1)
    with desk.serving(counting("x" * LARGE, 2)):
        eventually(lambda: desk.events("answer_undelivered"))
    assert (1, 0) == desk.counted
