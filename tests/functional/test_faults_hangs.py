"""Workers hang: the deadline is obeyed, the worker is replaced, neighbours do not notice (G9)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.misbehaving import MISBEHAVING

Launch = Callable[..., RunningGateway]
FILES = {"misbehaving": MISBEHAVING}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"DO": "sleep", "SECONDS": 60}, id="sleeps"),
        pytest.param({"DO": "spin"}, id="spins"),
        pytest.param({"DO": "hold_gil", "SECONDS": 60}, id="holds the interpreter lock"),
        pytest.param({"DO": "kill", "SIGNAL": int(signal.SIGSTOP)}, id="is stopped"),
    ],
)
def test_hung_worker_is_answered_for_and_replaced(
    launch: Launch, tmp_path: Path, fields: dict[str, object]
) -> None:
    """The caller gets 504 at the deadline; the worker is killed and replaced; it ran once."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2, "TIMEOUT": 0.5}}, FILES)
    count = tmp_path / "count"
    before = set(gateway.servers()["misbehaving"]["worker_pids"])
    started = monotonic()
    response = gateway.run("misbehaving", COUNT_FILE=str(count), **fields)  # type: ignore[arg-type]
    elapsed_s = monotonic() - started
    assert (504, "deadline_exceeded") == (response.status_code, response.json()["code"])
    assert 0.5 <= elapsed_s < 1.5
    assert 200 == gateway.run("misbehaving", DO="answer").status_code

    def replaced() -> bool:
        now = gateway.servers()["misbehaving"]
        pids = set(now["worker_pids"])
        return now["ready_workers"] == 2 and len(pids - before) == 1

    eventually(replaced, timeout_s=6)
    assert 1 == len(count.read_text().splitlines())
    died = eventually(lambda: [e for e in gateway.events if e["event"] == "worker_died"])
    assert "hang" in died[0]["cause"]


def test_stacks_of_a_hung_worker_are_in_the_log(launch: Launch) -> None:
    """Before a hung worker is ended, the log shows where it hangs."""
    gateway = launch({"misbehaving": {"TIMEOUT": 0.3}}, FILES)
    gateway.run("misbehaving", DO="spin")
    eventually(lambda: "in spin" in gateway.output, what="the stack of `spin`")


@pytest.mark.chaos  # it takes the 10 s of silence that are allowed
def test_stopped_idle_worker_is_found(launch: Launch) -> None:
    """An idle worker that is stopped takes no request with it and is replaced."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}}, FILES)
    victim = gateway.servers()["misbehaving"]["worker_pids"][0]
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: victim not in gateway.servers()["misbehaving"]["worker_pids"], timeout_s=20)


def test_hung_endpoint_does_not_slow_another(launch: Launch) -> None:
    """While every worker and queue place of one endpoint is taken, another answers at once."""
    gateway = launch(
        {
            "misbehaving": {"NR_WORKERS": 1, "QUEUE_SIZE": 16, "TIMEOUT": 1.5},
            "other": {"SERVER_CLASS": "misbehaving"},
        },
        FILES,
    )
    threads = [
        threading.Thread(target=lambda: gateway.run("misbehaving", DO="sleep", SECONDS=60))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: gateway.servers()["misbehaving"]["busy_workers"] == 1)
    for _ in range(50):
        response = gateway.run("other", DO="answer")
        assert 200 == response.status_code
        assert response.elapsed.total_seconds() < 0.5
    for thread in threads:
        thread.join(20)
