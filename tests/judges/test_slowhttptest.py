"""slowhttptest against a running gateway: it stays available, and a healthy client notices little.

The baseline is a twin of the gateway that is asked at the same time but not attacked: whatever else
keeps the machine busy, the tool itself included, slows both down. Below FLOOR_MS a p99 is good
whatever the twin's was; above CEILING_MS it is bad, because an attack that takes the processors
away would slow the twin too.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import shared_gateway
from tests.judges.healthy_client import HealthyClient

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(300)]

CONNECTIONS = 500
OPENED_PER_S = 250
ATTACK_S = 25
PROBE_TIMEOUT_S = 3
MAX_RATIO = 2.0
FLOOR_MS = 10.0
CEILING_MS = 250.0
ECHO = "/run?SIGNATURE=bulk&SIZE=1"

# Makes an answer that a slow reader has to read for a long time.
BULK = """
from basic_inference_server import FlaskWorker


class BulkWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"text": "y" * int(inputs["SIZE"])}
"""

ATTACKS = {
    "slow headers": ("-H", "-i", "2", "-u", "{url}/v1/live"),
    "slow body": ("-B", "-i", "2", "-s", "8192", "-f", "application/json", "-u", "{url}/run"),
    "slow read": (
        "-X", "-n", "2", "-w", "512", "-y", "1024", "-z", "64",
        "-u", "{url}/run?SIGNATURE=bulk&SIZE=200000",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tool() -> str:
    """Where slowhttptest is."""
    path = shutil.which("slowhttptest")
    if path is None:
        pytest.skip("NOT RUN: install slowhttptest (Debian: apt-get install slowhttptest)")
    return path


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningGateway]]:
    """Two alike: the one that is attacked, and its twin."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                shared_gateway(
                    tmp_path_factory.mktemp(name), {"bulk": {"NR_WORKERS": 2}}, {"bulk": BULK}
                )
            )
            for name in ("attacked", "twin")
        ]


def attacked_for_a_while(tool: str, url: str, attack: str, folder: Path) -> list[dict[str, int]]:
    """Run the tool to its end; return what it counted in each second."""
    arguments = [argument.format(url=url) for argument in ATTACKS[attack]]
    command = [tool, *arguments, "-c", str(CONNECTIONS), "-r", str(OPENED_PER_S)]
    command += ["-l", str(ATTACK_S), "-p", str(PROBE_TIMEOUT_S), "-g", "-o", "seconds"]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=ATTACK_S + 30, check=False
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    with (folder / "seconds.csv").open() as file:
        return [{name: int(count) for name, count in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("attack", ATTACKS)
def test_gateway_stays_available(
    tool: str, gateways: list[RunningGateway], tmp_path: Path, attack: str
) -> None:
    """The tool finds it available in every second, and a healthy client is as fast as elsewhere."""
    attacked, twin = gateways
    with HealthyClient(attacked.port, ECHO) as client, HealthyClient(twin.port, ECHO) as elsewhere:
        seconds = attacked_for_a_while(tool, attacked.url, attack, tmp_path)
    found = (
        f"{attack}: p99 {client.p99_ms:.1f} ms of {len(client.latencies_ms)} requests, "
        f"{elsewhere.p99_ms:.1f} ms at the twin"
    )
    print(found)
    assert [] == client.failures
    assert [] == [second for second in seconds if not second["Service Available"]]
    assert max(second["Connected"] for second in seconds) >= 0.9 * CONNECTIONS, seconds
    limit_ms = min(CEILING_MS, max(FLOOR_MS, MAX_RATIO * elsewhere.p99_ms))
    assert client.p99_ms <= limit_ms, found
