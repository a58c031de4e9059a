"""Everything is replaced under constant load, with a model that loads slowly: 0 lost (G17)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.faults.conftest import ENV, SOURCES
from tests.faults.ledger import Ledger, summary_ms
from tests.faults.vital_signs import events_since
from tests.support.eventually import eventually
from tests.support.projects import write_project

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
Launch = Callable[..., RunningGateway]
Figure = Callable[[str], None]

LOAD_SECONDS = 10
RATE = 100.0
SECTION: dict[str, Any] = {"NR_WORKERS": 2, "LOAD_SECONDS": LOAD_SECONDS, **ENV}


def rewrite(gateway: RunningGateway, old: str, new: str) -> None:
    """Change the endpoint's file."""
    source = SOURCES["versioned"]
    assert old in source
    file = gateway.base_folder / "endpoints" / "versioned.py"
    file.write_text(source.replace(old, new))


def version(gateway: RunningGateway) -> int:
    """Return which version answers."""
    return int(gateway.run("versioned").json()["version"])


def restart(gateway: RunningGateway) -> requests.Response:
    """Ask for a new generation."""
    return gateway.post("/restart_server", {"SIGNATURE": "versioned"}, timeout_s=60)


def reload(gateway: RunningGateway) -> requests.Response:
    """Have the configuration and the endpoint files read again."""
    return gateway.post("/reload", {}, timeout_s=60)


def configure(gateway: RunningGateway, flavour: str, **settings: Any) -> None:
    """Write another configuration for the running gateway."""
    section = {**SECTION, "FLAVOUR": flavour}
    endpoints = {"healthy": {**ENV}, "versioned": section}
    write_project(gateway.base_folder, endpoints, {}, **settings)


def hang_up(gateway: RunningGateway) -> dict[str, Any]:
    """Send SIGHUP and wait for what the log says then."""
    line = len(gateway._lines)
    gateway.process.send_signal(signal.SIGHUP)

    def said() -> list[dict[str, Any]]:
        reloaded = events_since(gateway, line, event="reloaded")
        return reloaded or events_since(gateway, line, event="reload_refused")

    return eventually(said, 40, "the reload is over")[0]


def test_slow_model_is_restarted_and_scaled_under_load(
    launch: Launch, tmp_path: Path, figure: Figure
) -> None:
    """A changed file, a broken one and other numbers of workers: 0 lost."""
    gateway = launch({"versioned": SECTION})
    count = tmp_path / "count"
    fields = {"SIGNATURE": "versioned", "COUNT": str(count)}
    with Ledger(gateway.port, RATE, fields, 60) as load:
        rewrite(gateway, "VERSION = 1", "VERSION = 2")
        answer = restart(gateway)
        assert (200, "READY") == (answer.status_code, answer.json()["STATE"])
        assert 2 == version(gateway)
        rewrite(gateway, "VERSION = 1", "VERSION = 1 / 0")
        assert 503 == restart(gateway).status_code
        assert "ZeroDivisionError" in gateway.servers()["versioned"]["last_error"]
        assert 2 == version(gateway)
        rewrite(gateway, "VERSION = 1", "VERSION = 2")
        for workers in (3, 1, 2):
            order = {"SIGNATURE": "versioned", "NR_WORKERS": workers}
            answer = gateway.post("/update_workers", order, timeout_s=60)
            assert (200, workers) == (answer.status_code, answer.json()["WORKERS"])
        load.stop()
    load.check(count)
    figure(f"{load.sent} sent, {dict(load.outcomes)}, {summary_ms(load.seconds_of())}")
    assert {"200"} == set(load.outcomes), load.failures()[:3]


def test_slow_model_is_reloaded_under_load(launch: Launch, tmp_path: Path, figure: Figure) -> None:
    """A changed section and setting, a changed file, a wrong configuration: 0 lost (C9)."""
    gateway = launch({"versioned": SECTION})
    count = tmp_path / "count"
    fields = {"SIGNATURE": "versioned", "COUNT": str(count)}
    with Ledger(gateway.port, RATE, fields, 60) as load:
        configure(gateway, "sweet", MAX_BODY_BYTES=4096)
        done = hang_up(gateway)
        assert (["versioned"], ["MAX_BODY_BYTES"]) == (done["replaced"], done["settings"])
        assert "sweet" == gateway.run("versioned").json()["flavour"]
        too_large = gateway.run("versioned", X="x" * 5000)
        assert 413 == too_large.status_code
        configure(gateway, "sour", MAX_BODY_BYTES=1, GATEWAY_WORKERS=99)
        done = hang_up(gateway)
        assert ("reload_refused", 2) == (done["event"], len(done["problems"]))
        assert "sweet" == gateway.run("versioned").json()["flavour"]
        configure(gateway, "sweet", MAX_BODY_BYTES=4096, RELOAD_ON_CHANGE=True)
        rewrite(gateway, "VERSION = 1", "VERSION = 5")
        assert ["versioned"] == reload(gateway).json()["REPLACED"]
        assert 5 == version(gateway)
        rewrite(gateway, "VERSION = 1", "VERSION = 6")
        eventually(lambda: version(gateway) == 6, 20, "the changed file is loaded by itself")
        load.stop()
    load.check(count)
    figure(f"{load.sent} sent, {dict(load.outcomes)}, {summary_ms(load.seconds_of())}")
    assert {"200"} == set(load.outcomes), load.failures()[:3]
