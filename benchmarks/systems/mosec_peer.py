"""How mosec is started: from a virtual environment of its own, made here on first use."""

from __future__ import annotations

from pathlib import Path

from server_process import ServerProcess, free_address

from systems.environments import Environment

MOSEC = Environment("mosec", "0.9.8")


def start_echo(folder: Path) -> ServerProcess:
    """Two mosec workers behind its Rust front."""
    host, port = free_address()
    server = Path(__file__).resolve().with_name("mosec_server.py")
    command = [str(MOSEC.python()), str(server), "--address", host, "--port", str(port)]
    command += ["--path", str(folder / "mosec")]
    return ServerProcess("mosec", command, folder, lambda: (host, port))
