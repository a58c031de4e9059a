"""The main process is killed: who stays behind?"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import process_tree
import psutil
from server_process import Address

from faults.deployment import Deployment, deployed
from faults.system import System
from faults.verdict import Check, Finding

TITLE = "parent killed"
QUESTION = "The main process gets SIGKILL; who is left after 2 s and after 10 s, and the port?"
EARLY_S = 2.0
LATE_S = 10.0
ASK_PATIENCE_S = 1.0
NAME_CHARS = 60


@dataclass(frozen=True)
class Remains:
    """What there is some seconds after the kill."""

    processes: Sequence[str]
    is_port_free: bool
    answer: str

    def text(self) -> str:
        """For the table."""
        names = ", ".join(f"{n} x {name}" for name, n in Counter(self.processes).most_common())
        left = f"{len(self.processes)} left ({names})" if self.processes else "none left"
        port = "free" if self.is_port_free else "taken"
        return f"{left}, the port {port}, a request: {self.answer}"


async def run(system: System) -> Finding:
    """Kill it and look twice."""
    async with deployed(system) as deployment:
        number = len(deployment.members())
        address = deployment.address
        os.kill(deployment.server.pid, signal.SIGKILL)
        await asyncio.sleep(EARLY_S)
        early = await _look(deployment, address)
        await asyncio.sleep(LATE_S - EARLY_S)
        late = await _look(deployment, address)
    return judge(number, early, late)


async def _look(deployment: Deployment, address: Address) -> Remains:
    names = [_name(process) for process in deployment.members()]
    is_free = _is_free(address)
    answer = await deployment.ask(deployment.request(MS=1), ASK_PATIENCE_S)
    return Remains(names, is_free, answer.label)


def _name(process: psutil.Process) -> str:
    """What it was called with, without the folders of this machine."""
    words = process_tree.command_name(process).split()
    return " ".join(word.rsplit("/", 1)[-1] for word in words)[:NAME_CHARS]


def _is_free(address: Address) -> bool:
    """Whether a server could open the port, as servers do: with SO_REUSEADDR."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError:
            return False
    return True


def judge(number: int, early: Remains, late: Remains) -> Finding:
    """Hold it to: nothing is left, and the next start can have the port."""
    port = "free" if late.is_port_free else "taken"
    return Finding(
        brief=(
            f"{len(early.processes)} left after {EARLY_S:.0f} s, {len(late.processes)} after "
            f"{LATE_S:.0f} s, port {port}"
        ),
        observed=(
            f"Of {number} processes, after {EARLY_S:.0f} s: {early.text()}. "
            f"After {LATE_S:.0f} s: {late.text()}."
        ),
        checks=(
            Check(f"nothing is left after {EARLY_S:.0f} s", not early.processes),
            Check(f"nothing is left after {LATE_S:.0f} s", not late.processes),
            Check(f"the port is free after {LATE_S:.0f} s", late.is_port_free),
        ),
        figures={
            "processes": number,
            "left_early": len(early.processes),
            "left_late": len(late.processes),
            "port_free_early": early.is_port_free,
            "port_free_late": late.is_port_free,
        },
    )
