"""The folder of sockets is removed under a running gateway: requests and administration go on."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.conftest import SOURCES
from tests.faults.ledger import Ledger
from tests.functional.gateways import run_to_end, shared_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway
ASKING = """
from basic_inference_server import FlaskWorker


class AskingWorker(FlaskWorker):
    def _predict(self, inputs):
        return self.call("healthy", {"VALUE": 1})
"""
TARGETS = ("healthy", "asking")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in a checkout, of which two endpoints are asked, one for the other."""
    folder = tmp_path_factory.mktemp("lost")
    files = {**SOURCES, "asking": ASKING}
    with shared_gateway(folder, {"healthy": {}, "asking": {}}, files) as running:
        subprocess.run(["git", "init", "-q", str(folder)], check=True, timeout=20)
        subprocess.run(["git", "-C", str(folder), "add", "endpoints", "config_gateway.txt"],
                       check=True, timeout=60)  # fmt: skip
        yield running


def remove_run_folder(folder: Path) -> None:
    shutil.rmtree(folder / "_cache" / "run")


def clean_checkout(folder: Path) -> None:
    """Remove all that git does not know, as people do before they build."""
    token = folder / "_cache" / "admin_token"
    before = token.read_text()
    subprocess.run(["git", "-C", str(folder), "clean", "-fdxq"], check=True, timeout=60)
    # The gateway may have made another one by now.
    assert not token.exists() or before != token.read_text()


@pytest.mark.parametrize("harm", [remove_run_folder, clean_checkout])
def test_folder_that_is_removed_costs_no_request(
    gateway: RunningGateway, harm: Callable[[Path], None]
) -> None:
    """Not one fails; the names are back and said, and a reload and a restart work."""
    restored = number_restored(gateway)
    with Ledger(gateway.port, 50, lambda n: {"SIGNATURE": TARGETS[n % 2]}, 10) as load:
        eventually(lambda: load.answered > 20)
        harm(gateway.base_folder)
        eventually(lambda: number_restored(gateway) > restored, what="the loss was noticed")
        answered = load.answered
        assert 200 == gateway.get("/v1/ready").status_code
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": "asking"}).status_code
        assert 200 == gateway.post("/reload").status_code
        eventually(lambda: load.answered > answered + 20)
        load.stop()
    load.check()
    assert {"200"} == set(load.outcomes), load.failures()[:3]
    run = gateway.base_folder / "_cache" / "run"
    assert gateway.process.pid == json.loads((run / "gateway.json").read_text())["pid"]
    assert 0o600 == (run.parent / "admin_token").stat().st_mode & 0o777
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(str(run / "control.sock"))


def number_restored(gateway: RunningGateway) -> int:
    return sum(event["event"] == "folder_restored" for event in gateway.events)


def test_folder_is_still_taken(gateway: RunningGateway) -> None:
    """The lock is back with the folder: a second gateway is refused."""
    restored = number_restored(gateway)
    remove_run_folder(gateway.base_folder)
    eventually(lambda: number_restored(gateway) > restored, what="the loss was noticed")
    code, lines = run_to_end(gateway.base_folder)
    assert 4 == code, lines
    assert f"another gateway (pid {gateway.process.pid}) already runs" in lines[-1]
