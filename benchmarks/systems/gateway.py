"""How this gateway is started: from the source tree, on a folder of its own, port 0."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server_process import ServerError, ServerProcess, announced_address

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ECHO_FOLDER = Path(__file__).resolve().with_name("gateway_echo")
IGNORE_FOLDER = Path(__file__).resolve().with_name("gateway_ignore")


def start_echo(folder: Path) -> ServerProcess:
    """The gateway with the echo endpoint, two workers, everything else as shipped."""
    return start_on(ECHO_FOLDER, folder)


def start_on(source: Path, folder: Path) -> ServerProcess:
    """Start on a copy of a base folder, so that what the gateway writes does not stay."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return start(folder)


def write_config(folder: Path, endpoints: dict[str, dict[str, Any]], **top_level: Any) -> None:
    """Write `config_gateway.txt` for these endpoint sections."""
    config = {"SERVER_NAME": "benchmark", **top_level, "CONFIG_ENDPOINTS": endpoints}
    (folder / "config_gateway.txt").write_text(json.dumps(config, indent=2))


def start(folder: Path, extra_environment: Mapping[str, str] | None = None) -> ServerProcess:
    """Start the gateway on a base folder that holds its configuration and its endpoints."""
    if not (PROJECT_ROOT / "basic_inference_server" / "__main__.py").exists():
        raise ServerError(f"there is no gateway to start in {PROJECT_ROOT}")
    run_file = folder / "_cache" / "run" / "gateway.json"
    run_file.unlink(missing_ok=True)  # one of an earlier start would give a dead port
    search_path = os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "basic_inference_server", "run"]
    command += ["--base-folder", str(folder), "--host", "127.0.0.1", "--port", "0"]
    return ServerProcess(
        "gateway",
        command,
        folder,
        lambda: announced_address(run_file),
        {"PYTHONPATH": search_path, **(extra_environment or {})},
    )
