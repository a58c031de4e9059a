"""Unit tests of a child's announcements: whole or kept, never blocking, never raising."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from basic_inference_server.core.announcements import (
    MAX_NOTIFICATIONS,
    Announcer,
    NotificationBuffer,
)
from basic_inference_server.wire.messages import MAX_DATAGRAM, encode_message
from tests.support.manual_clock import ManualClock

Message = dict[str, Any]


class Stubborn:
    """A value of an endpoint's that has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def tolist(self) -> Any:
        raise SystemExit(1)


def encode(message: Message) -> bytes:
    return json.dumps(message).encode()


class Line:
    """A message-preserving socket pair: the child's end and ours."""

    def __init__(self) -> None:
        self.ours, self.childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        self.childs.setblocking(False)
        self.announcer = Announcer(self.childs.fileno(), encode)

    def received(self) -> list[Message]:
        """Return what has arrived."""
        messages: list[Message] = []
        while True:
            try:
                datagram = self.ours.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return messages
            if not datagram:
                return messages
            messages.append(json.loads(datagram))

    def close(self) -> None:
        self.ours.close()
        self.childs.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    clock = ManualClock()
    monkeypatch.setattr("basic_inference_server.core.announcements.monotonic_s", clock)
    return clock


def fill(line: Line) -> int:
    """Announce until the socket takes no more; return how many were announced."""
    count = 0
    while line.announcer.flush():
        line.announcer.announce("filler", number=count, padding="p" * 1000)
        count += 1
    return count


def test_message_arrives_whole_and_by_itself(line: Line) -> None:
    """One announcement is one datagram."""
    line.announcer.announce("loading", worker_id=1)
    line.announcer.announce("worker_ready", pid=2)
    assert [{"kind": "loading", "worker_id": 1}, {"kind": "worker_ready", "pid": 2}] == (
        line.received()
    )


def test_full_socket_keeps_messages_in_order(line: Line) -> None:
    """What does not fit now is sent later, and nothing overtakes it."""
    count = fill(line)
    line.announcer.announce("last")
    assert not line.announcer.flush()
    first = line.received()
    assert line.announcer.flush()
    numbers = [message.get("number") for message in [*first, *line.received()]]
    assert [*range(count), None] == numbers


def test_dead_supervisor_is_no_error(line: Line) -> None:
    """Announcing to nobody neither raises nor keeps anything: we are about to end too."""
    line.ours.close()
    line.announcer.announce("worker_exit", pid=1)
    assert line.announcer.flush()


def test_number_of_kept_messages_is_bounded(line: Line) -> None:
    """A supervisor that is stopped for a day does not fill the child's memory."""
    fill(line)
    for number in range(1500):
        line.announcer.announce("x", number=number)
    line.received()
    line.announcer.flush()
    kept = []
    while messages := line.received():
        kept += messages
        line.announcer.flush()
    assert 1000 == len(kept)
    assert 1499 == kept[-1]["number"]


def test_message_too_big_for_the_socket_takes_no_other_with_it(line: Line) -> None:
    """One oversize message is lost alone."""
    count = fill(line)
    line.announcer.announce("notifications", items=["n" * 1_000_000])
    line.announcer.announce("worker_exit", pid=1)
    kinds = [message["kind"] for message in line.received()]
    line.announcer.flush()
    kinds += [message["kind"] for message in line.received()]
    assert [*["filler"] * count, "worker_exit"] == kinds


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({1: "one"}, id="number as a key"),
        pytest.param("\udcff", id="half a character"),
        pytest.param(2**70, id="big number"),
        pytest.param(object(), id="object"),
        pytest.param(1j, id="complex number"),
        pytest.param({(1, 2): 3}, id="tuple as a key"),
        pytest.param(Stubborn(), id="no text at all"),
        pytest.param({Stubborn(): [Stubborn()]}, id="no text at all, inside"),
    ],
)
def test_notification_of_any_value_never_raises(line: Line, value: Any) -> None:
    """An endpoint's field that is no JSON is written as text; the worker goes on."""
    buffer = NotificationBuffer(Announcer(line.childs.fileno(), encode_message))
    buffer.add({"notif": "log", "msg": "x", "value": value})
    buffer.send()
    (message,) = line.received()
    assert ("notifications", "x") == (message["kind"], message["items"][0]["msg"])


def test_nothing_kept_sends_nothing(line: Line) -> None:
    """An idle worker costs the supervisor no message."""
    NotificationBuffer(line.announcer).send()
    assert [] == line.received()


def test_notifications_are_sent_in_order_and_in_small_messages(
    line: Line, clock: ManualClock
) -> None:
    """Twenty to a message, so that each fits a datagram."""
    buffer = NotificationBuffer(line.announcer)
    for number in range(45):
        buffer.add({"msg": number})
    buffer.send()
    messages = line.received()
    assert [20, 20, 5] == [len(message["items"]) for message in messages]
    assert list(range(45)) == [item["msg"] for message in messages for item in message["items"]]
    assert [0, 0, 0] == [message["dropped"] for message in messages]


def test_more_than_the_allowance_waits_for_the_next_second(line: Line, clock: ManualClock) -> None:
    """At most a hundred leave within a second, however often the worker has time to send."""
    buffer = NotificationBuffer(line.announcer)
    for number in range(300):
        buffer.add({"msg": number})
        buffer.send()
    assert 100 == sum(len(message["items"]) for message in line.received())
    buffer.send()
    assert [] == line.received()
    clock.advance(1)
    buffer.send()
    later = line.received()
    assert [*range(200, 300)] == [item["msg"] for message in later for item in message["items"]]
    assert 100 == sum(message["dropped"] for message in later)


def test_flood_keeps_the_newest_and_counts_the_rest(line: Line, clock: ManualClock) -> None:
    """Twenty thousand notifications between two sends cost a hundred, the newest."""
    buffer = NotificationBuffer(line.announcer)
    for number in range(20_000):
        buffer.add({"msg": number})
    buffer.send()
    messages = line.received()
    sent = [item["msg"] for message in messages for item in message["items"]]
    assert list(range(20_000 - MAX_NOTIFICATIONS, 20_000)) == sent
    assert 20_000 - MAX_NOTIFICATIONS == sum(message["dropped"] for message in messages)


def test_announcer_needs_no_socket_object() -> None:
    """A descriptor that a parent handed over is enough."""
    ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.dup(childs.fileno())
    Announcer(fd, encode).announce("loading")
    assert b'{"kind": "loading"}' == ours.recv(100)
    os.close(fd)
    ours.close()
    childs.close()


def test_several_threads_announce_each_message_once(line: Line) -> None:
    """Whole and in the order in which each of them announced."""

    def announce(thread: int) -> None:
        for number in range(50):
            line.announcer.announce("one", thread=thread, number=number)

    threads = [threading.Thread(target=announce, args=(number,)) for number in range(4)]
    received: list[Message] = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        received += line.received()
    while not line.announcer.flush():
        received += line.received()
    received += line.received()
    for number in range(4):
        assert list(range(50)) == [one["number"] for one in received if one["thread"] == number]
