"""`WARMUP`: inputs that each worker runs before it takes its first request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import do, executed
from tests.faults.conftest import SOURCES
from tests.functional.answers import check_error
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

SERVER_CLASS = {"SERVER_CLASS": "misbehaving"}


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Endpoints whose inputs succeed, fail, kill their worker, and hang."""
    folder = tmp_path_factory.mktemp("warm")
    count = str(folder / "count")
    first, second = ({"DO": "answer", "ID": name, "COUNT": count} for name in ("a", "b"))
    endpoints: dict[str, dict[str, Any]] = {
        "healthy": {},
        "warm": {**SERVER_CLASS, "NR_WORKERS": 2, "WARMUP": [first, second]},
        "fails": {**SERVER_CLASS, "WARMUP": [first, {"DO": "raise", "TEXT": "not warm"}]},
        "dies": {**SERVER_CLASS, "WARMUP": [{"DO": "exit_now", "CODE": 9}]},
        "hangs": {**SERVER_CLASS, "LOAD_TIMEOUT": 0.5, "WARMUP": [{"DO": "spin"}]},
        "unwritable": {**SERVER_CLASS, "WARMUP": [{"DO": "reply", "KIND": "lock"}]},
    }
    with shared_gateway(folder, endpoints, SOURCES, NO_STARTUP_WAIT=True) as running:
        yield running


def test_inputs_run_before_the_first_request(warmed: RunningGateway) -> None:
    """Every worker has run them all, in their order, and counts its calls from the first one."""
    eventually(lambda: warmed.servers()["warm"]["state"] == "READY")
    ran = [name for name in executed(warmed.base_folder / "count") if name in "ab"]
    assert ran.count("a") >= ran.count("b") >= 2
    assert "a" == ran[0]
    assert 1 == do(warmed, "warm", "answer").json()["call_id"]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        pytest.param("fails", "WARMUP[1] failed: ", id="raises"),
        pytest.param("dies", "a worker died while loading: exit code 9", id="dies"),
        pytest.param("hangs", "LOAD_TIMEOUT (0.5 s)", id="hangs"),
        pytest.param("unwritable", "WARMUP[0] failed: ", id="cannot be written"),
    ],
)
def test_input_that_fails_is_a_load_failure(
    warmed: RunningGateway, server: str, reason: str
) -> None:
    """The endpoint takes no request, and says which input it was."""
    eventually(lambda: warmed.servers()[server]["state"] in {"BACKOFF", "FAILED"})
    now = warmed.servers()[server]
    assert (0, True) == (now["ready_workers"], reason in now["last_error"])
    assert reason in check_error("not_ready", do(warmed, server, "answer"))["ERROR"]
    assert 200 == do(warmed, "healthy", "answer").status_code


def test_worker_that_comes_back_is_warm_again(warmed: RunningGateway, tmp_path: Path) -> None:
    """A replacement runs them before it serves, too."""
    eventually(lambda: warmed.servers()["warm"]["state"] == "READY")
    count = warmed.base_folder / "count"
    before = executed(count).count("b")
    check_error("worker_died", do(warmed, "warm", "exit_now", CODE=3))
    eventually(lambda: executed(count).count("b") == before + 1)
