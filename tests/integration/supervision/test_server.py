"""One supervised server with its real processes: coming up, half-way, and going down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.settings import validate
from basic_inference_server.core.topology import ServerState
from basic_inference_server.supervision.memory_watch import OutOfMemoryWatch
from basic_inference_server.supervision.output_relay import OutputRelay
from basic_inference_server.supervision.server import Server
from basic_inference_server.supervision.server_parts import (
    ServerHooks,
    ServerOptions,
    ServerPlace,
)
from basic_inference_server.supervision.socket_folder import listening_unix_socket
from basic_inference_server.supervision.spawning import Spawner
from tests.support.projects import ECHO, write_project

PATIENCE_S = 20.0
# The second worker comes too late and cannot load.
HALF = """
import threading

from basic_inference_server import FlaskWorker


class DemoWorker(FlaskWorker):
    def _load_model(self):
        if self.worker_id == 1:
            threading.Event().wait(0.2)
            raise OSError("no second copy fits")

    def _predict(self, inputs):
        return inputs
"""


class Supervised:
    """A server with the least around it that lets it live."""

    def __init__(self, folder: Path, source: str, **section: Any) -> None:
        write_project(folder, {"demo": section}, {"demo": source})
        settings = validate({"CONFIG_ENDPOINTS": {"demo": section}})
        self.said: list[Event] = []
        self.states: list[str] = []
        log = EventLog(self.said.append)
        spawner = Spawner(str(folder))
        path = folder / "s.sock"
        self.listener, self.handle = listening_unix_socket(path, 10)
        self.server = Server(
            "demo",
            settings.CONFIG_ENDPOINTS["demo"],
            ServerPlace(self.listener, str(path), "127.0.0.1", 0, 0),
            ServerOptions(
                str(folder),
                "endpoints",
                "Worker",
                5.0,
                "info",
                "2.3.2",
                OutOfMemoryWatch(),
                lambda server_class: None,
            ),
            spawner,
            log,
            OutputRelay("demo", log, self.said.append, spawner.record_mark),
            ServerHooks(
                on_change=lambda name, life, why: self.states.append(life.state.value),
                on_notifications=lambda signature, items: None,
                on_worker_exit=lambda signature, message: None,
                on_new_code=lambda signature: None,
                on_gone=lambda: None,
            ),
        )

    async def until(self, condition: Callable[[], Any]) -> None:
        deadline_s = monotonic_s() + PATIENCE_S
        while not condition():
            assert monotonic_s() < deadline_s, (self.states, self.said[-5:])
            self.server.tick(monotonic_s())
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self.server.stop("the test ends")
        self.server.kill()
        await self.until(lambda: self.server.is_gone)
        self.listener.close()
        os.close(self.handle)
        os.close(self.server.scoreboard.fd)


def supervise(
    folder: Path, scenario: Callable[[Supervised], Awaitable[None]], source: str, **section: Any
) -> None:
    async def run() -> None:
        supervised = Supervised(folder, source, **section)
        try:
            await scenario(supervised)
        finally:
            await supervised.close()

    asyncio.run(run())


def test_server_comes_up_and_goes_down(tmp_path: Path) -> None:
    """Through the states of the design, each said once, and nothing is left."""

    async def scenario(supervised: Supervised) -> None:
        server = supervised.server
        server.start("the test")
        await supervised.until(lambda: server.state is ServerState.READY)
        assert 2 == server.ready_workers
        assert server.route().is_ready
        server.stop("the test")
        await supervised.until(lambda: server.is_gone)
        expected = ["STARTING", "LOADING", "READY", "STOPPING", "STOPPED"]
        assert expected == list(dict.fromkeys(supervised.states))

    source = ECHO.replace("EchoWorker", "DemoWorker")
    supervise(tmp_path, scenario, source, NR_WORKERS=2)


def test_server_of_which_one_worker_cannot_load_is_degraded(tmp_path: Path) -> None:
    """It serves with the workers that it has, and says what is wrong with the others."""

    async def scenario(supervised: Supervised) -> None:
        server = supervised.server
        server.start("the test")
        await supervised.until(lambda: any(e["event"] == "load_failed" for e in supervised.said))
        await supervised.until(lambda: server.ready_workers == 1)
        assert ServerState.DEGRADED is server.state
        assert "no second copy fits" in str(server.route().last_error)

    supervise(tmp_path, scenario, HALF, NR_WORKERS=2)


def test_new_section_while_it_loads_survives_that_nothing_can_be_started(tmp_path: Path) -> None:
    """It waits for its next try with the reason, and comes up when it can."""
    folder = tmp_path / "project"
    folder.mkdir()

    async def scenario(supervised: Supervised) -> None:
        server = supervised.server
        server.start("the test")
        folder.rename(tmp_path / "elsewhere")  # a process cannot be started in it
        server.adopt(server.section, "the test", replaces_workers=True)
        assert ServerState.BACKOFF is server.state
        assert "cannot start a process" in str(server.route().last_error)
        (tmp_path / "elsewhere").rename(folder)
        await supervised.until(lambda: server.state is ServerState.READY)

    supervise(folder, scenario, ECHO.replace("EchoWorker", "DemoWorker"), NR_WORKERS=1)
