"""What `/list_servers` says about a server or a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.error_detail import LOG_HAS_IT, Detail, reason_told
from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    ANSWERED_5XX,
    EXPIRED,
    IN_FLIGHT,
    LOST,
    REFUSED,
    GatewayScoreboard,
    SlotReading,
    WorkerState,
)
from basic_inference_server.core.topology import SERVING_STATES, ServerState
from basic_inference_server.supervision.autopsy import Death
from basic_inference_server.supervision.program import Program
from basic_inference_server.supervision.server import Server


def describe_server(
    server: Server, gateway: GatewayScoreboard, detail: Detail, *, is_detailed: bool = False
) -> dict[str, Any]:
    """Return a server's state, workers and counters.

    Args:
        server: the server.
        gateway: the gateway's counters.
        detail: how much is told of errors.
        is_detailed: adds the last output of a worker that died: it may hold inputs and stacks.
    """
    life = server.keeper.life
    counters = gateway.totals(server.place.cell)
    executed, errors, busy_ns = server.scoreboard.totals()
    slots = server.own_slots()
    busy = sum(slot.state is WorkerState.BUSY for slot in slots)
    executing = sum(len(server.scoreboard.calls(slot.index)) for slot in slots)
    is_up = life.state in SERVING_STATES
    now_s = monotonic_s()
    return {
        "state": life.state.value,
        "healthy": is_up and server.is_healthy(),
        "pid": server.current.pid if server.current else None,
        "host": server.place.host,
        "port": server.place.port,
        "workers": server.target_workers,
        "ready_workers": server.ready_workers,
        "worker_pids": _pids(slots, leaving=False),
        "leaving_pids": _pids(slots, leaving=True),
        "busy_workers": busy,
        "uptime_s": round(now_s - life.since_s, 1) if is_up else 0,
        "state_for_s": round(now_s - life.since_s, 1),
        "restarts": server.restarts,
        "generation": server.current.number if server.current else None,
        "queue": max(0, counters[IN_FLIGHT] - executing),
        "queue_size": server.section.QUEUE_SIZE,
        "requests": counters[ACCEPTED],
        "executed": executed,
        "errors": errors + max(0, counters[ANSWERED_5XX] - errors),
        "refused": counters[REFUSED],
        "abandoned": counters[LOST],
        "timeouts": counters[EXPIRED],
        "busy_s": round(busy_ns / 1e9, 3),
        "last_error": reason_told(life.last_error or server.replace_error, detail),
        "last_death": _describe_death(server.deaths.last, is_detailed=is_detailed),
        "retry_in_s": _until(life.restart_at_s, now_s),
        "description": server.section.DESCRIPTION or server.endpoint.get("summary", ""),
        "class": server.endpoint.get("class"),
        "version": server.endpoint.get("version"),
        "idempotent": server.route().idempotent,
    }


def _pids(slots: Iterable[SlotReading], *, leaving: bool) -> list[int]:
    """Return the workers that leave, or those that do not; one that is not forked yet has none."""
    return [slot.pid for slot in slots if slot.pid and slot.is_leaving is leaving]


def _describe_death(death: Death | None, *, is_detailed: bool) -> dict[str, Any] | None:
    if death is None:
        return None
    fields = asdict(death)
    if not is_detailed:
        del fields["last_output"]
    return fields


def _until(instant_s: float | None, now_s: float) -> float | None:
    return None if instant_s is None else round(max(0.0, instant_s - now_s), 1)


def describe_program(program: Program, detail: Detail) -> dict[str, Any]:
    """Return a support process's state and its newest report."""
    life = program.keeper.life
    now_s = monotonic_s()
    reported_at_s = program.reported_at_s
    return {
        "state": life.state.value,
        "healthy": life.state in SERVING_STATES,
        "pid": program.pid,
        "host": None,
        "port": None,
        "workers": 0,
        "uptime_s": round(now_s - life.since_s, 1) if life.state in SERVING_STATES else 0,
        "restarts": program.restarts,
        "last_error": reason_told(life.last_error, detail),
        "retry_in_s": _until(life.restart_at_s, now_s),
        "reported_s_ago": None if reported_at_s is None else round(now_s - reported_at_s, 1),
        "report": program.report,
    }


def history_told(history: dict[str, Any], detail: Detail) -> dict[str, Any]:
    """Return the history as it is told: which of its errors hold what, it no longer knows."""
    if detail is Detail.FULL:
        return history
    states = [
        {**state, "error": None if state["error"] is None else LOG_HAS_IT}
        for state in history["states"]
    ]
    return {**history, "states": states}


def alerts(watched: Mapping[str, Server | Program], detail: Detail) -> list[dict[str, Any]]:
    """Return what an operator should look at, most urgent first."""
    urgent = [ServerState.FAILED, ServerState.BACKOFF, ServerState.DEGRADED]
    found = [
        {
            "server": name,
            "state": one.state.value,
            "error": reason_told(one.keeper.life.last_error, detail),
        }
        for name, one in watched.items()
        if one.state in urgent
    ]
    return sorted(found, key=lambda alert: urgent.index(ServerState(alert["state"])))
