"""Endpoint code does what it should not: the caller is told, and nobody else notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.calls import do, executed, wait_until_ready
from tests.functional.answers import check_error
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway


def pid_of(gateway: RunningGateway, server: str) -> int:
    """Return the pid of the worker that answers."""
    return int(do(gateway, server, "answer").json()["pid"])


@pytest.mark.parametrize(
    ("deed", "fields", "cause"),
    [
        pytest.param("abort", {}, "signal 6 (SIGABRT)", id="abort"),
        pytest.param("segfault", {}, "signal 11 (SIGSEGV)", id="segfault"),
        pytest.param("exit_now", {"CODE": 7}, "exit code 7", id="os._exit(7)"),
        pytest.param("exit_now", {"CODE": 3}, "exit code 3", id="gunicorn's code 3"),
        pytest.param("recurse_in_c", {}, "signal 11 (SIGSEGV)", id="stack overflow"),
    ],
)
def test_death_is_told_with_its_cause_and_costs_one_execution(
    gateway: RunningGateway, tmp_path: Path, deed: str, fields: dict[str, Any], cause: str
) -> None:
    """The caller gets 502 with the cause, the code ran once, and the server is complete again."""
    count = tmp_path / "count"
    answer = do(gateway, "lone", deed, COUNT=str(count), ID="once", **fields)
    body = check_error("worker_died", answer)
    assert cause in body["cause"]
    assert ["once"] == executed(count)
    wait_until_ready(gateway, "lone")


@pytest.mark.parametrize("deed", ["abort", "segfault"])
def test_stack_of_a_crash_is_in_the_log(gateway: RunningGateway, deed: str) -> None:
    """Which line of the endpoint crashed is found in the log."""
    check_error("worker_died", do(gateway, "lone", deed))
    eventually(lambda: f"in do_{deed}" in gateway.output, what=f"the stack of {deed}")
    wait_until_ready(gateway, "lone")


@pytest.mark.parametrize(
    ("deed", "fields", "shown"),
    [
        pytest.param("recurse", {}, "RecursionError", id="recursion"),
        pytest.param("exit", {"CODE": 4}, "SystemExit: 4", id="sys.exit(4)"),
        pytest.param("raise", {"TEXT": "x" * 10_000}, "RuntimeError: xxx", id="long message"),
        pytest.param("raise_unprintable", {}, "Unprintable", id="message that raises"),
    ],
)
def test_exception_is_the_endpoints_and_the_worker_lives_on(
    gateway: RunningGateway, deed: str, fields: dict[str, Any], shown: str
) -> None:
    """Whatever is raised, and however it shows itself, is `endpoint_error` and no more."""
    before = pid_of(gateway, "lone")
    body = check_error("endpoint_error", do(gateway, "lone", deed, **fields))
    assert shown in body["ERROR"]
    assert 4000 > len(body["ERROR"])
    assert before == pid_of(gateway, "lone")


@pytest.mark.parametrize(
    "kind",
    ["object", "circle", "deep", "iterator", "lock", "exception", "class"],
)
def test_reply_that_is_no_json_is_an_endpoint_error(gateway: RunningGateway, kind: str) -> None:
    """What cannot be written is said; the worker lives on, and nothing of it is on the wire."""
    before = pid_of(gateway, "lone")
    answer = do(gateway, "lone", "reply", KIND=kind, WHOLE=True)
    body = check_error("endpoint_error", answer)
    assert "yes" == body["executed"]
    assert before == pid_of(gateway, "lone")


def test_not_a_number_is_null_on_the_wire(gateway: RunningGateway) -> None:
    """`NaN` and infinities are no JSON and are never written."""
    answer = do(gateway, "lone", "reply", KIND="nan", WHOLE=True)
    assert (200, b"NaN" in answer.content) == (200, False)
    assert {"value": None, "more": [None]}.items() <= answer.json().items()


def test_reply_of_50_mb_arrives_whole(gateway: RunningGateway) -> None:
    """A huge reply is passed on, and its memory given back to nobody else's harm."""
    answer = do(gateway, "lone", "big_reply", MB=50)
    assert (200, 50 * 2**20) == (answer.status_code, len(answer.json()["did"]))


def test_flood_on_standard_output_blocks_nobody(gateway: RunningGateway) -> None:
    """Ten megabytes past Python's own output are taken, and nobody else waits for them."""
    answer = do(gateway, "lone", "flood", BYTES=10_000_000)
    assert (200, 10_000_000) == (answer.status_code, answer.json()["did"])
    assert 200 == do(gateway, "healthy", "answer").status_code


def test_command_of_an_endpoint_can_print_as_much_as_it_likes(gateway: RunningGateway) -> None:
    """Ordinary programs do not expect that their output refuses a write."""
    assert 0 == do(gateway, "lone", "shell", COMMAND="seq 1 600000").json()["did"]


def test_surroundings_that_a_request_changes_do_not_end_the_worker(
    gateway: RunningGateway,
) -> None:
    """Folder, environment, outputs and recursion limit are the endpoint's to spoil."""
    before = pid_of(gateway, "lone")
    assert 200 == do(gateway, "lone", "change_surroundings").status_code
    assert before == pid_of(gateway, "lone")
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "lone"}).status_code


@pytest.mark.parametrize("first", [0, 3], ids=["all", "all but its outputs"])
def test_worker_that_closes_its_descriptors_is_replaced(
    gateway: RunningGateway, first: int
) -> None:
    """Who closes what the worker lives on loses its own request, and a new worker serves."""
    before = pid_of(gateway, "lone")
    check_error("worker_died", do(gateway, "lone", "close_descriptors", FROM=first))
    assert before != pid_of(gateway, "lone")


def test_leaked_threads_and_descriptors_end_with_their_worker(gateway: RunningGateway) -> None:
    """What an endpoint leaks is its worker's, and gone when that is replaced."""
    assert 200 == do(gateway, "lone", "leak_threads", TIMES=50).status_code
    assert 200 == do(gateway, "lone", "leak_descriptors", TIMES=200).status_code
    before = pid_of(gateway, "lone")
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "lone"}).status_code
    eventually(lambda: before != pid_of(gateway, "lone"), what="a new worker answers")


def test_worker_without_descriptors_is_replaced(gateway: RunningGateway) -> None:
    """A worker that can take no connection any more does not leave its endpoint without one."""
    before = pid_of(gateway, "lone")
    assert 200 == do(gateway, "lone", "leak_descriptors", TIMES=0, LIMIT=5).status_code
    try:
        again = do(gateway, "lone", "answer")
        assert (200, True) == (again.status_code, again.json().get("pid") != before)
    finally:
        gateway.post("/restart_server", {"SIGNATURE": "lone"})


def test_worker_that_kills_its_master_costs_nobody_an_answer(gateway: RunningGateway) -> None:
    """The request that did it is answered; a new master takes over."""
    master = gateway.servers()["lone"]["pid"]
    assert 200 == do(gateway, "lone", "kill_master").status_code
    eventually(lambda: gateway.servers()["lone"]["pid"] not in {None, master})
    assert 200 == do(gateway, "lone", "answer").status_code
    wait_until_ready(gateway, "lone")


def test_worker_that_ignores_signals_is_ended_all_the_same(gateway: RunningGateway) -> None:
    """What does not leave when it is asked to is killed when its time is over."""
    before = pid_of(gateway, "lone")
    assert 200 == do(gateway, "lone", "ignore_signals").status_code
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": "lone"}).status_code
    eventually(lambda: before != pid_of(gateway, "lone"), what="a new worker answers")
