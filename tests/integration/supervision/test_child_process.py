"""Child processes: their output, announcements, exit, and that none outlives its supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.supervision.child_process import (
    MAX_LINE,
    ChildEvents,
    ChildProcess,
    announcement_sockets,
)
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[3]
CHILDREN = ROOT / "tests" / "children"
PATIENCE_S = 20.0
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def is_collected(child: ChildProcess) -> bool:
    return not child.is_alive


class Watched:
    """Starts children and keeps everything that they say."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self.exits: list[int] = []
        self.children: list[ChildProcess] = []

    def start(
        self,
        program: str,
        *arguments: str,
        fds: Sequence[int] = (),
        folder: str = "/",
        environment: dict[str, str] | None = None,
    ) -> ChildProcess:
        child = ChildProcess(
            [sys.executable, str(CHILDREN / program), *arguments],
            environment or ENVIRONMENT,
            fds,
            folder,
            ChildEvents(self.lines.append, self.messages.append, self.exits.append),
        )
        self.children.append(child)
        return child

    def text(self) -> list[str]:
        return [line.decode() for line in self.lines]

    async def until(self, condition: Callable[[], Any]) -> None:
        deadline_s = monotonic_s() + PATIENCE_S
        while not condition():
            assert monotonic_s() < deadline_s, (self.lines[-5:], self.messages[-5:], self.exits)
            await asyncio.sleep(0.005)

    async def exit_code(self) -> int:
        await self.until(lambda: self.exits)
        (code,) = self.exits
        return code

    async def close(self) -> None:
        for child in self.children:
            child.signal_group(signal.SIGKILL)
            await self.until(partial(is_collected, child))
            child.release()


def watch(scenario: Callable[[Watched], Awaitable[None]]) -> None:
    async def run() -> None:
        watched = Watched()
        try:
            await scenario(watched)
        finally:
            await watched.close()

    asyncio.run(run())


def open_descriptors() -> list[str]:
    """Return what this process has open, the listing's own descriptor left out."""
    names = [path.name for path in Path("/proc/self/fd").iterdir()]
    return sorted(name for name in names if Path(f"/proc/self/fd/{name}").exists())


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("code", [0, 1, 78, 255])
def test_exit_code_is_told_once(code: int) -> None:
    """The owner hears of the end, with the code, and after all output."""

    async def scenario(watched: Watched) -> None:
        child = watched.start("exits.py", str(code), "last", "words")
        assert not is_collected(child)
        assert code == await watched.exit_code()
        assert ["last words"] == watched.text()
        assert is_collected(child)
        child.send_signal(signal.SIGTERM)
        child.signal_group(signal.SIGTERM)

    watch(scenario)


def test_death_by_a_signal_is_a_negative_code() -> None:
    """Who killed it is in the code."""

    async def scenario(watched: Watched) -> None:
        child = watched.start("waits.py")
        await watched.until(lambda: watched.lines)
        child.send_signal(signal.SIGKILL)
        assert -signal.SIGKILL == await watched.exit_code()

    watch(scenario)


def test_child_finds_what_it_was_given() -> None:
    """Its environment and folder, its own session, no input, and no descriptor of ours."""

    async def scenario(watched: Watched) -> None:
        ours = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(ours, True)
        handed, kept = socket.socketpair()
        environment = {**ENVIRONMENT, "ONLY": "this"}
        fds = [handed.fileno()]
        watched.start("shows_itself.py", "a b", fds=fds, folder="/tmp", environment=environment)
        assert 0 == await watched.exit_code()
        found = json.loads(watched.lines[0])
        assert (["a b"], "/tmp", True, "", True) == (
            found["arguments"], found["folder"], found["leads_its_session"], found["input"],
            found["output_blocks"],
        )  # fmt: skip
        assert environment.items() <= found["environment"].items()
        assert set(found["environment"]) - set(environment) <= {"LC_CTYPE"}
        assert handed.fileno() in found["descriptors"]
        assert not {ours, kept.fileno()} & set(found["descriptors"])
        # standard streams, the handed one, the life line, and the listing's own
        assert 6 == len(found["descriptors"])
        assert b"to stderr" == watched.lines[1]
        handed.close()
        kept.close()
        os.close(ours)

    watch(scenario)


def test_program_that_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    """A failed start is an error, and costs no descriptor however often it is tried."""

    missing = str(tmp_path / "missing")

    async def scenario(watched: Watched) -> None:
        events = ChildEvents(watched.lines.append, watched.messages.append, watched.exits.append)
        before = open_descriptors()
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                ChildProcess([missing], {}, [], "/", events)
            with pytest.raises(FileNotFoundError):
                ChildProcess([sys.executable], {}, [], missing, events)
        left = set(open_descriptors()) - set(before)
        for fd in left:
            os.close(int(fd))
        assert (set(), []) == (left, watched.exits)

    watch(scenario)


def test_released_child_leaves_nothing_behind() -> None:
    """Every descriptor of a child is closed again."""

    async def scenario(watched: Watched) -> None:
        before = open_descriptors()
        for _ in range(3):
            ours, theirs = announcement_sockets()
            child = watched.start("exits.py", "0", fds=[theirs.fileno()])
            theirs.close()
            child.listen_to(ours)
            await watched.until(partial(is_collected, child))
            child.release()
        watched.children.clear()
        assert before == open_descriptors()

    watch(scenario)


def test_flood_neither_blocks_the_child_nor_the_supervisor(tmp_path: Path) -> None:
    """5 MB into a pipe that nobody reads: the child finishes, and what fitted is whole."""

    async def scenario(watched: Watched) -> None:
        report = tmp_path / "lost"
        child = watched.start("floods_stdout.py", str(report))
        # The loop does not run meanwhile: the supervisor is stopped, as it were.
        eventually(report.exists, what="the child has finished")
        eventually(lambda: is_gone(child.pid), what="the child has ended")
        assert [] == watched.lines
        assert 0 == await watched.exit_code()
        assert {b"x" * 999} == set(watched.lines)
        assert 5000 == len(watched.lines) + int(report.read_text())
        assert 60 < len(watched.lines)

    watch(scenario)


def test_long_line_is_passed_on_in_pieces() -> None:
    """A line without an end takes a bounded amount of memory."""

    async def scenario(watched: Watched) -> None:
        watched.start("exits.py", "0", "x" * 120_000)
        assert 0 == await watched.exit_code()
        assert b"x" * 120_000 == b"".join(watched.lines)
        assert max(map(len, watched.lines)) <= 2 * MAX_LINE

    watch(scenario)


def test_announcements_arrive_one_by_one_and_before_the_exit() -> None:
    """Each message is whole; the last words of a child are heard before its end is told."""

    async def scenario(watched: Watched) -> None:
        ours, theirs = announcement_sockets()
        known_at_exit: list[int] = []
        watched.exits = ExitList(lambda: known_at_exit.append(len(watched.messages)))
        child = watched.start("announces.py", str(theirs.fileno()), "50", fds=[theirs.fileno()])
        theirs.close()
        child.listen_to(ours)
        assert 0 == await watched.exit_code()
        assert list(range(50)) == [message["number"] for message in watched.messages]
        assert [50] == known_at_exit

    watch(scenario)


class ExitList(list[int]):
    """Takes exit codes and does something at that moment."""

    def __init__(self, at_exit: Callable[[], None]) -> None:
        super().__init__()
        self._at_exit = at_exit

    def append(self, code: int) -> None:
        self._at_exit()
        super().append(code)


def test_announcement_that_is_no_message_is_passed_over() -> None:
    """Garbage on the line costs only itself."""

    async def scenario(watched: Watched) -> None:
        ours, theirs = announcement_sockets()
        arguments = [str(theirs.fileno()), "1", "garbage", "[1]", '{"kind": "last"}']
        child = watched.start("announces.py", *arguments, fds=[theirs.fileno()])
        theirs.close()
        child.listen_to(ours)
        assert 0 == await watched.exit_code()
        assert ["count", "last"] == [message["kind"] for message in watched.messages]

    watch(scenario)


def test_released_child_takes_its_group_with_it() -> None:
    """A grandchild that was left behind dies with the life line, at once."""

    async def scenario(watched: Watched) -> None:
        child = watched.start("has_grandchild.py")
        await watched.until(lambda: watched.lines)
        pids = [int(pid) for pid in watched.lines[0].split()]
        child.send_signal(signal.SIGKILL)
        await watched.exit_code()
        assert not is_gone(pids[1])
        child.release()
        watched.children.clear()
        await watched.until(lambda: is_gone(pids[1]))

    watch(scenario)


def test_group_is_signalled_as_a_whole() -> None:
    """Forked workers hear it too."""

    async def scenario(watched: Watched) -> None:
        child = watched.start("has_grandchild.py")
        await watched.until(lambda: watched.lines)
        pids = [int(pid) for pid in watched.lines[0].split()]
        child.signal_group(signal.SIGTERM)
        assert -signal.SIGTERM == await watched.exit_code()
        await watched.until(lambda: all(map(is_gone, pids)))

    watch(scenario)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        pytest.param("waits.py", [], id="idle"),
        pytest.param("waits.py", ["deaf"], id="deaf to SIGTERM"),
        pytest.param("stuck_in_c.py", [], id="stuck in C code"),
        pytest.param("has_grandchild.py", [], id="with a grandchild"),
    ],
)
def test_no_child_outlives_a_killed_supervisor(program: str, arguments: list[str]) -> None:
    """Whatever it is doing, it is gone within a moment; its whole group is."""
    command = [sys.executable, str(CHILDREN / "small_supervisor.py"), str(CHILDREN / program)]
    with subprocess.Popen(
        [*command, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline().split()[1])
        said = supervisor.stdout.readline().split()
        family = {child, *(int(word) for word in said if word.isdigit())}
        assert not any(map(is_gone, family))
        supervisor.kill()
        eventually(lambda: all(map(is_gone, family)), what="the family has ended")


def test_stopped_child_dies_with_its_supervisor_too() -> None:
    """A process that was stopped cannot be told anything but this."""
    command = [sys.executable, str(CHILDREN / "small_supervisor.py"), str(CHILDREN / "waits.py")]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline().split()[1])
        assert "ready" == supervisor.stdout.readline().strip()
        os.kill(child, signal.SIGSTOP)
        supervisor.kill()
        eventually(lambda: is_gone(child), what="the child has ended")
