"""How the baseline is started: plain Flask under gunicorn's threads, no gateway in front."""

from __future__ import annotations

import sys
from pathlib import Path

from server_process import ServerProcess, free_address

WORKERS = 2
THREADS = 8


def start_echo(folder: Path) -> ServerProcess:
    """Two gunicorn workers of eight threads each, in the interpreter that runs the benchmark."""
    host, port = free_address()
    command = [sys.executable, "-m", "gunicorn", "--worker-class", "gthread"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), "--no-control-socket"]
    command += ["--pythonpath", str(Path(__file__).resolve().parent)]
    command += ["--bind", f"{host}:{port}", "flask_app:app"]
    return ServerProcess("flask", command, folder, lambda: (host, port))
