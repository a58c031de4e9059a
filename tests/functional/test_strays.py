"""Processes that endpoint code starts and leaves behind end with it, however they hide (G7)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, is_running, tree

Launch = Callable[..., RunningGateway]
PARENT = """
import os
import subprocess
import sys

from basic_inference_server import FlaskWorker

DAEMON = '''
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
signal.pause()
'''


class ParentWorker(FlaskWorker):
    def _predict(self, inputs):
        if inputs["KIND"] == "daemon":
            out = subprocess.run([sys.executable, "-c", DAEMON], stdout=subprocess.PIPE).stdout
            return {"child": int(out)}
        own = inputs["KIND"] == "session"
        child = subprocess.Popen(["sleep", "600"], start_new_session=own)
        return {"child": child.pid, "worker": os.getpid()}
"""


def let_a_moment_pass() -> None:
    """Wait longer than the supervisor does between two looks."""
    began_s = monotonic_s()
    eventually(lambda: monotonic_s() - began_s > 0.3)


def started(gateway: RunningGateway, kind: str) -> psutil.Process:
    """Have the endpoint start a process."""
    return psutil.Process(gateway.run("parent", KIND=kind).json()["child"])


@pytest.mark.parametrize("kind", ["plain", "session"])
def test_orphans_of_a_dead_worker_end_with_it(launch: Launch, kind: str) -> None:
    """And those of its neighbour, and the neighbour's daemon, do not."""
    gateway = launch({"parent": {"NR_WORKERS": 2}}, {"parent": PARENT})
    answers: dict[int, list[psutil.Process]] = {}
    while len(answers) < 2:
        answer = gateway.run("parent", KIND=kind).json()
        answers.setdefault(answer["worker"], []).append(psutil.Process(answer["child"]))
    (victim, orphans), (_, others) = answers.items()
    os.kill(victim, signal.SIGKILL)
    expect_gone(orphans)
    assert all(is_running(child) for child in others)
    eventually(lambda: gateway.servers()["parent"]["ready_workers"] == 2)
    assert 0 == gateway.stop()
    expect_gone(others)


def test_daemon_ends_with_its_server(launch: Launch) -> None:
    """Not with the worker that started it, but with the generation; no zombie stays."""
    gateway = launch({"parent": {}}, {"parent": PARENT})
    daemon = started(gateway, "daemon")
    worker = gateway.servers()["parent"]["worker_pids"][0]
    eventually(lambda: daemon.ppid() == gateway.process.pid)
    # What is adopted in the very moment of a death passes for the dead worker's. The supervisor
    # looks ten times a second; two answers in a row come after one look, however busy it is.
    for _ in range(2):
        let_a_moment_pass()
        gateway.servers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: gateway.servers()["parent"]["worker_pids"] not in ([], [worker]))
    assert is_running(daemon)
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "parent"}).status_code
    expect_gone([daemon])
    eventually(lambda: psutil.STATUS_ZOMBIE not in [one.status() for one in tree(gateway)])


def test_stop_leaves_no_daemon(launch: Launch) -> None:
    """An orderly stop ends what the endpoints have left behind."""
    gateway = launch({"parent": {}}, {"parent": PARENT})
    daemon = started(gateway, "daemon")
    assert 0 == gateway.stop()
    assert not is_running(daemon)


def test_killed_supervisor_leaves_no_daemon(launch: Launch) -> None:
    """SIGKILL of the supervisor: whatever has left its process group is found by its mark."""
    gateway = launch({"parent": {}}, {"parent": PARENT})
    processes = [started(gateway, "daemon"), started(gateway, "session"), *tree(gateway)]
    gateway.kill()
    expect_gone(processes)


def test_killed_janitor_is_replaced(launch: Launch) -> None:
    """Both have to die at once for a daemon to escape."""
    gateway = launch({"parent": {}}, {"parent": PARENT})

    def janitors() -> list[psutil.Process]:
        return [p for p in tree(gateway) if is_running(p) and "janitor.sh" in " ".join(p.cmdline())]

    (first,) = janitors()
    shell, script, mark = first.cmdline()
    assert ("/bin/sh", "janitor.sh") == (shell, Path(script).name)
    assert mark.startswith("BIS_RUN=")
    first.kill()
    eventually(lambda: janitors() not in ([], [first]))
    daemon = started(gateway, "daemon")
    gateway.kill()
    expect_gone([daemon])
