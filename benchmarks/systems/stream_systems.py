"""The systems of streaming.py: one worker each, the same items."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server_process import Request, ServerProcess, free_address

from systems import gateway, model_environments
from systems.model_systems import APPS


@dataclass(frozen=True)
class StreamSystem:
    """One system; all take the same fields."""

    key: str
    title: str
    python: Callable[[], Path]
    start: Callable[[Path], ServerProcess]


def request(count: int, pause_s: float = 0) -> Request:
    """Ask for that many items."""
    fields = {"SIGNATURE": "stream", "COUNT": count, "PAUSE": pause_s}
    return Request("/run", json.dumps(fields).encode())


def _start_ours(folder: Path) -> ServerProcess:
    (folder / "endpoints").mkdir()
    shutil.copy2(APPS / "stream_work.py", folder)
    shutil.copy2(APPS / "gateway_stream.py", folder / "endpoints" / "stream.py")
    gateway.write_config(folder, {"stream": {"NR_WORKERS": 1, "HOST": "127.0.0.1"}})
    return gateway.start(folder)


def _own_python() -> Path:
    return Path(sys.executable)


def _program(
    name: str, python: Callable[[], Path], *, takes_address: bool = False
) -> Callable[[Path], ServerProcess]:
    """How a program that serves when it is run is started."""

    def start(folder: Path) -> ServerProcess:
        for file in ("stream_work.py", f"{name}_stream.py"):
            shutil.copy2(APPS / file, folder)
        host, port = free_address()
        command = [str(python()), f"{name}_stream.py"]
        if takes_address:
            command += ["--address", host, "--port", str(port), "--path", str(folder / "socket")]
        variables = {"MODEL_PORT": str(port)}
        return ServerProcess(name, command, folder, lambda: (host, port), variables)

    return start


_LITSERVE, _MOSEC = model_environments.LITSERVE, model_environments.MOSEC
SYSTEMS = {
    one.key: one
    for one in (
        StreamSystem("ours", "this gateway, NDJSON", _own_python, _start_ours),
        StreamSystem(
            "litserve",
            f"LitServe {_LITSERVE.version}, NDJSON",
            _LITSERVE.python,
            _program("litserve", _LITSERVE.python),
        ),
        StreamSystem(
            "mosec",
            f"mosec {_MOSEC.version}, SSE",
            _MOSEC.python,
            _program("mosec", _MOSEC.python, takes_address=True),
        ),
        StreamSystem("bare", "http.server, no gateway", _own_python, _program("bare", _own_python)),
    )
}
OURS = "ours"
