"""The peers: LitServe, mosec, BentoML, MLServer, each by its own documented means."""

from __future__ import annotations

import json

from server_process import ServerProcess, free_address
from systems.environments import Environment
from systems.mosec_peer import MOSEC as MOSEC_ENVIRONMENT

from faults.system import WORKERS, Fields, Launch, Reload, System

LITSERVE_ENVIRONMENT = Environment("litserve", "0.2.19")
BENTOML_ENVIRONMENT = Environment("bentoml", "1.4.39")
# With uvloop 0.22 and later its parallel workers do not start.
MLSERVER_ENVIRONMENT = Environment("mlserver", "1.7.1", ("uvloop<0.22",))
MLSERVER_DEADLINE = "It has no deadline for a request and no queue limit."


def _process(name: str, command: list[str], launch: Launch, **environment: str) -> ServerProcess:
    return ServerProcess(
        name,
        command,
        launch.folder,
        lambda: launch.address,
        {**launch.full_environment, **environment},
    )


def _start_mosec(launch: Launch) -> ServerProcess:
    launch.place("mosec_app.py")
    host, port = launch.address
    command = [str(MOSEC_ENVIRONMENT.python()), "mosec_app.py"]
    command += ["--address", host, "--port", str(port), "--path", str(launch.folder / "mosec")]
    if launch.settings.timeout_s is not None:
        command += ["--timeout", str(round(launch.settings.timeout_s * 1000))]
    if launch.settings.queue is not None:
        command += ["--capacity", str(launch.settings.queue)]
    return _process("mosec", command, launch)


def _start_litserve(launch: Launch) -> ServerProcess:
    launch.place("litserve_app.py")
    return _process("litserve", [str(LITSERVE_ENVIRONMENT.python()), "litserve_app.py"], launch)


def _start_bentoml(launch: Launch) -> ServerProcess:
    launch.place("bentoml_app.py")
    host, port = launch.address
    command = [str(BENTOML_ENVIRONMENT.python()), "-m", "bentoml", "serve", "bentoml_app:Work"]
    command += ["--host", host, "--port", str(port)]
    home = str(launch.folder / "bentoml")
    return _process("bentoml", command, launch, BENTOML_HOME=home, BENTOML_DO_NOT_TRACK="True")


def _start_mlserver(launch: Launch) -> ServerProcess:
    launch.place("mlserver_app.py")
    host, port = launch.address
    settings = {
        "host": host,
        "http_port": port,
        "grpc_port": free_address()[1],
        "metrics_port": free_address()[1],
        "parallel_workers": WORKERS,
        "debug": False,
    }
    (launch.folder / "settings.json").write_text(json.dumps(settings))
    for name in ("work", "other") if launch.settings.with_other else ("work",):
        (launch.folder / name).mkdir(exist_ok=True)
        model = {"name": name, "implementation": "mlserver_app.Work"}
        (launch.folder / name / "model-settings.json").write_text(json.dumps(model))
    mlserver = MLSERVER_ENVIRONMENT.python().with_name("mlserver")
    return _process("mlserver", [str(mlserver), "start", "."], launch)


def _lower_case_body(fields: Fields) -> bytes:
    """The fields by the names of the API's arguments."""
    return json.dumps({name.lower(): value for name, value in fields.items()}).encode()


def _v2_body(fields: Fields) -> bytes:
    """The fields as an inference request of the V2 protocol; texts travel as parameters."""
    inputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
        for name, value in fields.items()
        if not isinstance(value, str)
    ]
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    return json.dumps({"inputs": inputs, "parameters": texts}).encode()


MOSEC = System(
    key="mosec",
    title=f"mosec {MOSEC_ENVIRONMENT.version}",
    prepare=MOSEC_ENVIRONMENT.python,
    start=_start_mosec,
    health=("/",),
    configuration="`num=2`; `--timeout` for the deadline; `--capacity` for the queue.",
    reload=Reload.RESTART,
    other_path="/other",
)

LITSERVE = System(
    key="litserve",
    title=f"LitServe {LITSERVE_ENVIRONMENT.version}",
    prepare=LITSERVE_ENVIRONMENT.python,
    start=_start_litserve,
    health=("/health",),
    configuration=(
        "`workers_per_device=2`, `restart_workers=True` (without it a dead worker ends the whole "
        "server); `timeout` for the deadline (LitServe documents it for the time in its queue); "
        "uvicorn's `limit_concurrency`, handed over by `run()`, for the queue."
    ),
    reload=Reload.RESTART,
    other_path="/other",
)

BENTOML = System(
    key="bentoml",
    title=f"BentoML {BENTOML_ENVIRONMENT.version}",
    prepare=BENTOML_ENVIRONMENT.python,
    start=_start_bentoml,
    health=("/livez", "/readyz"),
    configuration=(
        "`workers=2`; `traffic.timeout` for the deadline; `traffic.max_concurrency` for the "
        "queue. A service is loaded and fails as a whole, so there is no endpoint beside it."
    ),
    reload=Reload.RESTART,
    body=_lower_case_body,
)

MLSERVER = System(
    key="mlserver",
    title=f"MLServer {MLSERVER_ENVIRONMENT.version}",
    prepare=MLSERVER_ENVIRONMENT.python,
    start=_start_mlserver,
    health=("/v2/health/live", "/v2/health/ready", "/v2/models/work/ready"),
    configuration=f"`parallel_workers` 2, uvloop below 0.22. {MLSERVER_DEADLINE}",
    reload=Reload.CALL,
    reload_path="/v2/repository/models/work/load",
    path="/v2/models/work/infer",
    body=_v2_body,
    other_path="/v2/models/other/infer",
    other_body=_v2_body,
)
