"""One request through an endpoint: what comes back, what is counted, what is never executed."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from basic_inference_server.core.child_spec import ServerSpec
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import ServerScoreboard, WorkerState
from basic_inference_server.serving.connection import FrameConnection
from basic_inference_server.serving.responder import Responder
from basic_inference_server.wire.frames import ReplyHeader, decode_reply_header, encode_request
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext

SPEC = ServerSpec(
    signature="demo", server_class="demo", generation=1, nr_workers=1, base_folder="/",
    workers_location="endpoints", workers_suffix="Worker", section={}, timeout_s=30.0,
    graceful_timeout_s=30.0, max_requests=None, max_memory_mb=None, log_level="debug",
    app_version="2.3.2", listen_fd=-1, announce_fd=-1, scoreboard_fd=-1,
)  # fmt: skip


ODD_DETAILS: Any = ("file", "one", 2, 3)  # a line that is no number, a text that is one


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exiting:
    """A result that ends the process when it is written."""

    def tolist(self) -> Any:
        raise SystemExit("no more")


class Odd(dict[str, Any]):
    """A dict that does not work."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def keys(self) -> Any:
        raise RuntimeError("no keys")


def exit_with(code: int) -> Any:
    raise SystemExit(code)


class ChosenWorker(FlaskWorker):
    """Does what a test wants; keeps the inputs that it was called with."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context=context)
        self.called_with: list[Any] = []
        self.does: Callable[[Any], Any] = lambda inputs: {"echo": inputs}

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        if "refuse" in inputs:
            raise ValueError(inputs["refuse"])
        return inputs

    def _predict(self, prep_inputs: Any) -> Any:
        self.called_with.append(prep_inputs)
        return self.does(prep_inputs)


class Desk:
    """A responder with its endpoint, its slot and its log."""

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.board = ServerScoreboard.create("test")
        self.slot = self.board.slot(self.board.free_slot(1))
        self.slot.occupy(os.getpid(), 1, monotonic_ns())
        self.slot.set_state(WorkerState.IDLE, monotonic_ns())
        self.worker = ChosenWorker(context=WorkerContext(signature="demo", worker_id=3))
        self.responder = Responder(
            self.worker, SPEC, self.slot, EventLog(self.said.append, "debug")
        )

    def serve(
        self, body: bytes, *, timeout_s: float = 30.0, stays: bool = True, ends: bool = False
    ) -> tuple[ReplyHeader, Any] | None:
        """Send a request, serve it, and return its reply, if there is one."""
        gateway, accepted = socket.socketpair()
        with gateway, accepted:
            now_ns = monotonic_ns()
            deadline_ns = now_ns + int(timeout_s * NS_PER_S)
            head = encode_request(b"id-1", b"application/json", len(body), deadline_ns, now_ns)
            gateway.sendall(head + body)
            if ends:
                gateway.shutdown(socket.SHUT_WR)
            if not stays:
                gateway.close()
            self.responder.serve(FrameConnection(accepted))
            accepted.close()
            if not stays:
                return None
            reply = bytearray()
            while chunk := gateway.recv(1 << 20):
                reply += chunk
        if not reply:
            return None
        header = decode_reply_header(reply)
        assert header is not None
        assert header.body_length == len(reply) - header.body_at
        assert b"application/json" == reply[header.body_at - 16 : header.body_at]
        return header, json.loads(reply[header.body_at :])

    def answered(self, body: bytes = b"{}") -> tuple[ReplyHeader, Any]:
        answer = self.serve(body)
        assert answer is not None
        return answer

    def counted(self) -> tuple[int, int]:
        requests, errors, _ = self.board.totals()
        return requests, errors

    def events(self, *names: str) -> list[Event]:
        return [event for event in self.said if event["event"] in names]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    os.close(made.board.fd)


def test_answer_is_the_endpoints_with_metadata(desk: Desk) -> None:
    """One flat object, whose text the gateway passes on as it is."""
    header, answer = desk.answered(b'{"a":[1,2]}')
    assert (200, False) == (header.status, header.failed)
    assert {
        "echo": {"a": [1, 2], "SIGNATURE": "demo"}, "signature": "demo", "worker_id": 3,
        "call_id": 1, "ver": "2.3.2",
    }.items() <= answer.items()  # fmt: skip
    assert (1, 0) == desk.counted()
    assert [] == desk.said


def test_scoreboard_is_true_while_and_after(desk: Desk) -> None:
    """During the call the slot says since when and until when; afterwards it is idle."""
    seen = []

    def look(_inputs: Any) -> Any:
        seen.append(desk.board.read(desk.slot.index))
        return {}

    desk.worker.does = look
    before_ns = monotonic_ns()
    desk.answered()
    (busy,) = seen
    assert WorkerState.BUSY is busy.state
    assert before_ns <= busy.started_ns <= monotonic_ns()
    assert 30 * NS_PER_S == busy.deadline_ns - busy.started_ns
    idle = desk.board.read(desk.slot.index)
    assert (WorkerState.IDLE, 0, 0) == (idle.state, idle.started_ns, idle.deadline_ns)
    assert 1 == sum(desk.board.latency_buckets())


def test_phases_are_in_the_reply(desk: Desk) -> None:
    """Where a request spent its time is known to the microsecond."""
    desk.worker.does = lambda _: sum(range(100_000))
    header, answer = desk.answered()
    assert sum(range(100_000)) == answer["data"]
    assert header.predict_us > 0
    assert max(header.queue_us, header.pre_us, header.post_us) < 1_000_000


@pytest.mark.parametrize(
    ("timeout_s", "stays", "ends"),
    [
        pytest.param(30.0, False, False, id="the caller has left"),
        pytest.param(30.0, True, True, id="the caller has ended its side"),
        pytest.param(0.0, True, False, id="the deadline is now"),
        pytest.param(-5.0, True, False, id="the deadline is over"),
    ],
)
def test_request_that_nobody_waits_for_is_not_executed(
    desk: Desk,
    timeout_s: float,
    stays: bool,
    ends: bool,
) -> None:
    """No endpoint code runs, nothing is answered, nothing is counted."""
    assert None is desk.serve(b"{}", timeout_s=timeout_s, stays=stays, ends=ends)
    assert [] == desk.worker.called_with
    assert (0, 0) == desk.counted()
    assert WorkerState.IDLE is desk.board.read(desk.slot.index).state
    assert ["id-1"] == [event["request_id"] for event in desk.events("dropped_unexecuted")]


def test_caller_who_leaves_meanwhile_is_no_error(desk: Desk) -> None:
    """The work is done and counted, only the answer goes nowhere."""
    gateway, accepted = socket.socketpair()
    with gateway, accepted:
        now_ns = monotonic_ns()
        gateway.sendall(encode_request(b"id", b"", 2, now_ns + NS_PER_S, now_ns) + b"{}")
        desk.worker.does = lambda _: gateway.close()
        desk.responder.serve(FrameConnection(accepted))
    assert (1, 0) == desk.counted()
    assert 1 == len(desk.events("answer_undelivered"))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{", 400, "bad_json", id="not JSON"),
        pytest.param(b"[]", 400, "bad_json", id="no object"),
        pytest.param(b'{"a":NaN}', 400, "bad_json", id="no number"),
        pytest.param(b'{"a":1e400}', 400, "bad_json", id="infinite number"),
        pytest.param(b'{"a":"\xff"}', 400, "bad_json", id="no text"),
        pytest.param(b'{"a":' + b"[" * 100_000, 400, "bad_json", id="deep"),
        pytest.param(b'{"refuse":"not today"}', 422, "bad_input", id="refused"),
    ],
)
def test_callers_mistake_is_told_and_not_counted_as_an_error(
    desk: Desk, body: bytes, status: int, code: str
) -> None:
    """The endpoint has not failed, so nothing is said above debug level."""
    header, answer = desk.answered(body)
    assert (status, False, code, "no", "id-1") == (
        header.status, header.failed, answer["code"], answer["executed"], answer["request_id"],
    )  # fmt: skip
    assert [] == desk.worker.called_with
    assert (1, 0) == desk.counted()
    assert {"debug"} == {event["level"] for event in desk.said}


def fail_with(error: BaseException) -> Callable[[Any], Any]:
    def hook(_inputs: Any) -> Any:
        raise error

    return hook


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        pytest.param(RuntimeError("no memory"), "RuntimeError: no memory", id="ordinary"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exit"),
        pytest.param(KeyboardInterrupt(), "KeyboardInterrupt", id="interrupt"),
        pytest.param(ValueError("a\udcffb"), "ValueError: a", id="broken text"),
        pytest.param(Unprintable(), "Unprintable", id="no text at all"),
        pytest.param(SyntaxError("odd", ODD_DETAILS), "SyntaxError: odd", id="odd details"),
    ],
)
def test_endpoints_failure_is_told_logged_and_counted(
    desk: Desk, error: BaseException, shown: str
) -> None:
    """500 with class and message for the caller, the traceback for the log, once."""
    desk.worker.does = fail_with(error)
    header, answer = desk.answered()
    assert (500, True, "endpoint_error", "yes") == (
        header.status, header.failed, answer["code"], answer["executed"],
    )  # fmt: skip
    assert f"demo failed: {shown}" == answer["ERROR"][: len(f"demo failed: {shown}")]
    assert "Traceback" not in answer["ERROR"]
    assert (1, 1) == desk.counted()
    (event,) = desk.events("request_failed")
    assert ("error", "id-1") == (event["level"], event["request_id"])
    assert "Traceback" in event["traceback"]
    assert WorkerState.IDLE is desk.board.read(desk.slot.index).state


@pytest.mark.parametrize(
    ("result", "named"),
    [
        pytest.param({"a": object()}, "object", id="unknown type"),
        pytest.param({(1, 2): 3}, "tuple", id="unknown key"),
        pytest.param(fail_with, "function", id="function"),
        pytest.param({"a": Exiting()}, "no more", id="object that exits"),
        pytest.param({"a": map(exit_with, [3])}, "SystemExit: 3", id="iterator that exits"),
        pytest.param(Odd(a=1), "RuntimeError: no keys", id="dict of its own kind"),
    ],
)
def test_result_that_is_no_json_is_the_endpoints_failure(
    desk: Desk, result: Any, named: str
) -> None:
    """The author reads which type it was."""
    desk.worker.does = lambda _: result
    header, answer = desk.answered()
    assert (500, "endpoint_error", "yes") == (header.status, answer["code"], answer["executed"])
    assert "demo returned something that cannot be written as JSON" in answer["ERROR"]
    assert named in answer["ERROR"]
    assert (1, 1) == desk.counted()


def test_result_of_no_numbers_is_null(desk: Desk) -> None:
    """NaN never reaches the wire."""
    desk.worker.does = lambda _: {"score": float("nan")}
    assert None is desk.answered()[1]["score"]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + bytes(40), b"", b"BISq"],
    ids=["another protocol", "nothing", "a beginning"],
)  # fmt: skip
def test_connection_without_a_request_is_let_go(desk: Desk, data: bytes) -> None:
    """Nothing is executed, nothing raised, and the next connection is served."""
    gateway, accepted = socket.socketpair()
    with gateway, accepted:
        gateway.sendall(data)
        gateway.shutdown(socket.SHUT_WR)
        desk.responder.serve(FrameConnection(accepted))
    assert ([], (0, 0)) == (desk.worker.called_with, desk.counted())
    assert 200 == desk.answered()[0].status


def test_large_request_and_answer_go_through(desk: Desk) -> None:
    """Eight megabytes in, eight megabytes out, while the gateway sends and reads."""
    gateway, accepted = socket.socketpair()

    def serve() -> None:
        with accepted:
            desk.responder.serve(FrameConnection(accepted))

    worker = threading.Thread(target=serve)
    worker.start()
    with gateway:
        body = json.dumps({"text": "x" * 8_000_000}).encode()
        now_ns = monotonic_ns()
        head = encode_request(b"id", b"application/json", len(body), now_ns + 30 * NS_PER_S, now_ns)
        gateway.sendall(head + body)
        reply = bytearray()
        while chunk := gateway.recv(1 << 20):
            reply += chunk
    worker.join(10)
    header = decode_reply_header(reply)
    assert header is not None
    assert 8_000_000 == len(json.loads(reply[header.body_at :])["echo"]["text"])
