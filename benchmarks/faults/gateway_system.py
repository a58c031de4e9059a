"""This gateway, as shipped."""

from __future__ import annotations

import json
import runpy
from typing import Any

from server_process import ServerProcess
from systems import gateway

from faults.system import WORKERS, Fields, Launch, Reload, System

# Read and not imported: what is installed beside the benchmarks may be another version.
_VERSION = runpy.run_path(str(gateway.PROJECT_ROOT / "basic_inference_server" / "_version.py"))[
    "LIB_VER"
]


def _start(launch: Launch) -> ServerProcess:
    launch.place()
    endpoints = launch.folder / "endpoints"
    endpoints.mkdir(exist_ok=True)
    sections: dict[str, dict[str, Any]] = {}
    for name in ("work", "other") if launch.settings.with_other else ("work",):
        source = launch.folder / f"gateway_{name}.py"
        launch.place(source.name)
        source.rename(endpoints / f"{name}.py")
        sections[name] = {"NR_WORKERS": WORKERS, "HOST": "127.0.0.1"}
        if launch.settings.timeout_s is not None:
            sections[name]["TIMEOUT"] = launch.settings.timeout_s
        if launch.settings.queue is not None:
            sections[name]["QUEUE_SIZE"] = launch.settings.queue
    gateway.write_config(launch.folder, sections)
    return gateway.start(launch.folder, launch.environment)


def _other_body(fields: Fields) -> bytes:
    return json.dumps({**fields, "SIGNATURE": "other"}).encode()


GATEWAY = System(
    key="ours",
    title=f"this gateway {_VERSION}",
    prepare=lambda: None,  # it runs in the interpreter that runs the scoreboard
    start=_start,
    health=("/v1/live", "/v1/ready"),
    configuration="`NR_WORKERS` 2; `TIMEOUT` for the deadline; `QUEUE_SIZE` for the queue.",
    reload=Reload.CALL,
    reload_path="/restart_server",
    reload_body=b'{"SIGNATURE": "work"}',
    other_path="/run",
    other_body=_other_body,
)
