"""Starts and signals as process managers make them: early, unexpected, without descriptors."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.functional.endpoint_sources import GATED
from tests.functional.gateways import Gate
from tests.support.eventually import PATIENCE_S, eventually
from tests.support.processes import tree
from tests.support.projects import ECHO, write_project

Launch = Callable[..., RunningGateway]
ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, "-m", "basic_inference_server", "run", "--host", "127.0.0.1", "--port", "0"]

SAY = """
from basic_inference_server import FlaskWorker


class SayWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"code": "%s", "section": self.cfg_x}
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_signal_without_a_meaning_ends_nothing(launch: Launch, number: signal.Signals) -> None:
    """Sent to every process of the gateway, it is said by the first and costs nobody anything."""
    gateway = launch()
    processes = tree(gateway)
    for process in processes:
        if "janitor.sh" not in " ".join(process.cmdline()):  # a shell, which is replaced
            process.send_signal(number)
    gateway.process.send_signal(number)
    ignored = eventually(lambda: [e for e in gateway.events if e["event"] == "signal_ignored"])
    assert number.name == ignored[0]["signal"]
    assert 3 == gateway.run("echo", INPUT_VALUE=1).json()["result"]
    assert not [event for event in gateway.events if event["event"] == "worker_died"]
    assert 0 == gateway.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_first_process_of_a_container_obeys_an_early_sigterm(tmp_path: Path) -> None:
    """A process with pid 1 loses every signal without a handler, and imports take a while."""
    write_project(tmp_path, {"echo": {}}, {"echo": ECHO})
    shutil.copy(ROOT / "run_gateway.py", tmp_path)
    shutil.copy(ROOT / "app_ver.py", tmp_path)
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    start = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*unshare, *start], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**process_environment(), "PYTHONPATH": str(ROOT)},
    ) as outside:  # fmt: skip
        try:
            child = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
            pid = int(eventually(child.read_text))
            maps = Path(f"/proc/{pid}/maps")
            eventually(lambda: "pydantic_core" in maps.read_text(), what="it imports its modules")
            os.kill(pid, signal.SIGTERM)
            assert 0 == outside.wait(PATIENCE_S)
        finally:
            outside.kill()
    assert not (tmp_path / "_cache" / "run" / "gateway.json").exists()


def test_gateway_without_standard_descriptors_serves(tmp_path: Path) -> None:
    """No listener and no database gets the number of one of them."""
    write_project(tmp_path, {"echo": {}}, {"echo": ECHO})
    shell = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *RUN]
    with running_gateway(tmp_path, command=shell) as gateway:
        folder = Path(f"/proc/{gateway.process.pid}/fd")
        assert [Path("/dev/null")] * 3 == [(folder / str(fd)).readlink() for fd in range(3)]
        assert 3 == gateway.run("echo", INPUT_VALUE=1).json()["result"]
        assert 0 == gateway.stop()


def test_next_gateway_waits_for_one_that_is_stopping(launch: Launch, tmp_path: Path) -> None:
    """A process manager that starts the next one early gets it, once everything is answered."""
    gate = Gate(tmp_path)
    gateway = launch({"gated": {}}, {"gated": GATED})
    with gate.closed():
        command = ["curl", "--silent", "--data", '{"ID": "last"}', f"{gateway.url}/run/gated"]
        last = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        gate.wait_for("last")
        gateway.process.terminate()
        eventually(lambda: any(event["event"] == "stopping" for event in gateway.events))
        following = start_gateway(tmp_path)
        eventually(lambda: "which is stopping" in following.output)
        assert following.process.poll() is None
    assert '"id":"last"' in last.communicate(timeout=PATIENCE_S)[0]
    assert 0 == gateway.process.wait(PATIENCE_S)
    following.wait_until_open(PATIENCE_S)
    assert 200 == following.run("gated", ID="after").status_code
    assert 0 == following.stop()


def test_reload_takes_configuration_and_code_through_the_same_link(tmp_path: Path) -> None:
    """A deployment that switches a link gets both of the new release, or none."""
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        write_project(tmp_path / release, {"say": {"X": release}}, {"say": SAY % release})
    current = tmp_path / "current"
    current.symlink_to("one")
    command = [*RUN, "--base_folder", str(current)]
    with running_gateway(current, command=command) as gateway:
        said = gateway.run("say").json()
        assert ("one", "one") == (said["code"], said["section"])
        current.unlink()
        current.symlink_to("two")
        assert 200 == gateway.post("/reload").status_code
        said = gateway.run("say").json()
        assert ("two", "two") == (said["code"], said["section"])
