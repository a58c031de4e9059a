"""The systems of batching.py and onnx_mlp.py: the same model, two workers, batching on or off."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server_process import Address, Request, ServerError, ServerProcess, free_address

from systems import gateway, model_environments
from systems.environments import CACHE_FOLDER, Environment

APPS = Path(__file__).resolve().with_name("model_apps")
SLEEP, MLP = "sleep", "mlp"
WORKERS = 2
MLP_INPUTS = 128
BUILD_TIMEOUT_S = 60


@dataclass(frozen=True)
class Setup:
    """What is served, and how many requests are executed together."""

    work: str = SLEEP
    batch_size: int = 1
    wait_ms: float = 0
    gateways: int = 1  # GATEWAY_WORKERS; this gateway only

    def environment(self, address: Address) -> dict[str, str]:
        """What the applications read."""
        return {
            "MODEL_WORK": self.work,
            "MODEL_BATCH": str(self.batch_size),
            "MODEL_WAIT_MS": str(self.wait_ms),
            "MODEL_PORT": str(address[1]),
        }


@dataclass(frozen=True)
class ModelSystem:
    """One system: how to start it, and what its request looks like."""

    key: str
    title: str
    prepare: Callable[[], Path]
    _start: Callable[[Setup, Path], ServerProcess]
    request: Callable[[str], Request]

    def start(self, setup: Setup, folder: Path) -> ServerProcess:
        """Start on a folder of its own."""
        shutil.copy2(APPS / "model_work.py", folder)
        if setup.work == MLP:
            shutil.copy2(mlp_model(), folder / "mlp.onnx")
        return self._start(setup, folder)


def mlp_model() -> Path:
    """The ONNX file; written on first use."""
    path = CACHE_FOLDER / "mlp.onnx"
    if not path.exists():
        command = [str(model_environments.ONNX.python()), str(APPS / "build_mlp.py"), str(path)]
        finished = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
        if finished.returncode != 0:
            raise ServerError(f"the ONNX model could not be written\n{finished.stderr[-2000:]}")
    return path


def row_of(work: str) -> list[float]:
    """One row of inputs, the same in every run."""
    chosen = random.Random(0)
    return [round(chosen.random(), 3) for _ in range(MLP_INPUTS)] if work == MLP else [5.0]


def _ours_request(work: str) -> Request:
    return Request("/run", json.dumps({"SIGNATURE": "model", "INPUT": row_of(work)}).encode())


def _plain_request(work: str) -> Request:
    return Request("/run", json.dumps({"INPUT": row_of(work)}).encode())


def _rows_request(work: str) -> Request:
    return Request("/run", json.dumps({"rows": [row_of(work)]}).encode())


def _start_ours(setup: Setup, folder: Path) -> ServerProcess:
    (folder / "endpoints").mkdir()
    shutil.copy2(APPS / "gateway_model.py", folder / "endpoints" / "model.py")
    section = {
        "NR_WORKERS": WORKERS,
        "HOST": "127.0.0.1",
        "BATCH_SIZE": setup.batch_size,
        "BATCH_WAIT_MS": setup.wait_ms,
    }
    gateway.write_config(folder, {"model": section}, GATEWAY_WORKERS=setup.gateways)
    return gateway.start(folder, setup.environment(("", 0)))


def _start_mosec(setup: Setup, folder: Path) -> ServerProcess:
    command = ["--path", str(folder / "mosec"), "--address", "127.0.0.1", "--port"]
    return _start_peer("mosec", model_environments.MOSEC, setup, folder, command)


def _start_litserve(setup: Setup, folder: Path, *, fast_queue: bool = False) -> ServerProcess:
    extra = {"LITSERVE_FAST_QUEUE": "1" if fast_queue else "0"}
    return _start_peer("litserve", model_environments.LITSERVE, setup, folder, [], extra)


def _start_litserve_fast(setup: Setup, folder: Path) -> ServerProcess:
    return _start_litserve(setup, folder, fast_queue=True)


def _start_bentoml(setup: Setup, folder: Path) -> ServerProcess:
    shutil.copy2(APPS / "bentoml_model.py", folder)
    address = free_address()
    python = str(model_environments.BENTOML.python())
    command = [python, "-m", "bentoml", "serve", "bentoml_model:Model"]
    command += ["--host", address[0], "--port", str(address[1])]
    home = {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    variables = setup.environment(address) | home
    return ServerProcess("bentoml", command, folder, lambda: address, variables)


def _start_peer(
    name: str,
    environment: Environment,
    setup: Setup,
    folder: Path,
    arguments: list[str],
    extra: dict[str, str] | None = None,
) -> ServerProcess:
    """A program that serves when it is run; arguments that end in --port get the port."""
    shutil.copy2(APPS / f"{name}_model.py", folder)
    address = free_address()
    port = [str(address[1])] if arguments else []
    command = [str(environment.python()), f"{name}_model.py", *arguments, *port]
    variables = setup.environment(address) | (extra or {})
    return ServerProcess(name, command, folder, lambda: address, variables)


OURS = ModelSystem("ours", "this gateway", Path, _start_ours, _ours_request)
MOSEC = ModelSystem(
    "mosec",
    f"mosec {model_environments.MOSEC.version}",
    model_environments.MOSEC.python,
    _start_mosec,
    _plain_request,
)
LITSERVE = ModelSystem(
    "litserve",
    f"LitServe {model_environments.LITSERVE.version}",
    model_environments.LITSERVE.python,
    _start_litserve,
    _plain_request,
)
LITSERVE_FAST = ModelSystem(
    "litserve-fast",
    f"LitServe {model_environments.LITSERVE.version}, fast_queue",
    model_environments.LITSERVE.python,
    _start_litserve_fast,
    _plain_request,
)
BENTOML = ModelSystem(
    "bentoml",
    f"BentoML {model_environments.BENTOML.version}",
    model_environments.BENTOML.python,
    _start_bentoml,
    _rows_request,
)
SYSTEMS = {one.key: one for one in (OURS, MOSEC, LITSERVE, LITSERVE_FAST, BENTOML)}
