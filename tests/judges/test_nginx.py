"""nginx as distributions ship it, with the simplest proxy_pass: it opens nothing to its callers.

It adds no header, changes `Host` to the gateway's address and comes from loopback: only the user
that it runs as tells its calls from the gateway's own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.addresses import client_from
from tests.functional.answers import check_error
from tests.support.eventually import eventually

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(120)]

CONFIGURATION = """
user www-data;
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{gateway_port}; }}
    }}
}}
"""
SHUTDOWN = {"SIGNATURE": "SAFE_KILL_SERVER_CMD"}
CALLS = {
    "/shutdown": SHUTDOWN, "/kill_server": {"SIGNATURE": "echo"}, "/notifications": {},
    "/create_token": {"NAME": "x", "SCOPES": ["admin"]},
    "/support_update_status": {"SIGNATURE": "support_process"},
}  # fmt: skip


@pytest.fixture(scope="module")
def proxy(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an nginx in front of the gateway."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None or os.geteuid() != 0:
        pytest.skip("NOT RUN: install nginx (Debian: apt-get install nginx-light) and be root")
    folder = tmp_path_factory.mktemp("nginx")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    config = folder / "nginx.conf"
    config.write_text(CONFIGURATION.format(folder=folder, port=port, gateway_port=gateway.port))
    process = subprocess.Popen([path, "-c", str(config)], cwd=folder)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None
        try:
            return requests.get(url + "/v1/live", timeout=60).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(answers, what="nginx answers")
        yield url
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize(("path", "fields"), CALLS.items())
def test_its_callers_do_not_administer(
    gateway: RunningGateway, proxy: str, path: str, fields: dict[str, object]
) -> None:
    """From another address, with JSON and as `curl -d` sends it."""
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        with client_from() as client:
            answer = client.post(proxy + path, json=fields, headers=headers, timeout=60)
        check_error("unauthorized" if path == "/create_token" else "forbidden", answer)
    assert gateway.process.poll() is None


def test_its_callers_run_endpoints_and_administer_with_the_token(
    gateway: RunningGateway, proxy: str
) -> None:
    """What it is there for goes on."""
    body = {"SIGNATURE": "echo", "TEXT": "x"}
    assert 200 == requests.post(proxy + "/run", json=body, timeout=60).status_code
    token = Path(gateway.base_folder / "_cache" / "admin_token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert 200 == requests.get(proxy + "/notifications", headers=headers, timeout=60).status_code
