"""The model raises when it is loaded."""

from __future__ import annotations

import asyncio
import contextlib

from server_process import ServerError

from faults.deployment import Deployment, deployed
from faults.ledger import OK
from faults.system import Settings, System
from faults.verdict import Check, Finding

TITLE = "load failure"
QUESTION = (
    "The model raises at each load, from the start on; where the system can hold several models, "
    "another one beside it loads. Watched for 10 s."
)
WATCH_S = 10.0
ASK_PATIENCE_S = 2.0
MAX_LOADS = 20
NOBODY = "nobody listens"


async def run(system: System) -> Finding:
    """Start it with a broken model and look at it after ten seconds."""
    settings = Settings(with_other=system.other_path is not None)
    async with deployed(system, settings, load_mode="raise", wait=False) as deployment:
        await asyncio.sleep(WATCH_S)
        loads = sum(line.startswith("work ") for line in deployment.loads())
        exit_code = deployment.exit_code()
        health = await _health(deployment)
        broken = await _ask(deployment, deployment.request(MS=1))
        other = None
        if system.other_path is not None:
            other = await _ask(deployment, deployment.other_request())
    return judge(loads, exit_code, health, broken, other)


async def _health(deployment: Deployment) -> dict[str, str]:
    with contextlib.suppress(ServerError):  # it has not opened its port
        return await deployment.health()
    return dict.fromkeys(deployment.system.health, "refused")


async def _ask(deployment: Deployment, request: bytes) -> str:
    with contextlib.suppress(ServerError):
        return (await deployment.ask(request, ASK_PATIENCE_S)).label
    return "refused"


def judge(
    loads: int, exit_code: int | None, health: dict[str, str], broken: str, other: str | None
) -> Finding:
    """Hold it to: it says so, it does not spin, it does not end as if all were well."""
    state = "running" if exit_code is None else f"exited with {exit_code}"
    said = ", ".join(f"`{path}` {label}" for path, label in health.items())
    beside = "" if other is None else f" The model beside it: {other}."
    checks = [
        Check("a health route says that it is not ready", set(health.values()) != {str(OK)}),
        Check("a request for it is answered or refused, not left waiting", broken != "hung"),
        Check(f"at most {MAX_LOADS} loads", loads <= MAX_LOADS),
        Check("it does not exit with 0", exit_code != 0),
    ]
    if other is not None:
        checks.append(Check("the model beside it serves", other == str(OK)))
    return Finding(
        brief=f"{loads} loads, {state}"
        + (f", other model {other}" if other is not None else "")
        + f", health {'/'.join(health.values())}",
        observed=(
            f"After {WATCH_S:.0f} s: {loads} loads; the process: {state}; health: {said}; "
            f"a request for the broken model: {broken}.{beside}"
        ),
        checks=checks,
        figures={
            "loads": loads,
            "exit_code": exit_code,
            "health": health,
            "broken": broken,
            "other": other,
        },
    )
