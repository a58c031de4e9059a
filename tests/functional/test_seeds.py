"""The system that the first specification describes: its endpoints, support process, start file.

Run twice: with files of the project's own that are written in the same way, and with the
specification's own text where it lies beside the checkout.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.support.eventually import eventually
from tests.support.seed_project import write_seed_like_project

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"
# The specification's start file uses a name that it never defines.
RUN_WITH_IN_DEBUG = (
    "import builtins, runpy, sys; builtins.in_debug = False;"
    "sys.argv = ['run_gateway.py', '--host', '127.0.0.1', '--port', '0'];"
    "runpy.run_path('run_gateway.py', run_name='__main__')"
)
START_OURS = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]


def write_seed_text(folder: Path) -> None:
    """Cut the files out of the specification's text, unchanged."""
    found = sorted(SEEDS.glob("004_*.txt"))
    if not found:
        pytest.skip("the specification is not beside this checkout")
    blocks = re.findall(r"```(python|json)\n(.*?)```", found[0].read_text(), re.DOTALL)

    def block(marker: str) -> str:
        return next(str(text) for _, text in blocks if marker in text)

    endpoints = folder / "endpoints"
    endpoints.mkdir()
    (endpoints / "dummy_model_demo1.py").write_text(block("class DummyModelDemo1Worker"))
    (endpoints / "dummy_model_demo2.py").write_text(block("class DummyModelDemo2Worker"))
    (endpoints / "support_process.py").write_text(block("class ServerMonitor"))
    (folder / "run_gateway.py").write_text(block("gtw = FlaskGateway("))
    configuration = json.loads(block('"CONFIG_ENDPOINTS"'))
    # Only the waiting is shortened: the text says every 10 seconds.
    configuration["CONFIG_ENDPOINTS"]["support_process"]["PING_INTERVAL"] = 1
    (folder / "config_gateway.txt").write_text(json.dumps(configuration))
    (folder / "app_ver.py").write_text('__VER__ = "2.3.2"\n')


@pytest.fixture(params=["equivalent", "verbatim"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningGateway]:
    """The specification's system, running."""
    if request.param == "verbatim":
        write_seed_text(tmp_path)
        command = [sys.executable, "-c", RUN_WITH_IN_DEBUG]
    else:
        write_seed_like_project(tmp_path)
        command = START_OURS
    with running_gateway(tmp_path, command=command) as running:
        yield running


def reported(gateway: RunningGateway) -> dict[str, Any]:
    """Return the support process's newest report."""
    report: dict[str, Any] = gateway.servers()["support_process"]["report"]
    return report


def test_the_seeds_system_runs_unmodified(gateway: RunningGateway) -> None:
    """Both endpoints answer, the support process reports, the disabled servers stay down."""
    first = gateway.run("dummy_model_demo1", INPUT_VALUE="5").json()
    assert "same-word-always" == first["dummy_model_a_predict"]
    assert {"INPUT_VALUE": "5", "LANGUAGE": "ro"} == first["inputs"]
    assert ("1.2.1", "2.3.2") == (first["worker_ver"], first["ver"])
    second = gateway.run("dummy_model_demo2", INPUT_VALUE="5").json()
    assert "5*0 + 0 = 0 PREDICTED" == second["dummy_model_predict"]

    refused = gateway.run("dummy_model_demo1")
    assert (422, "bad_input") == (refused.status_code, refused.json()["code"])
    assert "INPUT_VALUE should be defined in inputs" in refused.json()["ERROR"]

    listing = gateway.post("/list_servers").json()
    assert ["dummy_model_demo1", "dummy_model_demo2"] == listing["AVAIL_SERVERS"]
    assert "DISABLED" == listing["SERVERS"]["dummy_model_demo1-bis"]["state"]

    calls = eventually(
        lambda: gateway.post("/notifications", {"SIGNATURE": "dummy_model_demo1"}).json()["CALLS"]
    )
    assert "Predicting on usr_input: ('5', 'ro')" in calls[0]["msg"]

    report = eventually(lambda: reported(gateway), what="a report")
    assert report["total_memory"] > 0
    assert report["msg"].startswith("Total Mem: ")

    status = gateway.post("/run", {"SIGNATURE": "SYSTEM_STATUS"}).json()
    assert {"dummy_model_demo1", "dummy_model_demo2"} <= status["SYSTEM_STATUS"][
        "mem_servers"
    ].keys()

    bis = gateway.post("/start_server", {"SIGNATURE": "dummy_model_demo1-bis"})
    assert (200, "READY") == (bis.status_code, bis.json()["STATE"])
    assert 200 == gateway.run("dummy_model_demo1-bis", INPUT_VALUE="x").status_code

    shutdown = gateway.post("/shutdown", {"SIGNATURE": "SAFE_KILL_SERVER_CMD"})
    assert 200 == shutdown.status_code
    assert 0 == gateway.process.wait(60)
