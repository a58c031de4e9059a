"""Routes every request: endpoints and probes here on the event loop, all else to Flask."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from basic_inference_server.core.child_spec import GatewaySpec
from basic_inference_server.core.clock import monotonic_ns, monotonic_s
from basic_inference_server.core.complaints import Complaints
from basic_inference_server.core.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotReady,
    ServiceError,
    ShuttingDown,
    UnknownSignature,
)
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.topology import (
    SERVING_STATES,
    SYSTEM_STATUS_SIGNATURE,
    WAITING_STATES,
    Route,
    RoutingTable,
    ServerState,
)
from basic_inference_server.gateway.casualties import Casualties
from basic_inference_server.gateway.cors import CorsPolicy
from basic_inference_server.gateway.counters import Counters
from basic_inference_server.gateway.dispatch import Dispatch
from basic_inference_server.gateway.error_teller import ErrorTeller
from basic_inference_server.gateway.hub import Hub
from basic_inference_server.gateway.probes import live_body, ready_report
from basic_inference_server.gateway.proxy_watch import ProxyWatch
from basic_inference_server.gateway.quarantine import require_harmless
from basic_inference_server.gateway.request_body import addressee_of, read_body
from basic_inference_server.gateway.token_gate import TokenGate

if TYPE_CHECKING:
    from basic_inference_server.gateway.exchange import Exchange

RUN = b"/run"
RUN_PREFIX = b"/run/"
MAX_PATIENT = 8192
RUN_METHODS = (b"POST", b"GET")


class DataPlane:
    """Everything that answers on the event loop of one gateway process."""

    def __init__(
        self,
        spec: GatewaySpec,
        hub: Hub,
        counters: Counters,
        control_plane: Callable[[Exchange, str | None], None],
        casualties: Casualties,
        log: EventLog,
        gate: TokenGate,
        teller: ErrorTeller,
    ) -> None:
        self.hub = hub
        self.teller = teller
        self.table = RoutingTable()
        self._patient: defaultdict[str, list[Dispatch]] = defaultdict(list)
        self.casualties = casualties
        self.version = spec.app_version
        self._log = log
        self._counters = counters
        self._control_plane = control_plane
        self._cors = CorsPolicy(spec.cors_origins)
        self._gate = gate
        self._complaints = Complaints()
        self._proxy_watch = ProxyWatch(log, trusts_loopback=spec.admin_trust_loopback)

    # --- routing

    def handle(self, exchange: Exchange, bound_signature: str | None) -> None:
        """Answer or forward one request; every error becomes a JSON answer."""
        if self._proxy_watch.is_on:
            self._proxy_watch.look(exchange)
        try:
            path = exchange.path
            if path == RUN:
                self._run(exchange, bound_signature)
            elif path.startswith(RUN_PREFIX) and bound_signature is None:
                self._run(exchange, path[len(RUN_PREFIX) :].decode("utf-8", "replace"))
            elif path in {b"/v1/live", b"/v1/ready"}:
                self._probe(exchange, bound_signature)
            else:
                self._control_plane(exchange, bound_signature)
        except ServiceError as error:
            self.fail(exchange, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence of the event loop
            self._log.error(
                "gateway_fault", error=repr(error), request_id=exchange.request_id.decode()
            )
            self.fail(exchange, InternalError("The gateway failed; the log says how."))

    def fail(self, exchange: Exchange, error: ServiceError) -> None:
        """Answer with an error, and say it in the log when it is the server side's fault."""
        self.say_failure(exchange, error)
        exchange.fail(error, self.version, self.cors(exchange))

    def say_failure(self, exchange: Exchange, error: ServiceError) -> None:
        """Say an error in the log when it is the server side's fault."""
        if error.status >= 500 and error.code not in {"overloaded", "not_ready", "shutting_down"}:
            self._log.warning(
                "request_failed", code=error.code, error=error.message,
                request_id=exchange.request_id.decode(),
            )  # fmt: skip

    def say_unreachable(self, route: Route, problem: str) -> None:
        """Say in the log, once a minute, that an endpoint's socket cannot be reached."""
        if self._complaints.is_due(route.signature, monotonic_s()):
            self._log.error("endpoint_unreachable", endpoint=route.signature, error=problem)

    def cors(self, exchange: Exchange) -> bytes:
        """Return the CORS header lines of a data-path answer."""
        return self._cors.headers(exchange)

    # --- endpoints

    def _run(self, exchange: Exchange, signature: str | None) -> None:
        if exchange.method not in RUN_METHODS:
            self._answer_preflight(exchange)
            return
        body = read_body(exchange)
        if signature is None:
            signature = addressee_of(body)
            if signature == SYSTEM_STATUS_SIGNATURE:
                exchange.path = b"/system_status"
                self._control_plane(exchange, None)
                return
        route = self.table.routes.get(signature)
        if route is None:
            raise UnknownSignature(
                f"There is no endpoint {signature[:128]!r}.", available=self.table.available()
            )
        if not route.is_public:
            self._gate.require_run(route.signature, exchange)
        quarantined = self.table.quarantined.get(signature)
        if quarantined is not None:
            require_harmless(route, body.identity, quarantined)
        dispatch = Dispatch(self, exchange, route, body, self._timeout_s(exchange, route))
        if route.state not in SERVING_STATES:
            self._require_patience_pays(route, exchange)
        self._counters.begin(route.cell)
        try:
            dispatch.send()
        except Exception:
            self._counters.refuse(route.cell)
            raise
        if route.state in WAITING_STATES:
            self._remember_patient(signature, dispatch)

    def _answer_preflight(self, exchange: Exchange) -> None:
        if exchange.method != b"OPTIONS":
            raise MethodNotAllowed("This route takes POST and GET.", allowed=["POST", "GET"])
        exchange.answer_empty(204, self._cors.preflight_headers(exchange))

    def _remember_patient(self, signature: str, dispatch: Dispatch) -> None:
        """Keep a request that waits for its endpoint to come up; forget those that have ended."""
        patient = self._patient[signature]
        if len(patient) >= MAX_PATIENT:
            patient[:] = [one for one in patient if one.is_waiting]
        patient.append(dispatch)

    def take_table(self, table: RoutingTable) -> None:
        """Route by a new table; end the wait for endpoints that could not be started."""
        before, self.table = self.table, table
        for old in before.routes.values():
            now = table.routes.get(old.signature, replace(old, state=ServerState.STOPPED))
            is_gone = not now.has_processes or old.signature not in table.routes
            if old.has_processes and is_gone and now.state not in WAITING_STATES:
                self._refuse_queued(now)
        for signature in list(self._patient):
            route = table.routes.get(signature)
            if route is not None and route.state in WAITING_STATES:
                continue
            waiting = self._patient.pop(signature)
            if route is not None and route.state not in SERVING_STATES:
                self._end_waiting(route, waiting)

    def _refuse_queued(self, route: Route) -> None:
        """No process of the server is left: what is still in its queue will not be executed."""
        queued = [
            one
            for one in self.hub.listeners()
            if isinstance(one, Dispatch) and one.signature == route.signature
        ]
        self._end_waiting(route, queued)

    def _end_waiting(self, route: Route, waiting: list[Dispatch]) -> None:
        for dispatch in waiting:
            try:
                self._require_patience_pays(route, dispatch.exchange)
            except ServiceError as error:
                dispatch.give_up(error)

    def _require_patience_pays(self, route: Route, exchange: Exchange) -> None:
        """Let a request wait for an endpoint that is on its way up, and no other.

        Raises:
            NotReady: waiting would not help.
        """
        if self.table.is_shutting_down:
            raise ShuttingDown("The gateway is going down.", retry_after_s=5)
        if route.state in WAITING_STATES:
            return
        told = self.teller.reason(exchange, route)
        reason = f": {told}" if told else ""
        retry_after_s = None
        if route.restart_at_s is not None:
            retry_after_s = max(1, math.ceil(route.restart_at_s - monotonic_s()))
        raise NotReady(
            f"{route.signature} is {route.state.value}{reason}."[:2000],
            state=route.state.value,
            retry_after_s=retry_after_s if retry_after_s is not None else 5,
        )

    def _timeout_s(self, exchange: Exchange, route: Route) -> float:
        given = exchange.headers.get(b"x-request-timeout")
        if given is None:
            return route.timeout_s
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise BadRequest("X-Request-Timeout must be a number of seconds above 0.")
        return min(seconds, route.timeout_s)

    def current_route(self, route: Route) -> Route:
        """Return the newest route of that endpoint."""
        return self.table.routes.get(route.signature, route)

    def expected_wait_s(self, route: Route) -> int:
        """Return when a full queue is worth another try: its length times the mean duration."""
        return self._counters.expected_wait_s(route.cell, max(1, route.ready_workers))

    def count_answer(self, route: Route, status: int, started_ns: int) -> None:
        """Count the end of a request."""
        self._counters.finish(route.cell, status, monotonic_ns() - started_ns)

    def count_abandoned(self, route: Route) -> None:
        """Count a request whose client left."""
        self._counters.abandon(route.cell)

    # --- probes

    def _probe(self, exchange: Exchange, bound_signature: str | None) -> None:
        if exchange.method not in {b"GET", b"HEAD"}:
            raise MethodNotAllowed("Probes take GET.", allowed=["GET", "HEAD"])
        if exchange.path == b"/v1/live":
            exchange.answer(200, live_body(self.version))
            return
        status, body = ready_report(self.table, exchange.query, bound_signature, self.version)
        exchange.answer(status, body)
