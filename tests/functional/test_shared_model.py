"""What `_load_shared` returns is loaded once for all workers of a server, and is there once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil

from basic_inference_server.testing import RunningGateway, run_worker
from basic_inference_server.worker.flask_worker import FlaskWorker
from tests.support.eventually import eventually
from tests.support.processes import role

Launch = Callable[..., RunningGateway]
MIB = 2**20
MODEL_MIB = 80
SHARING = """
import os
import threading

import numpy as np

from basic_inference_server import FlaskWorker

_CONFIG = {"MIB": 1}


class SharingWorker(FlaskWorker):
    @classmethod
    def _load_shared(cls, config_data):
        with open("loaded", "a") as file:
            file.write("x")
        if config_data["MIB"] < 0:
            raise OSError("no such weights")
        if config_data["MIB"] == 0:
            while True:
                pass
        return np.ones(config_data["MIB"] * 2**17)

    def _predict(self, inputs):
        threading.Event().wait(0.02)
        return {"sum": float(self.shared.sum()), "pid": os.getpid()}
"""


def proportional_mib(gateway: RunningGateway) -> float:
    """Return what the processes of the server hold together."""
    return sum(p.memory_full_info().pss for p in role(gateway, "serving")) / MIB


def ask_all(gateway: RunningGateway, workers: int) -> set[float]:
    """Ask until every worker has answered; return what was answered."""
    sums: set[float] = set()
    pids: set[int] = set()
    with ThreadPoolExecutor(2 * workers) as pool:
        while len(pids) < workers:
            for response in pool.map(lambda _: gateway.run("sharing"), range(4 * workers)):
                sums.add(response.json()["sum"])
                pids.add(response.json()["pid"])
    return sums


def test_model_is_loaded_once_and_shared(launch: Launch) -> None:
    """Four workers that all use it hold hardly more than one copy; the collector undoes nothing."""
    small = launch({"sharing": {"NR_WORKERS": 4}}, {"sharing": SHARING})
    ask_all(small, 4)
    base_mib = proportional_mib(small)
    assert 0 == small.stop()
    gateway = launch({"sharing": {"NR_WORKERS": 4, "MIB": MODEL_MIB}}, {"sharing": SHARING})
    assert {float(MODEL_MIB * 2**17)} == ask_all(gateway, 4)
    assert proportional_mib(gateway) - base_mib < 1.2 * MODEL_MIB
    assert "xx" == (gateway.base_folder / "loaded").read_text()


def test_worker_that_comes_back_shares_too(launch: Launch) -> None:
    """It is forked from the same master, so nothing is loaded again."""
    gateway = launch({"sharing": {}}, {"sharing": SHARING})
    worker = gateway.servers()["sharing"]["worker_pids"][0]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: gateway.servers()["sharing"]["worker_pids"] not in ([], [worker]))
    assert 2**17 == gateway.run("sharing").json()["sum"]
    assert "x" == (gateway.base_folder / "loaded").read_text()


def test_failed_load_is_told_and_tried_again(launch: Launch) -> None:
    """As a failed `_load_model`: the reason, backoff, nothing left behind."""
    gateway = launch({"sharing": {"MIB": -1}}, {"sharing": SHARING})
    server = gateway.servers()["sharing"]
    assert "SharingWorker could not load: OSError: no such weights" == server["last_error"]
    eventually(lambda: gateway.servers()["sharing"]["state"] == "BACKOFF")
    assert 503 == gateway.run("sharing").status_code
    eventually(lambda: len((gateway.base_folder / "loaded").read_text()) > 1)


def test_load_that_takes_too_long_is_ended_with_its_stacks(launch: Launch) -> None:
    """`LOAD_TIMEOUT` counts here too."""
    section = {"MIB": 0, "LOAD_TIMEOUT": 0.5}
    gateway = launch({"sharing": section}, {"sharing": SHARING}, NO_STARTUP_WAIT=True)
    eventually(lambda: "master ended" in str(gateway.servers()["sharing"]["last_error"]))
    eventually(lambda: "in _load_shared" in gateway.output)
    eventually(lambda: all(psutil.pid_exists(p.pid) for p in role(gateway, "gateway")))


class Adding(FlaskWorker):
    """Adds what is shared."""

    @classmethod
    def _load_shared(cls, config_data: dict[str, int]) -> int:
        return config_data["START"]

    def _predict(self, prep_inputs: dict[str, int]) -> int:
        return int(self.shared + prep_inputs["X"])


def test_author_can_test_it_without_a_server() -> None:
    """`run_worker` loads it too."""
    assert {"data": 7} == run_worker(Adding, {"X": 3}, {"START": 4})
