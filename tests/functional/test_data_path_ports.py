"""The servers' own ports, the probes, and when the ports open."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests

from basic_inference_server.testing import RunningGateway, start_gateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FLAKY, GATED, GATED_LOAD, MIRROR, NO_LIBRARY
from tests.functional.gateways import Gate, shared_gateway
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually
from tests.support.projects import write_project

Launch = Callable[..., RunningGateway]

DIRECT_PATHS = ["/get_paths", "/notifications", "/run", "/update_workers", "/v1/live", "/v1/ready"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Servers that serve, wait, or cannot load, each with a port of its own."""
    folder = tmp_path_factory.mktemp("ports")
    Gate(folder)
    with shared_gateway(
        folder,
        {
            "mirror": {},
            "gated": {},
            "broken": {"SERVER_CLASS": "no_library"},
            "off": {"SERVER_CLASS": "mirror", "DISABLED": True},
        },
        {"mirror": MIRROR, "gated": GATED, "no_library": NO_LIBRARY},
    ) as running:
        yield running


def direct(gateway: RunningGateway, signature: str, path: str) -> str:
    """Return the URL of a path on a server's own port."""
    return f"http://127.0.0.1:{gateway.server_ports[signature]}{path}"


@pytest.mark.shares_gateway
def test_own_port_runs_its_endpoint_without_a_signature(gateway: RunningGateway) -> None:
    """On a server's own port the fields alone are enough, and a `SIGNATURE` has no effect.

    The endpoint finds its own name there, whatever the request says.
    """
    url, name = direct(gateway, "mirror", "/run"), {"SIGNATURE": "mirror"}
    for fields in ({"X": 1}, {"X": 1, "SIGNATURE": "gated"}):
        response = requests.post(url, json=fields, timeout=60)
        assert (200, {"X": 1, **name}) == (response.status_code, response.json()["inputs"])
        assert "mirror" == response.json()["signature"]
    assert {"X": "2", **name} == requests.get(url + "?X=2", timeout=60).json()["inputs"]
    by_form = requests.post(url, data={"X": "3"}, timeout=60)
    assert {"X": "3", **name} == by_form.json()["inputs"]


@pytest.mark.shares_gateway
def test_own_port_has_few_routes(gateway: RunningGateway) -> None:
    """`/get_paths` of the port lists them; the gateway's other routes are not there."""
    answer = requests.get(direct(gateway, "mirror", "/get_paths"), timeout=60)
    assert (200, DIRECT_PATHS) == (answer.status_code, sorted(answer.json()["PATHS"]))
    for path in ("/list_servers", "/system_status", "/shutdown", "/kill_server", "/", "/nothing"):
        check_error(
            "not_found", requests.post(direct(gateway, "mirror", path), json={}, timeout=60)
        )


@pytest.mark.shares_gateway
def test_own_port_reaches_no_other_endpoint(gateway: RunningGateway) -> None:
    """Whoever may reach one server's port does not reach the others through it."""
    url = direct(gateway, "gated", "/run/mirror")
    check_error("not_found", requests.post(url, json={}, timeout=60))


@pytest.mark.shares_gateway
def test_own_port_administers_its_server(gateway: RunningGateway) -> None:
    """Notifications and the number of workers need no name there."""
    scaled = requests.post(
        direct(gateway, "mirror", "/update_workers"), json={"NR_WORKERS": 2}, timeout=60
    )
    assert (200, "mirror") == (scaled.status_code, scaled.json()["SIGNATURE"])
    assert 2 == gateway.servers()["mirror"]["ready_workers"]
    requests.post(
        direct(gateway, "mirror", "/update_workers"), json={"NR_WORKERS": 1}, timeout=60
    ).raise_for_status()
    found = requests.post(direct(gateway, "broken", "/notifications"), json={}, timeout=60).json()
    assert ["broken"] == sorted({item["signature"] for item in found["GENERAL"]})


@pytest.mark.shares_gateway
def test_own_port_guards_administration_like_the_gateways(gateway: RunningGateway) -> None:
    """The same rules hold on every port."""
    answer = requests.post(
        direct(gateway, "mirror", "/update_workers"),
        json={"NR_WORKERS": 2},
        headers={"X-Forwarded-For": "203.0.113.9"},
        timeout=60,
    )
    check_error("forbidden", answer)


@pytest.mark.shares_gateway
def test_own_port_of_a_server_that_is_down_says_so(gateway: RunningGateway) -> None:
    """The port of a failed or disabled server answers like the gateway's."""
    for signature in ("broken", "off"):
        answer = requests.post(direct(gateway, signature, "/run"), json={}, timeout=60)
        check_error("not_ready", answer)


@pytest.mark.shares_gateway
def test_slow_client_on_a_servers_port_holds_no_worker(gateway: RunningGateway) -> None:
    """While clients send half a request each, the server's only worker answers others."""
    port = gateway.server_ports["mirror"]
    body = b'{"X": 1}'
    slow = [RawClient(port) for _ in range(5)]
    for client in slow:
        client.send(head("POST", "/run", length=len(body)) + body[:3])
    assert 200 == requests.post(direct(gateway, "mirror", "/run"), json={}, timeout=60).status_code
    for client in slow:
        with client:
            client.send(body[3:])
            assert 1 == client.read_answer().json()["inputs"]["X"]


@pytest.mark.shares_gateway
def test_liveness_does_not_depend_on_endpoints(gateway: RunningGateway) -> None:
    """The process serves: alive, whatever its endpoints do."""
    for url in (gateway.url + "/v1/live", direct(gateway, "broken", "/v1/live")):
        response = requests.get(url, timeout=60)
        assert (200, True) == (response.status_code, response.json()["live"])


@pytest.mark.shares_gateway
def test_readiness_names_what_is_missing(gateway: RunningGateway) -> None:
    """Every enabled endpoint has to be ready; a disabled one is not waited for."""
    response = gateway.get("/v1/ready")
    assert 503 == response.status_code
    assert (False, {"broken": "FAILED"}) == (
        response.json()["ready"],
        response.json()["not_ready"],
    )


@pytest.mark.shares_gateway
@pytest.mark.parametrize(
    ("signature", "status"), [("mirror", 200), ("gated", 200), ("broken", 503), ("off", 503)]
)
def test_readiness_of_one_endpoint(gateway: RunningGateway, signature: str, status: int) -> None:
    """`?signature=` asks for one; on its own port it is that server that is asked for."""
    by_query = gateway.get(f"/v1/ready?signature={signature}")
    on_its_port = requests.get(direct(gateway, signature, "/v1/ready"), timeout=60)
    assert (status, status) == (by_query.status_code, on_its_port.status_code)
    assert (status == 200) == by_query.json()["ready"]


@pytest.mark.shares_gateway
def test_readiness_of_nobody_is_unknown_signature(gateway: RunningGateway) -> None:
    """A probe with a wrong name fails visibly."""
    answer = check_error("unknown_signature", gateway.get("/v1/ready?signature=nobody"))
    assert ["mirror", "gated", "broken"] == answer["available"]


@pytest.mark.shares_gateway
def test_readiness_of_a_busy_endpoint_holds(gateway: RunningGateway) -> None:
    """A probe never waits behind inference."""
    gate = Gate(gateway.base_folder)
    with ThreadPoolExecutor(1) as pool, gate.closed():
        busy = pool.submit(gateway.run, "gated", ID="probed")
        gate.wait_for("probed")
        assert 200 == gateway.get("/v1/ready?signature=gated", timeout_s=2).status_code
        assert gateway.servers()["gated"]["healthy"]
    assert 200 == busy.result().status_code


def free_port() -> int:
    """Return a port that nobody has now."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_port_refuses_until_every_endpoint_is_ready(tmp_path: Path) -> None:
    """With `NO_STARTUP_WAIT` false nobody can connect before the first request can be served."""
    gate = Gate(tmp_path)
    write_project(
        tmp_path, {"gated_load": {}, "mirror": {}}, {"gated_load": GATED_LOAD, "mirror": MIRROR}
    )
    gateway = start_gateway(tmp_path, ["--port", str(port := free_port())])
    try:
        with gate.closed():
            eventually(lambda: '"state":"READY","before":"LOADING"' in gateway.output)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 2)
            assert not (tmp_path / "_cache" / "run" / "gateway.json").exists()
        gateway.wait_until_open(60)
        assert port == gateway.port
        assert 200 == gateway.run("gated_load").status_code
        assert 200 == gateway.get("/v1/ready").status_code
    finally:
        assert 0 == gateway.stop()


def test_port_opens_when_the_rest_has_failed(launch: Launch) -> None:
    """A failed endpoint, or one in backoff, keeps nobody waiting."""
    gateway = launch(
        {"mirror": {}, "no_library": {}, "flaky": {}},
        {"mirror": MIRROR, "no_library": NO_LIBRARY, "flaky": FLAKY},
    )
    assert 200 == gateway.run("mirror").status_code


def test_port_open_at_once_lets_requests_wait_for_their_endpoint(
    launch: Launch, tmp_path: Path
) -> None:
    """With `NO_STARTUP_WAIT` true a request is answered as soon as its endpoint has loaded."""
    gate = Gate(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        with gate.closed():
            gateway = launch(
                {"gated_load": {}, "mirror": {}},
                {"gated_load": GATED_LOAD, "mirror": MIRROR},
                NO_STARTUP_WAIT=True,
            )
            waiting = [pool.submit(gateway.run, "gated_load") for _ in range(3)]
            eventually(lambda: gateway.servers()["gated_load"]["queue"] == 3)
            assert 200 == gateway.run("mirror").status_code
            assert 503 == gateway.get("/v1/ready").status_code
            assert 200 == gateway.get("/v1/live").status_code
        assert [200] * 3 == [future.result().status_code for future in waiting]
    eventually(lambda: gateway.get("/v1/ready").status_code == 200)
