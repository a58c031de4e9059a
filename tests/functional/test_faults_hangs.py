"""Workers hang: the deadline is obeyed, the worker is replaced, neighbours do not notice (G9)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import AT_ONCE_S, eventually
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
    gateway = launch({"misbehaving": {"NR_WORKERS": 2, "TIMEOUT": 1}}, FILES)
    count = tmp_path / "count"
    before = set(gateway.servers()["misbehaving"]["worker_pids"])
    started = monotonic()
    response = gateway.run("misbehaving", COUNT_FILE=str(count), **fields)  # type: ignore[arg-type]
    elapsed_s = monotonic() - started
    assert (504, "deadline_exceeded") == (response.status_code, response.json()["code"])
    assert 1 <= elapsed_s < AT_ONCE_S
    assert 200 == gateway.run("misbehaving", DO="answer").status_code

    def replaced() -> bool:
        now = gateway.servers()["misbehaving"]
        pids = set(now["worker_pids"])
        return now["ready_workers"] == 2 and len(pids - before) == 1

    eventually(replaced)
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
    eventually(lambda: victim not in gateway.servers()["misbehaving"]["worker_pids"])


def test_hung_endpoint_does_not_slow_another(launch: Launch, tmp_path: Path) -> None:
    """While every worker and queue place of one endpoint is taken, another answers at once."""
    gateway = launch(
        {
            "misbehaving": {"NR_WORKERS": 1, "QUEUE_SIZE": 16},
            "other": {"SERVER_CLASS": "misbehaving"},
        },
        FILES,
    )
    release = tmp_path / "release"
    with ThreadPoolExecutor(17) as pool:
        hung = [
            pool.submit(gateway.run, "misbehaving", DO="wait_for_file", FILE=str(release))
            for _ in range(17)
        ]
        eventually(lambda: gateway.servers()["misbehaving"]["queue"] == 16)
        for _ in range(50):
            assert 200 == gateway.run("other", DO="answer").status_code
        assert not any(answer.done() for answer in hung)
        release.touch()
        assert {200} == {answer.result().status_code for answer in hung}
