"""Marks each test by its folder and fails any test that leaves a process or thread behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually

LEVELS = ("unit", "integration", "functional", "load", "judges")
TESTS = Path(__file__).parent


def pytest_configure() -> None:
    """Let signals end processes that tests start.

    Under nohup, or in the background of a script, a shell hands down ignored signals, which no
    shell below it can trap.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker of its folder."""
    for item in items:
        level = item.path.relative_to(TESTS).parts[0]
        if level in LEVELS:
            item.add_marker(level)


def child_pids() -> set[int]:
    """Return the pids of this process's children; read off /proc, because it is done so often."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids.update(map(int, (task / "children").read_text().split()))
        except OSError:  # the thread has ended
            continue
    return pids


@pytest.fixture(autouse=True)
def leak_detector(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which one of its processes or threads still runs."""
    if request.node.get_closest_marker("shares_gateway"):
        yield
        return
    processes = child_pids()
    threads = set(threading.enumerate())
    yield

    def leaked() -> list[str]:
        running = [t for t in set(threading.enumerate()) - threads if t.is_alive() and not t.daemon]
        return [f"pid {pid}" for pid in child_pids() - processes] + [repr(t) for t in running]

    eventually(lambda: not leaked(), what="nothing is left behind")
