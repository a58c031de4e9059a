"""What the control socket can be asked: each command of the administration, carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from basic_inference_server.core.error_detail import Detail
from basic_inference_server.core.errors import (
    CallCircle,
    NotFound,
    NotReady,
    ShuttingDown,
    UnknownSignature,
)
from basic_inference_server.core.topology import SERVING_STATES, ServerState
from basic_inference_server.supervision.lifecycle import RESTING_STATES
from basic_inference_server.supervision.quarantine import Strike
from basic_inference_server.supervision.reports import (
    alerts,
    describe_program,
    describe_server,
    history_told,
)
from basic_inference_server.supervision.server import Server

if TYPE_CHECKING:
    from basic_inference_server.supervision.supervisor import Supervisor

ANSWER_WITHIN_S = 150.0
STRIKE_FIELDS = tuple(field.name for field in fields(Strike))


class Commands:
    """The commands of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        """Return each command's handler by its name."""
        return {
            "list_servers": self.list_servers,
            "start_server": self.start_server,
            "kill_server": self.kill_server,
            "restart_server": self.restart_server,
            "update_workers": self.update_workers,
            "notifications": self.notifications,
            "system_overview": self.system_overview,
            "support_report": self.support_report,
            "reload": self.reload,
            "call_route": self.call_route,
            "strike": self.strike,
            "quarantine": self.quarantine,
            "release_quarantine": self.release_quarantine,
            "shutdown": self.shutdown,
        }

    def _server(self, message: dict[str, Any]) -> Server:
        signature = message["signature"]
        server = self._supervisor.servers.get(signature)
        if server is None:
            raise UnknownSignature(
                f"There is no endpoint {signature!r}.", available=list(self._supervisor.servers)
            )
        return server

    @staticmethod
    def _why(message: dict[str, Any], action: str) -> str:
        reason = message.get("reason")
        return f"{action} was asked for" + (f": {reason}" if reason else "")

    async def list_servers(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return how every server and program does."""
        supervisor = self._supervisor
        detail = self._detail(message)
        servers = {
            name: describe_server(
                server, supervisor.gateway_scoreboard, detail, is_detailed=message["is_detailed"]
            )
            for name, server in supervisor.servers.items()
        }
        for name, program in supervisor.support.items():
            servers[name] = describe_program(program, detail)
        return {
            "AVAIL_SERVERS": supervisor.routing_table().available(),
            "SERVERS": {
                name: servers[name]
                for name in supervisor.settings.CONFIG_ENDPOINTS
                if name in servers
            },
        }

    async def start_server(self, message: dict[str, Any]) -> dict[str, Any]:
        """Start a server and wait until it serves or cannot."""
        program = self._supervisor.support.get(message["signature"])
        if program is not None:
            program.start(self._why(message, "a start"))
            return {"SIGNATURE": program.name, "STATE": program.state.value}
        server = self._server(message)
        server.start(self._why(message, "a start"))
        await self._wait(server, lambda: server.state in SERVING_STATES | RESTING_STATES)
        return self._outcome(server)

    async def restart_server(self, message: dict[str, Any]) -> dict[str, Any]:
        """Replace a server's processes and wait until that has succeeded or failed."""
        program = self._supervisor.support.get(message["signature"])
        if program is not None:
            program.restart(self._why(message, "a restart"))
            return {"SIGNATURE": program.name, "STATE": program.state.value}
        server = self._server(message)
        server.replace(self._why(message, "a restart"))
        await self._wait(
            server,
            lambda: server.replacement is None and server.state in SERVING_STATES | RESTING_STATES,
        )
        await server.handed_over()
        if server.replace_error is not None:
            raise NotReady(
                f"The new generation of {server.signature} could not be loaded, so the old one "
                f"goes on serving: {server.replace_error}"[:2000],
                retryable_after_fix=True,
            )
        return self._outcome(server)

    async def _wait(self, server: Server, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds or its time is over.

        Raises:
            ShuttingDown: the gateway stops first.
        """
        supervisor = self._supervisor
        await server.keeper.wait_until(
            lambda: condition() or supervisor.is_stopping, ANSWER_WITHIN_S
        )
        if supervisor.is_stopping and not condition():
            raise ShuttingDown(f"The gateway is going down; {server.signature} was left alone.")

    def _outcome(self, server: Server) -> dict[str, Any]:
        life = server.keeper.life
        if life.state not in SERVING_STATES:
            raise NotReady(
                f"{server.signature} is {life.state.value}"
                + (f": {life.last_error}" if life.last_error else "."),
                state=life.state.value,
            )
        return {
            "SIGNATURE": server.signature,
            "STATE": life.state.value,
            "WORKERS": server.ready_workers,
        }

    async def kill_server(self, message: dict[str, Any]) -> dict[str, Any]:
        """Stop one server, or all of them, and wait until they have stopped."""
        supervisor = self._supervisor
        why = self._why(message, "a stop")
        if message["signature"] == "*":
            servers = list(supervisor.servers.values())
        elif message["signature"] in supervisor.support:
            supervisor.support[message["signature"]].stop(why)
            return {"STATES": {message["signature"]: ServerState.STOPPING.value}}
        else:
            servers = [self._server(message)]
        waits = []
        for server in servers:
            rests = server.keeper.rests
            server.stop(why)
            waits.append(self._wait(server, partial(_has_rested, server, rests)))
        await asyncio.gather(*waits)
        return {"STATES": {server.signature: server.state.value for server in servers}}

    async def update_workers(self, message: dict[str, Any]) -> dict[str, Any]:
        """Scale a server and wait until it has that many workers, or cannot."""
        server = self._server(message)
        before, count = server.target_workers, message["count"]
        known_error = server.keeper.life.last_error
        server.scale(count)

        def trouble() -> str | None:
            """Return what keeps the new workers from coming."""
            error = server.keeper.life.last_error
            return server.fork_error or (error if error != known_error else None)

        if server.state in SERVING_STATES:
            await self._wait(
                server,
                lambda: (
                    server.ready_workers == count
                    or server.state not in SERVING_STATES
                    or (count > before and trouble() is not None)
                ),
            )
        error = trouble()
        if error is not None and server.target_workers == count > before:
            server.scale(before)
            raise NotReady(
                f"{server.signature} goes on with NR_WORKERS {before}: {error}",
                retryable_after_fix=True,
            )
        return {
            "SIGNATURE": server.signature,
            "NR_WORKERS": count,
            "WORKERS": server.ready_workers,
            "STATE": server.state.value,
        }

    async def notifications(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Return recorded notifications of one endpoint or of all."""
        return await self._supervisor.store.notifications(message["signature"], message["limit"])

    def _detail(self, message: dict[str, Any]) -> Detail:
        """Return how much a caller is told of errors."""
        if message["is_detailed"]:
            return Detail.FULL
        return Detail(self._supervisor.settings.ERROR_DETAIL)

    async def system_overview(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return what `/system_status` cannot read itself: pids, alerts, history."""
        supervisor = self._supervisor
        detail = self._detail(message)
        return {
            "processes": supervisor.process_ids(),
            "app_folder": supervisor.app_folder,
            "alerts": alerts({**supervisor.servers, **supervisor.support}, detail),
            "history": history_told(await supervisor.store.history(), detail),
        }

    async def support_report(self, message: dict[str, Any]) -> dict[str, Any]:
        """Keep the report of a support process."""
        program = self._supervisor.support.get(message["signature"])
        if program is None:
            raise UnknownSignature(
                f"There is no support process {message['signature'][:128]!r}.",
                available=list(self._supervisor.support),
            )
        program.take_report(message["report"])
        return {"SIGNATURE": program.name, "RECEIVED": True}

    async def reload(self, message: dict[str, Any]) -> dict[str, Any]:
        """Apply the configuration as it is now."""
        return await self._supervisor.reloading.reload(self._why(message, "a reload"))

    async def call_route(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return how an endpoint reaches another one that it wants to call."""
        server = self._server(message)
        circle = self._supervisor.calls.add(message["caller"], server.signature)
        if circle is not None:
            raise CallCircle(
                f"The endpoints would call each other in a circle: {' -> '.join(circle)}."
            )
        return asdict(server.route())

    async def strike(self, message: dict[str, Any]) -> dict[str, Any]:
        """Count a death that a request has caused; say whether it is in quarantine now."""
        supervisor = self._supervisor
        known: dict[str, Any] = {name: message[name] for name in STRIKE_FIELDS}
        strike = Strike(**known)
        server = self._server(message)
        reference = supervisor.quarantine.strike(strike, server.section.QUARANTINE_WINDOW)
        if reference is not None:
            server.log.error(
                "quarantined", reference=reference, request_id=strike.request_id,
                cause=strike.cause,
            )  # fmt: skip
            supervisor.push_table()  # before the answer, on which the caller's own answer waits
        return {"reference": reference}

    async def quarantine(self, _message: dict[str, Any]) -> dict[str, Any]:
        """Return what is in quarantine."""
        return {"QUARANTINE": self._supervisor.quarantine.reports()}

    async def release_quarantine(self, message: dict[str, Any]) -> dict[str, Any]:
        """Let a body pass again."""
        supervisor = self._supervisor
        released = supervisor.quarantine.release(message["reference"])
        if not released and message["reference"] != "*":
            raise NotFound(f"Nothing is in quarantine as {message['reference'][:64]!r}.")
        supervisor.push_table()
        supervisor.log.info("quarantine_released", references=released, why="it was asked for")
        return {"RELEASED": released}

    async def shutdown(self, _message: dict[str, Any]) -> dict[str, Any]:
        """Stop everything, after this answer has gone out."""
        self._supervisor.request_stop("/shutdown", delay_s=0.1)
        return {"SHUTDOWN": True}


def _has_rested(server: Server, rests_before: int) -> bool:
    """Say whether a server rests, or has done so and was started again by somebody else."""
    return server.state in RESTING_STATES or server.keeper.rests > rests_before
