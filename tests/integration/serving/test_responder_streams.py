"""Streams and raw bytes through a worker's responder: what is sent, counted and cleaned up."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server import Binary, FlaskWorker
from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard, WorkerState
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import (
    REPLY_HEADER_BYTES,
    Accepts,
    ChunkReader,
    ReplyHeader,
    decode_reply_header,
    encode_request,
)
from basic_inference_server.worker.current_request import current_request
from basic_inference_server.worker.flask_worker import WorkerContext
from tests.support.event_stream import parse_events, parse_lines
from tests.support.eventually import eventually

TIMEOUT_S = 30.0
LARGE = 8 * 1024 * 1024
SPEC = ServerSpec(
    signature="demo", server_class="demo", generation=1, nr_workers=1, base_folder="/",
    workers_location="endpoints", workers_suffix="Worker", section={}, timeout_s=TIMEOUT_S,
    graceful_timeout_s=30.0, max_requests=None, max_memory_mb=None, log_level="debug",
    app_version="2.3.2", listen_fd=-1, announce_fd=-1, scoreboard_fd=-1,
)  # fmt: skip


class TellingWorker(FlaskWorker):
    """Does what a test wants."""

    does: Callable[[Any], Any]

    def _predict(self, prep_inputs: Any) -> Any:
        return self.does(prep_inputs)


class Reply:
    """A reply as the gateway receives it, read as far as it has come."""

    def __init__(self, gateway: socket.socket) -> None:
        self.gateway = gateway
        self.header: ReplyHeader | None = None
        self.content_type = ""
        self.body = bytearray()
        self.chunks = ChunkReader()
        self.file_name = ""

    def read_head(self) -> Reply:
        """Read header, content type and file name."""
        head = self._exactly(REPLY_HEADER_BYTES)
        header = self.header = decode_reply_header(head)
        assert header is not None
        self.content_type = self._exactly(header.content_type_length).decode()
        self.file_name = self._exactly(header.file_name_length).decode()
        return self

    def read_until(self, end: bytes) -> bytes:
        """Read on until a streamed body ends so."""
        while not self.body.endswith(end):
            self.read_more()
        return bytes(self.body)

    def read_all(self) -> bytes:
        """Read on to the end of the connection."""
        while self.read_more():
            pass
        assert self.header is not None
        if not self.header.is_stream:
            assert self.header.body_length == len(self.body)
        return bytes(self.body)

    def read_more(self) -> bool:
        """Read what is there; say whether anything came."""
        data = self.gateway.recv(1 << 20)
        assert self.header is not None
        self.body += self.chunks.read(data) if self.header.is_stream else data
        return bool(data)

    def _exactly(self, length: int) -> bytes:
        return self.gateway.recv(length, socket.MSG_WAITALL) if length else b""


class Desk:
    """A responder with its endpoint, its slot and its log."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.board = ServerScoreboard.create("test")
        self.slot = self.board.slot(self.board.free_slot(1))
        self.slot.occupy(os.getpid(), 1, monotonic_ns())
        self.slot.set_state(WorkerState.IDLE, monotonic_ns())
        self.worker = TellingWorker(context=WorkerContext(signature="demo", worker_id=3))
        self.responder = Responder(
            self.worker, SPEC, self.slot, EventLog(self.said.append, "debug")
        )

    @contextmanager
    def serving(
        self,
        does: Callable[[Any], Any],
        accepts: Accepts = Accepts.NDJSON,
        body: bytes = b"{}",
        content_type: bytes = b"application/json",
        fields: bytes = b"",
        patience_s: float = TIMEOUT_S,
    ) -> Iterator[Reply]:
        """Send a request and serve it in a thread; it has to be done soon after the block."""
        self.worker.does = does
        gateway, accepted = socket.socketpair()
        gateway.settimeout(10)

        def serve() -> None:
            with accepted:
                self.responder.serve(FrameConnection(accepted))

        worker = threading.Thread(target=serve)
        worker.start()
        try:
            now_ns = monotonic_ns()
            deadline_ns = now_ns + int(patience_s * NS_PER_S)
            head = encode_request(
                b"id-1", content_type, len(body), deadline_ns, now_ns, 0, accepts, fields
            )
            gateway.sendall(head + body)
            yield Reply(gateway)
        finally:
            gateway.close()
            worker.join(10)
            assert not worker.is_alive()

    def answer(self, does: Callable[[Any], Any], **request: Any) -> Reply:
        """Return a whole reply."""
        with self.serving(does, **request) as reply:
            reply.read_head().read_all()
        return reply

    @property
    def counted(self) -> tuple[int, int]:
        requests, errors, _ = self.board.totals()
        return requests, errors

    def events(self, name: str) -> list[Event]:
        return [event for event in self.said if event["event"] == name]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    assert WorkerState.IDLE is made.board.read(made.slot.index).state
    os.close(made.board.fd)


def counting(*items: Any) -> Callable[[Any], Iterator[Any]]:
    """Return what yields these; an exception among them is raised."""

    def predict(_inputs: Any) -> Iterator[Any]:
        for item in items:
            if isinstance(item, BaseException):
                raise item
            yield item

    return predict


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
        while len(reply.body) < LARGE // 4:  # 100 parts: over a second
            reply.body += reply.chunks.read(reply.gateway.recv(LARGE // 400))
            pause.wait(0.01)
        reply.read_all()
    assert ["x" * LARGE] == parse_lines(bytes(reply.body))


def test_caller_who_reads_nothing_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a gateway that is no longer there to do so."""
    monkeypatch.setattr("basic_inference_server.serving.streaming.SEND_TIMEOUT_S", 0.1)
    with desk.serving(counting("x" * LARGE, 2)):
        eventually(lambda: desk.events("answer_undelivered"))
    assert (1, 0) == desk.counted


def test_raw_body_goes_in_and_binary_comes_out(desk: Desk) -> None:
    """With type and name, not a byte changed."""
    content = bytes(range(256)) * 4096

    def predict(inputs: Any) -> Binary:
        assert ({"SIGNATURE": "demo", "A": "1"}, "image/png") == (
            {name: inputs[name] for name in ("SIGNATURE", "A")}, inputs["BODY"].content_type,
        )  # fmt: skip
        return Binary(inputs["BODY"].content, "audio/wav", "naïve.wav")

    reply = desk.answer(predict, body=content, content_type=b"image/png", fields=b'{"A":"1"}')
    assert reply.header is not None
    assert (200, "audio/wav", "naïve.wav") == (
        reply.header.status, reply.content_type, reply.file_name,
    )  # fmt: skip
    assert content == reply.body


def _file(path: Path, _inputs: Any) -> Binary:
    return Binary.of_file(path)


def test_binary_of_a_file_is_sent(desk: Desk, tmp_path: Path) -> None:
    """Mapped, also an empty one."""
    for content in (b"", b"abc", bytes(LARGE)):
        path = tmp_path / "file.bin"
        path.write_bytes(content)
        reply = desk.answer(partial(_file, path))
        assert (content, "file.bin") == (bytes(reply.body), reply.file_name)


def test_binary_within_an_answer_or_an_item_is_base64(desk: Desk) -> None:
    """JSON has no bytes."""
    binary = Binary(b"\0\xff", "image/png")
    whole = desk.answer(lambda _: {"picture": binary})
    assert "AP8=" == json.loads(whole.body)["picture"]
    assert ["AP8=", {"a": "AP8="}] == parse_lines(
        bytes(desk.answer(counting(binary, {"a": binary})).body)
    )


@pytest.mark.parametrize(
    "result",
    [Binary(memoryview(b"abcd")[::2]), Binary(b"x", "a\r\nb"), Binary(b"x", 5)],  # type: ignore[arg-type]
    ids=["with gaps", "two lines", "number"],
)
def test_binary_that_cannot_be_sent_is_the_endpoints_failure(desk: Desk, result: Binary) -> None:
    """And ends no worker."""
    reply = desk.answer(lambda _: result)
    assert reply.header is not None
    assert 500 == reply.header.status
    assert "returned a Binary that cannot be sent" in json.loads(reply.body)["ERROR"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(b"multipart/form-data", b""), (b"multipart/form-data; boundary=b", b"--b\r\n"),
     (b"multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\n\r\n--b--\r\n")],
    ids=["no boundary", "broken off", "no name"],
)  # fmt: skip
def test_multipart_that_is_none_is_the_callers_mistake(
    desk: Desk, content_type: bytes, body: bytes
) -> None:
    """422, nothing is executed."""
    called: list[Any] = []
    reply = desk.answer(called.append, content_type=content_type, body=body)
    assert reply.header is not None
    assert (422, "bad_input", []) == (reply.header.status, json.loads(reply.body)["code"], called)
    assert (1, 0) == desk.counted
