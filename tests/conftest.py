"""Marks each test by its folder and fails any test that leaves a process or thread behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually

LEVELS = ("unit", "integration", "functional", "load")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker of its folder."""
    for item in items:
        level = item.path.relative_to(TESTS).parts[0]
        if level in LEVELS:
            item.add_marker(level)


@pytest.fixture(autouse=True)
def leak_detector(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which one of its processes or threads still runs."""
    if request.node.get_closest_marker("shares_gateway"):
        yield
        return
    me = psutil.Process()
    processes = set(me.children(recursive=True))
    threads = set(threading.enumerate())
    yield

    def leaked() -> list[str]:
        alive = [p for p in set(me.children(recursive=True)) - processes if p.is_running()]
        running = [t for t in set(threading.enumerate()) - threads if t.is_alive() and not t.daemon]
        return [repr(one) for one in (*alive, *running)]

    eventually(lambda: not leaked(), timeout_s=5, what="nothing is left behind")
