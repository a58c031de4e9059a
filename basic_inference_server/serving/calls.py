"""Calls from one endpoint to others: straight to their servers' sockets, all at the same time.

Deadline and request id go along. Who calls whom is known to the supervisor, which refuses a call
that would close a circle: workers that wait for each other could otherwise all be busy waiting.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any

from basic_inference_server.control_client import exchange
from basic_inference_server.core.clock import NS_PER_S, monotonic_ns
from basic_inference_server.core.errors import BadJson, DeadlineExceeded
from basic_inference_server.core.topology import SERVING_STATES, WAITING_STATES, Route, ServerState
from basic_inference_server.serving.inputs import written_inputs
from basic_inference_server.wire.frames import (
    JSON_TYPE,
    REPLY_HEADER_BYTES,
    FrameError,
    ReplyHeader,
    decode_reply_header,
    encode_request,
)
from basic_inference_server.wire.json_codec import decode_object
from basic_inference_server.wire.messages import MessageError
from basic_inference_server.worker.binary import Binary
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.current_request import current_request

READ_CHUNK = 65536
LOST_WORKER = (BrokenPipeError, ConnectionResetError)
ASK_TIMEOUT_S = 5.0
KEEP_ROUTE_NS = NS_PER_S
MS_PER_NS = 1e-6
RESERVE_NS = NS_PER_S // 20


class EndpointCaller:
    """Calls other endpoints for the request that is being executed, or for an endpoint's load."""

    def __init__(self, signature: str, control_path: str, timeout_s: float) -> None:
        self._signature = signature
        self._control_path = control_path
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._routes: dict[str, tuple[Route, int]] = {}

    def call(self, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Return for each request the answer, or the `CallError` that came instead."""
        deadline_ns, depth, request_id = self._particulars()
        outcomes: list[Any] = [None] * len(requests)
        waiting: dict[int, OutgoingCall] = {}
        try:
            for place, (signature, inputs) in enumerate(requests):
                try:
                    call = OutgoingCall(self._route(signature), place)
                    call.send(request_id, inputs, deadline_ns, depth)
                except CallError as error:
                    outcomes[place] = error
                else:
                    waiting[call.sock.fileno()] = call
            self._collect(waiting, outcomes)
        finally:
            for call in waiting.values():
                call.sock.close()
        return outcomes

    def _particulars(self) -> tuple[int, int, str]:
        """Return deadline, depth and id of the calls that are made now."""
        current = current_request()
        now_ns = monotonic_ns()
        deadline_ns = current.deadline_ns or now_ns + self._timeout_ns
        # Some of it is left for the caller, to make an answer of what has come.
        deadline_ns -= min(RESERVE_NS, max(0, deadline_ns - now_ns) // 10)
        return deadline_ns, current.depth + 1, current.request_id or current.calls_as or "load"

    def _collect(self, waiting: dict[int, OutgoingCall], outcomes: list[Any]) -> None:
        poller = select.poll()
        for fd in waiting:
            poller.register(fd, select.POLLIN)
        while waiting:
            left_ns = min(call.deadline_ns for call in waiting.values()) - monotonic_ns()
            left_ns = min(left_ns, KEEP_ROUTE_NS)
            ready = poller.poll(left_ns * MS_PER_NS) if left_ns > 0 else []
            done = {fd: waiting[fd].receive() for fd, _ in ready}
            if not ready:  # whose time is over does not take the others along
                done = {fd: self._reason_to_give_up(call) for fd, call in waiting.items()}
            for fd, outcome in done.items():
                if outcome is not None:
                    call = waiting.pop(fd)
                    outcomes[call.place] = outcome
                    poller.unregister(fd)
                    call.sock.close()

    def _reason_to_give_up(self, call: OutgoingCall) -> CallError | None:
        """Return why nothing more is to be expected of a call: its time, or nobody is left."""
        if call.deadline_ns <= monotonic_ns():
            return call.error(504, DeadlineExceeded.code, "no answer yet")
        try:
            route = self._newest_route(call.signature)
        except CallError as error:
            return error
        if route.has_processes or route.state in WAITING_STATES:
            return None
        return call.error(503, "not_ready", f"it is {route.state.value}")

    def _route(self, signature: str) -> Route:
        """Return how to reach an endpoint that serves, or soon will.

        Raises:
            CallError: there is none, it does not serve, or calling it would close a circle.
        """
        route = self._newest_route(signature)
        if route.state not in SERVING_STATES | WAITING_STATES:
            raise CallError(signature, 503, "not_ready", f"it is {route.state.value}")
        return route

    def _newest_route(self, signature: str) -> Route:
        """Return how to reach an endpoint, as the supervisor said not long ago.

        Raises:
            CallError: there is none, or calling it would close a circle.
        """
        known = self._routes.get(signature)
        now_ns = monotonic_ns()
        if known is None or not self._knows(signature):
            try:
                known = self._ask(signature), now_ns
            except (OSError, MessageError) as error:
                if known is None:  # the supervisor is stuck: go on with what was true
                    raise CallError(signature, 503, "not_ready", str(error)) from error
            self._routes[signature] = known
        return known[0]

    def _knows(self, signature: str) -> bool:
        """Say whether the supervisor has said not long ago how to reach an endpoint."""
        known = self._routes.get(signature)
        return known is not None and monotonic_ns() - known[1] <= KEEP_ROUTE_NS

    def _ask(self, signature: str) -> Route:
        question = {"command": "call_route", "caller": self._signature, "signature": signature}
        reply = exchange(self._control_path, question, ASK_TIMEOUT_S)
        if "error" in reply:
            problem = reply["error"]
            raise CallError(signature, problem["status"], problem["code"], problem["message"])
        fields = reply["result"]
        return Route(**{**fields, "state": ServerState(fields["state"])})


class OutgoingCall:
    """One request on its way to another endpoint."""

    def __init__(self, route: Route, place: int) -> None:
        self.place = place
        self.signature = route.signature
        self._route = route
        self._received = bytearray()
        self.deadline_ns = 0
        self._is_callers_deadline = False
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def error(self, status: int, code: str, message: str) -> CallError:
        """Return an error of the called endpoint's."""
        error = CallError(self._route.signature, status, code, message)
        error.is_at_deadline = code == DeadlineExceeded.code and self._is_callers_deadline
        return error

    def send(self, request_id: str, inputs: dict[str, Any], deadline_ns: int, depth: int) -> None:
        """Send the request.

        Raises:
            CallError: it could not be sent.
        """
        try:
            parts, timeout_s = self.begin(request_id, inputs, deadline_ns, depth)
            try:
                self._send_all(parts, timeout_s)
            except LOST_WORKER:
                self.begin_again()
                self._send_all(parts, timeout_s)
        except OSError as error:
            self.sock.close()
            raise self.send_error(error) from error

    def _send_all(self, parts: Sequence[bytes | memoryview], timeout_s: float) -> None:
        self.sock.settimeout(timeout_s)
        for part in parts:
            self.sock.sendall(part)
        self.sock.setblocking(False)

    def begin_again(self) -> None:
        """Connect once more: a worker that died before it had the whole request executed nothing.

        Raises:
            OSError: there is no connection.
        """
        self.sock.close()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self._connect()

    def begin(
        self, request_id: str, inputs: dict[str, Any], deadline_ns: int, depth: int
    ) -> tuple[list[bytes | memoryview], float]:
        """Connect; return what has to be sent, and how many seconds that may take.

        Raises:
            CallError: the inputs cannot be sent.
            OSError: there is no connection.
        """
        now_ns = monotonic_ns()
        own_deadline_ns = now_ns + int(self._route.timeout_s * NS_PER_S)
        self._is_callers_deadline = deadline_ns <= own_deadline_ns
        self.deadline_ns = deadline_ns = min(deadline_ns, own_deadline_ns)
        try:
            content_type, body, fields = written_inputs(inputs, self._route.signature)
        except TypeError as error:
            self.sock.close()
            raise self.error(422, "bad_input", f"the inputs cannot be sent: {error}") from error
        head = encode_request(
            request_id.encode(), content_type.encode("ascii"), len(body),
            deadline_ns, now_ns, depth, fields=fields,
        )  # fmt: skip
        self.sock.setblocking(False)
        self._connect()
        return [head, body], max(0.001, (deadline_ns - now_ns) / NS_PER_S)

    def _connect(self) -> None:
        try:
            self.sock.connect(self._route.socket_path)
        except BlockingIOError:  # the queue is full
            raise
        except OSError:
            if not self._route.socket_link:
                raise
            self.sock.connect(self._route.socket_link)

    def send_error(self, error: OSError) -> CallError:
        """Return what is told of a request that could not be sent."""
        if isinstance(error, BlockingIOError):
            return self.error(503, "overloaded", "its queue is full")
        if isinstance(error, TimeoutError):
            return self.error(504, DeadlineExceeded.code, "it did not take the request")
        return self.error(503, "not_ready", str(error))

    def receive(self) -> Any:
        """Read what is there; return the answer or error once it is whole, else `None`."""
        try:
            return self.take(self.sock.recv(READ_CHUNK))
        except BlockingIOError:
            return None
        except OSError as error:
            return self.error(502, "worker_died", str(error))

    def take(self, chunk: bytes) -> Any:
        """Take what was read; return the answer or error once it is whole, else `None`."""
        if not chunk:
            return self.error(502, "worker_died", "its worker died")
        self._received += chunk
        try:
            header = decode_reply_header(self._received)
        except FrameError as error:
            return self.error(502, "worker_died", str(error))
        if header is None or len(self._received) < header.body_at + header.body_length:
            return None
        return self._outcome(header)

    def _outcome(self, header: ReplyHeader) -> Any:
        body = memoryview(self._received)[header.body_at :]
        content_type = self._received[REPLY_HEADER_BYTES : header.file_name_at].decode("latin-1")
        if content_type != JSON_TYPE:
            return self._binary(header, body, content_type)
        try:
            answer = decode_object(body)
        except BadJson:  # a `Binary` of that type may hold anything
            return self._binary(header, body, content_type)
        if header.status < 400:
            return answer
        return self.error(header.status, str(answer.get("code")), str(answer.get("ERROR")))

    def _binary(self, header: ReplyHeader, body: memoryview, content_type: str) -> Binary:
        file_name = self._received[header.file_name_at : header.body_at].decode()
        return Binary(body, content_type, file_name or None)
