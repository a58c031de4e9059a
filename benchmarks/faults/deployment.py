"""One running system under a fault: started, asked, hit, and taken down without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import process_tree
import psutil
from server_process import Address, ServerError, ServerProcess, free_address

from faults.exchange import Answer, exchange, request_bytes
from faults.open_loop import OpenLoop
from faults.system import WORKERS, Launch, Settings, System

READY_TIMEOUT_S = 60.0
PROBE_MS = 40
PROBE_BURST = 4
PROBE_PATIENCE_S = 2.0
MARK = "FAULT_RUN_ID"
LEAVING = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)


class Deployment:
    """A system that runs in a folder of its own, marked so that no process of it is lost."""

    def __init__(
        self, system: System, settings: Settings, folder: Path, load_mode: str = ""
    ) -> None:
        self.system = system
        self.settings = settings
        self.folder = folder
        self.run_id = uuid.uuid4().hex
        self._planned_address = free_address()
        self.set_load_mode(load_mode)
        self.server = self.launch()

    def launch(self) -> ServerProcess:
        """Start it, on the same port as before."""
        environment = {MARK: self.run_id}
        launch = Launch(self.folder, self._planned_address, self.settings, environment)
        self.server = self.system.start(launch)
        return self.server

    @property
    def address(self) -> Address:
        """Where it answers."""
        return self.server.address

    def set_load_mode(self, mode: str) -> None:
        """What the next loads of the model do: "", "slow" or "raise"."""
        (self.folder / "load_mode").write_text(mode)

    def loads(self) -> list[str]:
        """One line for each load so far: the model's name and the pid."""
        path = self.folder / "loads.log"
        return path.read_text().splitlines() if path.exists() else []

    def request(self, **fields: object) -> bytes:
        """The work as this system takes it; VALUE is 5 unless given."""
        return request_bytes("POST", self.system.path, self.system.body({"VALUE": 5, **fields}))

    def other_request(self) -> bytes:
        """The same for the endpoint beside it."""
        assert self.system.other_path is not None
        return request_bytes(
            "POST", self.system.other_path, self.system.other_body({"VALUE": 5, "MS": 1})
        )

    async def ask(self, request: bytes, patience_s: float, half_close: bool = False) -> Answer:
        """One exchange."""
        return await exchange(self.address, request, patience_s, half_close)

    async def health(self, patience_s: float = 2.0) -> dict[str, str]:
        """What each health route says: a status, or what came instead."""
        said = {}
        for path in self.system.health:
            said[path] = (await self.ask(request_bytes("GET", path), patience_s)).label
        return said

    def load(self, rate: float, patience_s: float, **fields: object) -> OpenLoop:
        """An open loop of the work."""
        return OpenLoop(self.address, self.request(**fields), rate, patience_s)

    async def wait_until_ready(self) -> None:
        """Ask until both workers have answered."""
        seen = await self.workers(READY_TIMEOUT_S)
        if len(seen) < WORKERS:
            state = "was not ready in time" if self.is_up() else "ended while starting"
            raise ServerError(
                f"{self.system.title} {state}: {len(seen)} workers answered. {self.log_tail()}"
            )

    async def workers(self, timeout_s: float) -> set[int]:
        """The workers that answer, asked several at once, so that an idle one gets its turn."""
        seen: set[int] = set()
        began = time.monotonic()
        while len(seen) < WORKERS and self.is_up() and time.monotonic() - began < timeout_s:
            with contextlib.suppress(ServerError):  # it has not said its port yet
                request = self.request(MS=PROBE_MS)
                answers = await asyncio.gather(
                    *(self.ask(request, PROBE_PATIENCE_S) for _ in range(PROBE_BURST))
                )
                seen |= {answer.worker_pid for answer in answers if answer.worker_pid}
            await asyncio.sleep(0.05)
        return seen

    def is_up(self) -> bool:
        """Whether the main process still runs."""
        return self.exit_code() is None

    def exit_code(self) -> int | None:
        """How the main process ended, minus the signal that killed it; None while it runs.

        It is left to be waited for, because `ServerProcess.stop` does that.
        """
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        ended = os.waitid(os.P_PID, self.server.pid, options)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def log_tail(self) -> str:
        """The end of what it printed, on one line."""
        text = self.server.log_path.read_text(errors="replace")
        return " / ".join(line.strip() for line in text.splitlines()[-3:])[-300:]

    def members(self) -> list[psutil.Process]:
        """Every process of it: its tree, its session, and whoever carries its mark."""
        found = {process.pid: process for process in process_tree.members(self.server.pid)}
        for pid in psutil.pids():
            if pid not in found and is_marked(pid, self.run_id):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[pid] = psutil.Process(pid)
        return [process for process in found.values() if is_running(process)]

    async def kill_worker(self, pid: int) -> bool:
        """SIGKILL a worker, if it is one of ours and still there."""
        members = await asyncio.to_thread(self.members)
        if pid not in {process.pid for process in members}:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def remove(self) -> int:
        """Stop it and end whatever is left; returns how many processes had to be killed."""
        known = self.members()
        report = self.server.stop()
        left = {process.pid: process for process in [*known, *self.members()]}
        survivors = [process for process in left.values() if is_running(process)]
        for process in survivors:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(survivors, timeout=5.0)
        return report.killed_count + len(survivors)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until everything has been taken down.

    By handlers and not by a mask, which would hold for this thread only.
    """
    is_leaving = isinstance(sys.exc_info()[1], LEAVING)
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held and not is_leaving:
            signal.raise_signal(held[0])


def is_marked(pid: int, run_id: str) -> bool:
    """Whether a process was started with this mark in its environment."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={run_id}".encode() in environment


def is_running(process: psutil.Process) -> bool:
    """Whether it is there and not only waits to be reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.asynccontextmanager
async def deployed(
    system: System, settings: Settings | None = None, load_mode: str = "", wait: bool = True
) -> AsyncIterator[Deployment]:
    """A system in a temporary folder, ready unless told not to wait; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"faults-{system.key}-") as name:
        folder = Path(name)
        deployment = Deployment(system, settings or Settings(), folder, load_mode)
        try:
            if wait:
                await deployment.wait_until_ready()
            yield deployment
        finally:
            with signals_held():
                deployment.remove()
