"""What do 1, 4 and 8 workers hold together of a model of 500 MB that `_load_shared` loads?"""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from basic_inference_server.testing import RunningGateway, running_gateway

MIB = 2**20
MODEL_MIB = 500
LIMIT_COPIES = 1.2
WORKERS = (1, 4, 8)
ENDPOINT = """
import os
import threading

import numpy as np

from basic_inference_server import FlaskWorker

_CONFIG = {"MIB": 1}


class SharingWorker(FlaskWorker):
    @classmethod
    def _load_shared(cls, config_data):
        return np.ones(config_data["MIB"] * 2**17)

    def _predict(self, inputs):
        threading.Event().wait(0.02)
        return {"sum": float(self.shared.sum()), "pid": os.getpid()}
"""


def held_mib(gateway: RunningGateway) -> float:
    """Return the proportional set size of the server's master and workers together."""
    server = gateway.servers()["sharing"]
    pids = [server["pid"], *server["worker_pids"]]
    return float(sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / MIB)


def use_everywhere(gateway: RunningGateway, workers: int) -> None:
    """Have every worker read the whole model."""
    seen: set[int] = set()
    body = {"SIGNATURE": "sharing"}
    with ThreadPoolExecutor(2 * workers) as pool:
        while len(seen) < workers:
            for response in pool.map(
                lambda _: requests.post(f"{gateway.url}/run", json=body, timeout=60),
                range(4 * workers),
            ):
                seen.add(response.json()["pid"])


def measure(workers: int, mib: int) -> float:
    """Return what a server of that many workers holds, in MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "endpoints").mkdir()
        (folder / "endpoints" / "sharing.py").write_text(ENDPOINT)
        section = {"NR_WORKERS": workers, "MIB": mib}
        config = {"CONFIG_ENDPOINTS": {"sharing": section}}
        (folder / "config_gateway.txt").write_text(json.dumps(config))
        with running_gateway(folder) as gateway:
            use_everywhere(gateway, workers)
            return held_mib(gateway)


def main() -> int:
    """Measure, print, judge."""
    is_met = True
    for workers in WORKERS:
        without, with_model = measure(workers, 1), measure(workers, MODEL_MIB)
        copies = (with_model - without) / (MODEL_MIB - 1)
        passed = copies <= LIMIT_COPIES
        is_met &= passed
        print(
            f"{'PASS' if passed else 'FAIL'}  {workers} workers: {with_model:.0f} MiB, "
            f"{without:.0f} without the model: {copies:.2f} copies (at most {LIMIT_COPIES})"
        )
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
