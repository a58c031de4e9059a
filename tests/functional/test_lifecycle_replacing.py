"""Replacing, scaling and recycling while requests run: nothing is lost (G17)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, tree
from tests.support.steady_client import SteadyClient

Launch = Callable[..., RunningGateway]

VERSIONED = """
import os
import threading

from basic_inference_server import FlaskWorker


class VersionedWorker(FlaskWorker):
    def _load_model(self):
        threading.Event().wait(0.3)
        self.kept = []

    def _predict(self, inputs):
        self.kept.append(bytearray(inputs.get("KEEP_BYTES", 0)))
        return {"version": VERSION, "pid": os.getpid(), "env": os.environ.get("MODE")}
"""
BODY: dict[str, object] = {"SIGNATURE": "versioned"}


def version(number: int) -> str:
    """Return the endpoint's source as its n-th version."""
    return VERSIONED.replace("VERSION", str(number))


def rewrite(gateway: RunningGateway, source: str) -> None:
    """Replace the endpoint's file."""
    (gateway.base_folder / "endpoints" / "versioned.py").write_text(source)


def test_restart_under_load_loses_nothing(launch: Launch) -> None:
    """`/restart_server` brings changed code in without one failed request."""
    gateway = launch({"versioned": {"NR_WORKERS": 2}}, {"versioned": version(1)})
    with SteadyClient(gateway.url + "/run", BODY) as client:
        eventually(lambda: client.sent > 20)
        rewrite(gateway, version(2))
        answer = gateway.post("/restart_server", {"SIGNATURE": "versioned"})
        assert (200, "READY") == (answer.status_code, answer.json()["STATE"])
        sent = client.sent
        eventually(lambda: client.sent > sent + 50)
    assert {"200"} == set(client.outcomes), client.failures
    assert 2 == gateway.run("versioned").json()["version"]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("def broken(:\n", id="syntax error"),
        pytest.param(version(2).replace("threading.Event().wait(0.3)", "1 / 0"), id="load raises"),
        pytest.param(version(2).replace("threading.Event().wait(0.3)", "os._exit(9)"), id="dies"),
    ],
)
def test_new_generation_that_cannot_load_leaves_the_old_one(launch: Launch, broken: str) -> None:
    """When the new generation fails, the old one serves on and the answer says why."""
    gateway = launch({"versioned": {}}, {"versioned": version(1)})
    pid = gateway.run("versioned").json()["pid"]
    rewrite(gateway, broken)
    answer = gateway.post("/restart_server", {"SIGNATURE": "versioned"})
    assert (503, "not_ready") == (answer.status_code, answer.json()["code"])
    assert "the old one goes on serving" in answer.json()["ERROR"]
    after = gateway.run("versioned").json()
    assert (1, pid) == (after["version"], after["pid"])
    server = gateway.servers()["versioned"]
    assert ("READY", True) == (server["state"], bool(server["last_error"]))


def test_failed_replacement_is_not_held_against_a_later_start(launch: Launch) -> None:
    """Once the file is mended and the server started anew, the old failure is forgotten."""
    gateway = launch({"versioned": {}}, {"versioned": version(1)})
    rewrite(gateway, "1 +\n")
    assert 503 == gateway.post("/restart_server", {"SIGNATURE": "versioned"}).status_code
    assert 200 == gateway.post("/kill_server", {"SIGNATURE": "versioned"}).status_code
    rewrite(gateway, version(2))
    answer = gateway.post("/restart_server", {"SIGNATURE": "versioned"})
    assert (200, "READY") == (answer.status_code, answer.json()["STATE"])
    assert gateway.servers()["versioned"]["last_error"] is None


def test_scaling_under_load_loses_nothing(launch: Launch) -> None:
    """`/update_workers` up and down drops no request."""
    gateway = launch({"versioned": {"NR_WORKERS": 1}}, {"versioned": version(1)})
    with SteadyClient(gateway.url + "/run", BODY) as client:
        for count in (4, 1, 3):
            answer = gateway.post(
                "/update_workers", {"SIGNATURE": "versioned", "NR_WORKERS": count}
            )
            assert (200, count) == (answer.status_code, answer.json()["WORKERS"])
            sent = client.sent
            eventually(lambda sent=sent: client.sent > sent + 30)  # type: ignore[misc]
    assert {"200"} == set(client.outcomes), client.failures
    assert not [event for event in gateway.events if event["event"] == "worker_died"]


def test_recycling_by_requests_loses_nothing(launch: Launch) -> None:
    """`MAX_REQUESTS` replaces workers between requests without one failed request."""
    source = version(1).replace("wait(0.3)", "wait(0.1)")
    gateway = launch({"versioned": {"NR_WORKERS": 2, "MAX_REQUESTS": 20}}, {"versioned": source})
    with SteadyClient(gateway.url + "/run", BODY) as client:
        eventually(lambda: client.sent > 200)
    assert {"200"} == set(client.outcomes), client.failures

    def recycled() -> list[str]:
        return [e["reason"] for e in gateway.events if e["event"] == "worker_recycled"]

    eventually(lambda: len(recycled()) >= 4, what="four workers were recycled")
    assert {"max_requests"} == set(recycled())


def test_recycling_by_memory_loses_nothing(launch: Launch) -> None:
    """A worker above `MAX_MEMORY_MB` is replaced after its request."""
    gateway = launch({"versioned": {"MAX_MEMORY_MB": 150}}, {"versioned": version(1)})
    before = gateway.run("versioned").json()["pid"]
    assert 200 == gateway.run("versioned", KEEP_BYTES=200 * 2**20).status_code
    eventually(lambda: gateway.run("versioned").json()["pid"] != before)


def test_env_reaches_the_workers(launch: Launch) -> None:
    """`ENV` of an endpoint's section is its workers' environment, and nobody else's."""
    gateway = launch(
        {
            "versioned": {"ENV": {"MODE": "fast"}},
            "other": {"SERVER_CLASS": "versioned"},
        },
        {"versioned": version(1)},
    )
    assert "fast" == gateway.run("versioned").json()["env"]
    assert gateway.run("other").json()["env"] is None


def test_failed_endpoint_starts_when_its_file_changes(launch: Launch) -> None:
    """A server that is FAILED is tried again as soon as somebody mends the file."""
    fine = version(3).replace("Versioned", "Fine")
    gateway = launch({"versioned": {}, "fine": {}}, {"versioned": "1 +\n", "fine": fine})
    assert "FAILED" == gateway.servers()["versioned"]["state"]
    refused = gateway.run("versioned")
    assert (503, "not_ready") == (refused.status_code, refused.json()["code"])
    assert "syntax error" in refused.json()["ERROR"]
    assert 200 == gateway.run("fine").status_code
    rewrite(gateway, version(1))
    eventually(lambda: gateway.servers()["versioned"]["state"] == "READY")
    assert 1 == gateway.run("versioned").json()["version"]


def test_crash_loop_backs_off_and_leaves_others_alone(launch: Launch, tmp_path: Path) -> None:
    """An endpoint that dies while it loads is retried with growing waits; 503 says when."""
    starts = tmp_path / "starts"
    dying = version(1).replace(
        "threading.Event().wait(0.3)",
        f"open({str(starts)!r}, 'a').write('x'); os._exit(5)",
    )
    gateway = launch(
        {"versioned": {}, "fine": {}},
        {"versioned": dying, "fine": version(3).replace("Versioned", "Fine")},
    )
    eventually(lambda: len(starts.read_text()) >= 3)
    eventually(lambda: gateway.servers()["versioned"]["state"] == "BACKOFF")
    refused = gateway.run("versioned")
    body = refused.json()
    assert (503, "not_ready", "BACKOFF") == (refused.status_code, body["code"], body["state"])
    assert int(refused.headers["Retry-After"]) >= 1
    assert "exit code 5" in body["ERROR"]
    assert len(starts.read_text()) <= 5
    assert 200 == gateway.run("fine").status_code
    failures = [e["failures"] for e in gateway.events if e.get("state") == "BACKOFF"]
    assert sorted(failures) == failures


def test_nothing_is_left_after_a_stop(launch: Launch) -> None:
    """SIGTERM ends every process and exits 0."""
    gateway = launch({"versioned": {"NR_WORKERS": 3}}, {"versioned": version(1)})
    processes = tree(gateway)
    assert 0 == gateway.stop()
    expect_gone(processes)
