"""How mosec is started: from a virtual environment of its own, made here on first use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from server_process import ServerError, ServerProcess, clean_environment, free_address

MOSEC_VERSION = "0.9.8"
BENCHMARKS_FOLDER = Path(__file__).resolve().parents[1]
VENV_FOLDER = BENCHMARKS_FOLDER / ".cache" / f"mosec-{MOSEC_VERSION}"
READY_MARK = VENV_FOLDER / "installed"
INSTALL_TIMEOUT_S = 300


def start_echo(folder: Path) -> ServerProcess:
    """Two mosec workers behind its Rust front."""
    host, port = free_address()
    server = Path(__file__).resolve().with_name("mosec_server.py")
    command = [str(prepare()), str(server), "--address", host, "--port", str(port)]
    command += ["--path", str(folder / "mosec")]
    return ServerProcess("mosec", command, folder, lambda: (host, port))


def prepare() -> Path:
    """The interpreter of mosec's environment; makes the environment when there is none."""
    python = VENV_FOLDER / "bin" / "python"
    if READY_MARK.exists() and python.exists():
        return python
    print(f"installing mosec {MOSEC_VERSION} into {VENV_FOLDER} …", file=sys.stderr)
    shutil.rmtree(VENV_FOLDER, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(VENV_FOLDER)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, f"mosec=={MOSEC_VERSION}"])
    READY_MARK.touch()
    return python


def _run(command: list[str]) -> None:
    finished = subprocess.run(
        command,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if finished.returncode != 0:
        raise ServerError(f"mosec could not be installed: {' '.join(command)}\n{finished.stderr}")
