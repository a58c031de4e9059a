"""What endpoints find around themselves: the operator's environment, and their own files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import RunningGateway, running_gateway
from tests.support.eventually import eventually
from tests.support.projects import write_project

ROOT = Path(__file__).resolve().parents[2]
SHOWING = """
import json
import os
import subprocess
import sys

from endpoints import _shared

from basic_inference_server import FlaskWorker

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


class ShowingWorker(FlaskWorker):
    def _predict(self, inputs):
        from endpoints._late import LATE

        shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True)
        return {"environment": json.loads(shown.stdout), "pid": os.getpid(),
                "shared": _shared.VALUE, "late": LATE}
"""
FILES = {"showing": SHOWING, "_shared": "VALUE = 1\n", "_late": "LATE = 2\n"}
# As an installed package is started: without PYTHONPATH.
LAUNCHER = """
import os, sys
sys.path.insert(0, os.environ.pop("PYTHONPATH").split(os.pathsep)[0])
os.environ.pop("PYTHONUNBUFFERED", None)
from basic_inference_server.cli import main
main(["run", "--host", "127.0.0.1", "--port", "0"])
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint without settings of its own, and one with a path of its own."""
    folder = tmp_path_factory.mktemp("surroundings")
    own = {"SERVER_CLASS": "showing", "ENV": {"PYTHONPATH": "/of/its/own"}}
    write_project(folder, {"showing": {}, "own": own}, FILES)
    with running_gateway(folder, command=[sys.executable, "-c", LAUNCHER]) as running:
        yield running


@pytest.mark.shares_gateway
def test_programs_of_an_endpoint_have_the_operators_environment(gateway: RunningGateway) -> None:
    """What the engine needs to start its own processes is not theirs."""
    environment = gateway.run("showing").json()["environment"]
    assert "PYTHONPATH" not in environment
    assert "PYTHONUNBUFFERED" not in environment
    assert "/of/its/own" == gateway.run("own").json()["environment"]["PYTHONPATH"]


@pytest.mark.shares_gateway
def test_next_worker_runs_when_the_folder_is_gone(gateway: RunningGateway) -> None:
    """A worker that is forked later runs the code that its server has started with."""
    first = gateway.run("showing").json()["pid"]
    shutil.rmtree(gateway.base_folder / "endpoints")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: gateway.servers()["showing"]["worker_pids"] not in ([], [0], [first]))
    answer = gateway.run("showing").json()
    assert (1, 2) == (answer["shared"], answer["late"])
    assert first != answer["pid"]


def test_name_that_the_terminal_cannot_show_does_not_stop_the_start(tmp_path: Path) -> None:
    """On an ASCII terminal it is shown with escapes."""
    ended = subprocess.run(
        [sys.executable, str(ROOT / "run_gateway.py"), "-b", str(tmp_path)],
        env={**process_environment(), "AID_APP_ID": "caf\u00e9", "LC_ALL": "C",
             "PYTHONIOENCODING": "ascii"},
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "caf\\" in ended.stdout.splitlines()[0]
    assert 78 == ended.returncode  # there is no configuration
