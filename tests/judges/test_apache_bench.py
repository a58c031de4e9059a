"""`ab -k`, the client of HTTP/1.0 that waits to be told that its connection is kept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(120)]

REQUESTS = 1000


@pytest.fixture(scope="module")
def tool() -> str:
    """Where ab is."""
    path = shutil.which("ab")
    if path is None:
        pytest.skip("NOT RUN: install ab (Debian: apt-get install apache2-utils)")
    return path


def numbers(output: str) -> dict[str, int]:
    """Return what it counted."""
    return {name: int(count) for name, count in re.findall(r"^(\w[\w -]*):\s+(\d+)", output, re.M)}


@pytest.mark.parametrize("path", ["/v1/live", "/run/echo", "/list_servers", "/nowhere"])
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "closed"])
def test_every_request_is_answered(
    tool: str, gateway: RunningGateway, tmp_path: Path, path: str, keeps: bool
) -> None:
    """None hangs, and with `-k` connections are kept."""
    (tmp_path / "body").write_text('{"A": 1}')
    command = [tool, *(["-k"] if keeps else []), "-n", str(REQUESTS), "-c", "8", "-l", "-s", "20"]
    if path == "/run/echo":
        command += ["-p", str(tmp_path / "body"), "-T", "application/json"]
    ended = subprocess.run(
        [*command, gateway.url + path], capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    counted = numbers(ended.stdout)
    assert (REQUESTS, 0) == (counted["Complete requests"], counted["Failed requests"])
    assert (REQUESTS if path == "/nowhere" else 0) == counted.get("Non-2xx responses", 0)
    assert (REQUESTS if keeps else 0) == counted.get("Keep-Alive requests", 0)
