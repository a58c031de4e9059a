"""A data plane in memory: the hub is made up, the counters are real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.scoreboard import GatewayScoreboard
from basic_inference_server.core.topology import Route, RoutingTable, ServerState
from basic_inference_server.gateway.casualties import Casualties, OnTaken
from basic_inference_server.gateway.counters import Counters
from basic_inference_server.gateway.data_plane import DataPlane
from basic_inference_server.gateway.error_teller import ErrorTeller
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.hub import Call, Hub, Listener
from basic_inference_server.gateway.token_gate import TokenGate
from basic_inference_server.wire.frames import (
    RequestFrame,
    decode_reply_header,
    decode_request,
    encode_reply,
)
from tests.support.exchanges import FakeConnection, make_exchange

CELL = 4
NO_TOKEN = Path("/nonexistent/admin_token")
ROUTE = Route("demo", ServerState.READY, "/run/demo.sock", CELL, 30.0, ready_workers=2)
SPEC = GatewaySpec(
    generation=1, workers=1, listen_fd=-1, announce_fd=-1, scoreboard_fd=-1, control_path="",
    log_level="info", app_version="2.3.2", server_name="gateway", default_server=None,
    max_body_bytes=1000, graceful_timeout_s=30, cors_origins=["*"], admin_open=False,
    admin_trust_loopback=True, status_open=True, admin_token_path="",
)  # fmt: skip


class FakeHub:
    """Keeps the calls; a test ends them as it likes."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.frames: list[RequestFrame] = []
        self.open: list[Listener] = []
        self.abandoned = 0
        self.refusal: Exception | None = None

    def call(
        self, path: str, head: bytes, body: bytes, deadline_ns: int, listener: Listener,
        _link: str = "",
    ) -> Call:  # fmt: skip
        """Keep a call, or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        self.paths.append(path)
        self.frames.append(decode_request(head + body))
        self.open.append(listener)
        return cast("Call", listener)

    def abandon(self, call: Call) -> None:
        """Forget a call."""
        self.abandoned += 1
        self.open.remove(cast("Listener", call))

    def listeners(self) -> list[Listener]:
        """Return who waits."""
        return list(self.open)

    def reply(self, status: int = 200, body: bytes = b'{"a":1}') -> None:
        """Answer the newest call."""
        frame = encode_reply(status, b"application/json", body, (1000, 2000, 3000, 4000))
        header = decode_reply_header(frame)
        assert header is not None
        self.open.pop().on_reply(header, frame)


class Plane:
    """A data plane with everything around it made up but the counters."""

    def __init__(self, gate: TokenGate | None = None) -> None:
        self.said: list[Event] = []
        self.may_administer = True
        self.controlled: list[tuple[bytes, str | None]] = []
        self.board = GatewayScoreboard.create()
        self.hub = FakeHub()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.answer_to_strikes: dict[str, Any] | None = {"reference": None}
        self.casualties = Casualties(self._tell)
        self.plane = DataPlane(
            SPEC, cast("Hub", self.hub), Counters(self.board, 0), self._control,
            self.casualties, EventLog(self.said.append),
            gate or TokenGate(NO_TOKEN, EventLog(self.said.append)),
            ErrorTeller(SPEC.error_detail, lambda exchange: self.may_administer),
        )  # fmt: skip
        self.know(ROUTE)

    def _control(self, exchange: Exchange, bound_signature: str | None) -> None:
        self.controlled.append((exchange.path, bound_signature))

    def _tell(self, command: str, fields: dict[str, Any], on_result: OnTaken) -> None:
        self.told.append((command, fields))
        on_result(self.answer_to_strikes)

    def announce_death(
        self,
        frame: RequestFrame,
        cause: str = "signal 11",
        *,
        blames_request: bool = True,
    ) -> None:
        """Tell, as the supervisor would, that the worker which had a frame has died."""
        self.casualties.announce(
            {"calls": [frame.sent_ns], "cause": cause, "blames_request": blames_request}
        )

    def know(self, *routes: Route, **fields: Any) -> None:
        """Take a routing table."""
        table = RoutingTable({route.signature: route for route in routes}, is_open=True, **fields)
        self.plane.take_table(table)

    def send(
        self, target: str = "/run", method: str = "POST", bound: str | None = None,
        fields: dict[str, Any] | None = None, **headers: str,
    ) -> FakeConnection:  # fmt: skip
        """Have a request handled; return the connection on which it is answered."""
        connection = FakeConnection()
        self.exchange = make_exchange(
            method,
            target,
            {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in
                                                    headers.items()}},
            json.dumps({"SIGNATURE": "demo"} if fields is None else fields).encode(),
            connection,
        )  # fmt: skip
        self.plane.handle(self.exchange, bound)
        return connection

    def counted(self, *places: int) -> list[int]:
        """Return some of the endpoint's counters."""
        totals = self.board.totals(CELL)
        return [totals[place] for place in places]


def error_of(connection: FakeConnection) -> tuple[int, str]:
    """Return status and code of an error."""
    return connection.status, connection.json["code"]
