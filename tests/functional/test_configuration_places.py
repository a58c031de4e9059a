"""Folders and names of every kind that the contract allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import shared_gateway

pytestmark = pytest.mark.shares_gateway

NAMES = ["A" * 128, "x.y-z_0", "...", "mirror", "0", "-", "Mirror"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Longest and oddest names, in a folder too long for a Unix socket's path."""
    folder = tmp_path_factory.mktemp("places") / "dossier é ü" / ("x" * 120)
    folder.mkdir(parents=True)
    endpoints = {name: {"SERVER_CLASS": "mirror"} for name in NAMES}
    with shared_gateway(folder, endpoints, {"mirror": MIRROR}) as running:
        yield running


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:8])
def test_server_of_any_allowed_name_is_reached_and_administered(
    gateway: RunningGateway, name: str
) -> None:
    """Every name works in the body, in the path, on its own port and for administration."""
    own_port = f"http://127.0.0.1:{gateway.server_ports[name]}/run"
    for response in (
        gateway.run(name),
        gateway.post(f"/run/{name}"),
        requests.post(own_port, json={}, timeout=60),
    ):
        assert (200, name) == (response.status_code, response.json()["signature"])
    assert 200 == gateway.get(f"/v1/ready?signature={name}").status_code
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": name}).status_code
    assert name in gateway.get("/list_servers").json()["AVAIL_SERVERS"]
