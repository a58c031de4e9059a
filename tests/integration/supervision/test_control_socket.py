"""The supervisor's control socket with the clients that use it, over a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import (
    InternalError,
    NotReady,
    UnknownSignature,
)
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.topology import Route, RoutingTable, ServerState
from basic_inference_server.gateway.control_plane.supervisor_client import SupervisorClient
from basic_inference_server.gateway.death_notices import DeathNotice, notice_of
from basic_inference_server.gateway.supervisor_link import SupervisorLink
from basic_inference_server.supervision.control_socket import ControlSocket, Handler

PATIENCE_S = 10.0
TABLE = RoutingTable(
    {"demo": Route("demo", ServerState.READY, "/s", 0, 30.0, ready_workers=1)}, is_open=True
)


class Desk:
    """A control socket with a few commands, its client, and what was said meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[Event] = []
        self.asked: list[dict[str, Any]] = []
        self.log = EventLog(self.said.append, "debug")
        self.client = SupervisorClient(str(path))
        self.control = self._make()

    def _make(self) -> ControlSocket:
        handlers: dict[str, Handler] = {
            "echo": self._echo,
            "refuse": self._refuse,
            "break": self._break,
            "wait": self._wait,
        }
        return ControlSocket(handlers, self._greeting, self.log)

    def _greeting(self) -> dict[str, Any]:
        return {"push": "table", "table": TABLE.to_message()}

    async def _echo(self, message: dict[str, Any]) -> Any:
        self.asked.append(message)
        return message

    async def _refuse(self, message: dict[str, Any]) -> Any:
        raise UnknownSignature("There is no endpoint 'x'.", available=["demo"])

    async def _break(self, message: dict[str, Any]) -> Any:
        return 1 / 0

    async def _wait(self, message: dict[str, Any]) -> Any:
        await asyncio.Event().wait()

    async def open(self) -> None:
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(100)
        await self.control.open(listener)

    async def reopen(self) -> None:
        """Do what a supervisor does that was started anew."""
        self.control.close()
        self.control = self._make()
        await self.open()

    async def ask(self, command: str, **fields: Any) -> Any:
        return await asyncio.to_thread(self.client.ask, command, **fields)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))


async def until(condition: Callable[[], Any]) -> None:
    deadline_s = monotonic_s() + PATIENCE_S
    while not condition():
        assert monotonic_s() < deadline_s
        await asyncio.sleep(0.005)


def at_the_desk(folder: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        desk = Desk(folder / "control.sock")
        await desk.open()
        try:
            await scenario(desk)
        finally:
            desk.control.close()
            await asyncio.sleep(0)

    asyncio.run(run())


def test_command_is_answered_with_its_result(tmp_path: Path) -> None:
    """Fields go in, the handler's result comes out, texts of any kind included."""

    async def scenario(desk: Desk) -> None:
        answer = await desk.ask("echo", signature="é\n\x1e", count=2)
        assert {"command": "echo", "signature": "é\n\x1e", "count": 2} == answer

    at_the_desk(tmp_path, scenario)


def test_large_result_arrives_whole(tmp_path: Path) -> None:
    """A thousand servers fit into one answer."""

    async def scenario(desk: Desk) -> None:
        text = "x" * 3_000_000
        assert text == (await desk.ask("echo", text=text))["text"]

    at_the_desk(tmp_path, scenario)


def test_refusal_is_the_same_error_on_the_other_side(tmp_path: Path) -> None:
    """Class, message and details survive, so a client's status is the supervisor's."""

    async def scenario(desk: Desk) -> None:
        with pytest.raises(UnknownSignature) as caught:
            await desk.ask("refuse")
        assert ("There is no endpoint 'x'.", {"available": ["demo"]}) == (
            caught.value.message, caught.value.details,
        )  # fmt: skip

    at_the_desk(tmp_path, scenario)


@pytest.mark.parametrize("command", ["break", "nonsense", ""])
def test_faulty_command_costs_only_itself(tmp_path: Path, command: str) -> None:
    """An error of the supervisor's own is said as such, and the next command is served."""

    async def scenario(desk: Desk) -> None:
        with pytest.raises(InternalError, match=repr(command)):
            await desk.ask(command)
        assert await desk.ask("echo")
        failed = [event for event in desk.said if event["event"] == "command_failed"]
        assert (1 if command == "break" else 0) == len(failed)

    at_the_desk(tmp_path, scenario)


def test_slow_command_holds_up_nobody_else(tmp_path: Path) -> None:
    """A restart that takes a minute does not stop others from asking."""

    async def scenario(desk: Desk) -> None:
        waiting = asyncio.create_task(desk.ask("wait", timeout_s=0.3))
        assert await desk.ask("echo")
        with pytest.raises(NotReady, match="The supervisor does not answer: timed out"):
            await waiting

    at_the_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"[1]\n", b"\xff\n", b"x" * 5_000_000 + b"\n"],
    ids=["garbage", "no object", "no text", "too long"],
)  # fmt: skip
def test_line_that_is_no_command_ends_the_connection_only(tmp_path: Path, line: bytes) -> None:
    """Whoever does not speak the language is not listened to any further."""

    async def scenario(desk: Desk) -> None:
        reader, writer = await desk.connect()
        writer.write(line)
        with contextlib.suppress(ConnectionResetError):  # its last bytes were not even read
            assert b"" == await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        assert await desk.ask("echo")

    at_the_desk(tmp_path, scenario)


def test_several_commands_may_use_one_connection(tmp_path: Path) -> None:
    """They are answered in order."""

    async def scenario(desk: Desk) -> None:
        reader, writer = await desk.connect()
        for number in range(3):
            writer.write(json.dumps({"command": "echo", "number": number}).encode() + b"\n")
        answers = [json.loads(await reader.readline())["result"]["number"] for _ in range(3)]
        assert [0, 1, 2] == answers
        writer.close()

    at_the_desk(tmp_path, scenario)


class Linked:
    """A gateway process's link, and what it was told."""

    def __init__(self, desk: Desk) -> None:
        self.tables: list[RoutingTable] = []
        self.deaths: list[tuple[list[int], DeathNotice]] = []
        self.link = SupervisorLink(str(desk.path), desk.log)
        self.task = asyncio.create_task(
            self.link.run(
                self.tables.append, lambda message: self.deaths.append(notice_of(message))
            )
        )

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basic_inference_server.gateway.supervisor_link.RETRY_S", 0.01)


def test_subscriber_is_told_the_table_at_once_and_every_change(tmp_path: Path) -> None:
    """A gateway process that has just started knows all routes."""

    async def scenario(desk: Desk) -> None:
        linked = Linked(desk)
        await until(lambda: linked.tables)
        assert [TABLE] == linked.tables
        desk.control.push({"push": "table", "table": RoutingTable().to_message()})
        death = {"push": "worker_exit", "calls": [7], "cause": "signal 9", "blames_request": False}
        desk.control.push(death)
        desk.control.push({"push": "something of a later version"})
        await until(lambda: linked.deaths)
        assert [TABLE, RoutingTable()] == linked.tables
        assert [([7], DeathNotice("signal 9"))] == linked.deaths
        await linked.end()

    at_the_desk(tmp_path, scenario)


def test_link_tells_and_is_answered(tmp_path: Path) -> None:
    """Answers come in the order of the questions, between the pushes."""

    async def scenario(desk: Desk) -> None:
        linked, answers = Linked(desk), list[Any]()
        await until(lambda: linked.tables)
        linked.link.tell("echo", {"number": 1}, answers.append)
        desk.control.push({"push": "something of a later version"})
        linked.link.tell("refuse", {}, answers.append)
        linked.link.tell("echo", {"number": 2}, answers.append)
        await until(lambda: len(answers) == 3)
        assert [1, None, 2] == [answer and answer["number"] for answer in answers]
        await linked.end()

    at_the_desk(tmp_path, scenario)


def test_link_gives_an_answer_up_that_does_not_come(tmp_path: Path) -> None:
    """Once: a stopped supervisor holds no caller up, and what it says later is no news."""

    async def scenario(desk: Desk) -> None:
        linked, answers = Linked(desk), list[Any]()
        linked.link.tell("echo", {}, answers.append)
        assert [None] == answers, "there is no line yet"
        await until(lambda: linked.tables)
        linked.link.tell("wait", {}, answers.append)
        await until(lambda: len(answers) == 2)
        linked.link.tell("echo", {}, answers.append)
        desk.control.close()
        await until(lambda: len(answers) == 3)
        assert [None, None, None] == answers
        await linked.end()

    at_the_desk(tmp_path, scenario)


def test_link_comes_back_after_a_restart_of_the_supervisor(tmp_path: Path) -> None:
    """Until then the last table stays; then the new supervisor's counts."""

    async def scenario(desk: Desk) -> None:
        linked = Linked(desk)
        await until(lambda: linked.tables)
        await desk.reopen()
        await until(lambda: len(linked.tables) == 2)
        assert [TABLE, TABLE] == linked.tables
        await linked.end()

    at_the_desk(tmp_path, scenario)


def test_link_waits_for_a_supervisor_that_is_not_there_yet(tmp_path: Path) -> None:
    """Who was started first does not matter."""

    async def scenario(desk: Desk) -> None:
        desk.control.close()
        desk.path.unlink(missing_ok=True)
        linked = Linked(desk)
        await until(lambda: any(e["event"] == "supervisor_link_broken" for e in desk.said))
        assert [] == linked.tables
        await desk.reopen()
        await until(lambda: linked.tables)
        assert [TABLE] == linked.tables
        await linked.end()

    at_the_desk(tmp_path, scenario)


@pytest.mark.parametrize(
    "message",
    [{"push": "table"}, {"push": "table", "table": {"routes": [{}]}}, {"push": "worker_exit"}],
    ids=["no table", "another table", "no cause"],
)
def test_message_that_makes_no_sense_does_not_end_the_link(
    tmp_path: Path, message: dict[str, Any]
) -> None:
    """The link starts anew and goes on with what the supervisor says then."""

    async def scenario(desk: Desk) -> None:
        linked = Linked(desk)
        await until(lambda: linked.tables)
        desk.control.push(message)
        await until(lambda: len(linked.tables) == 2 or linked.task.done())
        has_ended = linked.task.done()
        await linked.end()
        assert not has_ended

    at_the_desk(tmp_path, scenario)


def test_subscriber_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    """A stopped gateway process does not fill the supervisor's memory."""

    async def scenario(desk: Desk) -> None:
        _, writer = await desk.connect()
        writer.write(b'{"command": "subscribe"}\n')
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: desk.control._subscribers)
        for _ in range(40):
            desk.control.push({"push": "table", "padding": "x" * 1_000_000})
            await asyncio.sleep(0)
        assert set() == desk.control._subscribers
        assert await desk.ask("echo")
        writer.close()

    at_the_desk(tmp_path, scenario)


def test_subscriber_that_leaves_is_forgotten(tmp_path: Path) -> None:
    """A gateway process that ended costs nothing any more."""

    async def scenario(desk: Desk) -> None:
        linked = Linked(desk)
        await until(lambda: desk.control._subscribers)
        await linked.end()
        await until(lambda: not desk.control._subscribers)
        desk.control.push({"push": "table", "table": TABLE.to_message()})
        assert await desk.ask("echo")
        assert set() == desk.control._subscribers

    at_the_desk(tmp_path, scenario)
