"""Workers leave in time, whatever their endpoint's code keeps open, takes over or forks (G9)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import shared_gateway
from tests.functional.leaving_sources import FILES, KINDS
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, is_running

pytestmark = pytest.mark.shares_gateway
# What is allowed is a second and the load time; what it was before is 10 s, or `TIMEOUT`.
SOON_S = 5.0
KEEPS = ("timer", "child", "at_exit", "interpreter", "fails")


def sections(case: str, **keys: Any) -> dict[str, dict[str, Any]]:
    """Return a section of each kind for one case."""
    return {
        f"{kind}-{case}": {"SERVER_CLASS": kind, "TIMEOUT": 20, **section, **keys}
        for kind, section in KINDS.items()
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    endpoints = {
        **sections("recycled", MAX_REQUESTS=1),
        **sections("finishing", MAX_REQUESTS=1),
        **sections("deaf"),
        "broken": {},
        "shared": {},
        **sections("forks"),
        "batch-forks": {"SERVER_CLASS": "batch", "BATCH_SIZE": 4},
    }
    with shared_gateway(tmp_path_factory.mktemp("leaving"), endpoints, FILES) as gateway:
        yield gateway


def processes_of(gateway: RunningGateway, name: str) -> list[psutil.Process]:
    """Return a server's workers, and what they have started."""
    return psutil.Process(gateway.servers()[name]["pid"]).children(recursive=True)


def of_every_kind(case: Callable[[str], None]) -> None:
    """Try a case with every kind of worker at the same time."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        for done in [pool.submit(case, kind) for kind in KINDS]:
            done.result()


def test_worker_that_cannot_exit_is_replaced_at_once(gateway: RunningGateway) -> None:
    """A thread, a child, an exit handler, held interpreter, no descriptors: the next is served."""
    of_every_kind(lambda kind: recycle_again_and_again(gateway, kind))

    def kept_by() -> set[str]:
        forced = [e["kept_by"] for e in gateway.events if e["event"] == "worker_end_forced"]
        return {what.split()[0] for what in forced}

    eventually(lambda: {"what", "thread"} == kept_by(), what="both are said to have kept one")


def recycle_again_and_again(gateway: RunningGateway, kind: str) -> None:
    """Have each next worker kept by something else."""
    name = f"{kind}-recycled"
    for deed in [*KEEPS, *(["to_thread"] if kind == "tasks" else [])]:
        first = gateway.run(name, DO=deed)
        assert (502 if deed == "fails" else 200) == first.status_code
        answer = gateway.run(name, DO="pid")
        assert (200, True) == (answer.status_code, answer.elapsed.total_seconds() < SOON_S)
    eventually(lambda: 1 == len(processes_of(gateway, name)), SOON_S, "nothing else is left")
    eventually(lambda: "READY" == gateway.servers()[name]["state"])
    server = gateway.servers()[name]
    assert (1, []) == (server["ready_workers"], server["leaving_pids"])


@pytest.mark.parametrize("kind", [kind for kind, section in KINDS.items() if section])
def test_replacement_serves_while_the_old_worker_finishes(
    gateway: RunningGateway, kind: str
) -> None:
    """Who takes no more is leaving: not ready, and replaced at once under the same number."""
    name = f"{kind}-finishing"
    folder = gateway.base_folder
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(gateway.run, name, DO="hold", ID=f"{kind}-begun", UNTIL=f"{kind}-now")
        eventually((folder / f"{kind}-begun").exists)
        first = gateway.run(name, DO="pid").json()["pid"]

        def next_worker() -> dict[str, Any]:
            answer = gateway.run(name, DO="pid")  # one more may find the first before it notices
            assert (200, True) == (answer.status_code, answer.elapsed.total_seconds() < SOON_S)
            body: dict[str, Any] = answer.json()
            return body if body["pid"] != first else {}

        assert 0 == eventually(next_worker)["worker_id"]
        eventually(lambda: gateway.servers()[name]["ready_workers"] == 1)
        assert first in gateway.servers()[name]["leaving_pids"]
        (folder / f"{kind}-now").touch()
        assert first == held.result().json()["pid"]
    assert [] == [e for e in gateway.events if e["event"] == "worker_died" and e["server"] == name]


def worker_of(gateway: RunningGateway, name: str) -> psutil.Process:
    """Return the process that answers, once it is the only one."""
    eventually(lambda: not gateway.servers()[name]["leaving_pids"])
    return psutil.Process(gateway.run(name, DO="pid").json()["pid"])


@pytest.mark.parametrize(
    ("kind", "deed"),
    [("alone", "ignores"), ("threads", "pid"), ("tasks", "takes"), ("tasks", "gives_back")],
)
def test_worker_leaves_without_its_signal(gateway: RunningGateway, kind: str, deed: str) -> None:
    """Handler or wake-up descriptor taken: it hears that it is replaced, and finishes first."""
    name, folder = f"{kind}-deaf", gateway.base_folder
    begun, now = f"{name}-{deed}-begun", f"{name}-{deed}-now"
    assert 200 == gateway.run(name, DO=deed).status_code
    worker = worker_of(gateway, name)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(gateway.run, name, DO="hold", ID=begun, UNTIL=now)
        eventually((folder / begun).exists)
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": name}).status_code
        assert is_running(worker)
        (folder / now).touch()
        assert (200, worker.pid) == (held.result().status_code, held.result().json()["pid"])
    expect_gone([worker], SOON_S)


@pytest.mark.parametrize(("kind", "deed"), [("alone", "ignores"), ("tasks", "takes")])
def test_worker_leaves_when_its_master_is_killed(
    gateway: RunningGateway, kind: str, deed: str
) -> None:
    """Nobody is left who could ask it."""
    name = f"{kind}-deaf"
    assert 200 == gateway.run(name, DO=deed).status_code
    worker = worker_of(gateway, name)
    os.kill(gateway.servers()[name]["pid"], signal.SIGKILL)
    expect_gone([worker], SOON_S)
    assert 200 == gateway.run(name, DO="pid").status_code


@pytest.mark.parametrize("name", ["broken", "shared"])
def test_what_cannot_load_leaves_without_its_signal(gateway: RunningGateway, name: str) -> None:
    """What it has imported before it failed may have taken the handler; the master's, too."""
    server = gateway.servers()[name]
    assert ("FAILED", True) == (server["state"], "no such model" in server["last_error"])
    pid = int((gateway.base_folder / f"{name}-pid").read_text())
    expect_gone([psutil.Process(pid)] if psutil.pid_exists(pid) else [], SOON_S)


def output_of(gateway: RunningGateway) -> list[tuple[str, str]]:
    """Return what endpoints have printed, each with who did."""
    return [(e["server"], e["message"]) for e in gateway.events if e["event"] == "output"]


FORKS = {
    "terminates": -signal.SIGTERM,
    "runs": -signal.SIGTERM,
    "pools": [1, 2, 3],
    "spawns": [4],
    "executes": 5,
    "comes_back": 1,
    "raises": 1,
    "exits": 3,
    "talks": 0,
}


@pytest.mark.parametrize("kind", [*KINDS, "batch"])
def test_children_that_are_forked_are_no_workers(gateway: RunningGateway, kind: str) -> None:
    """They die of their signals, end where they come back, and touch nothing of the worker's."""
    name = f"{kind}-forks"
    worker = worker_of(gateway, name)
    eventually(lambda: gateway.servers()[name]["busy_workers"] == 0)
    executed = gateway.servers()[name]["executed"]
    deeds = {**FORKS, **({"awaits": 1} if kind == "tasks" else {})}
    for deed, expected in deeds.items():
        answer = gateway.run(name, DO=deed)
        assert (200, expected) == (answer.status_code, answer.json()["did"]), deed
        assert answer.elapsed.total_seconds() < SOON_S
        assert worker.pid == answer.json()["pid"]
    assert worker.pid == worker_of(gateway, name).pid
    # A worker counts when it has answered.
    eventually(lambda: gateway.servers()[name]["executed"] == executed + len(deeds) + 1)
    notes = gateway.get("/notifications").text
    assert "from the child" not in notes
    eventually(lambda: (name, "from the child") in output_of(gateway))


@pytest.mark.parametrize("kind", ["alone", "tasks"])
@pytest.mark.parametrize("deed", ["yields", "ends_its_stream"])
def test_child_of_a_generator_sends_nothing(gateway: RunningGateway, kind: str, deed: str) -> None:
    """Neither its item nor the end of the stream."""
    items = list(gateway.stream(f"{kind}-forks", DO=deed))
    assert ["first", 1] == items


def test_children_do_not_keep_a_server_from_being_replaced(gateway: RunningGateway) -> None:
    """A pool that nobody has closed and a child that is not joined end with their worker."""
    of_every_kind(lambda kind: replace_with_children(gateway, kind))


def replace_with_children(gateway: RunningGateway, kind: str) -> None:
    """Replace a server whose worker has children."""
    name = f"{kind}-forks"
    worker = worker_of(gateway, name)
    children = [psutil.Process(pid) for pid in gateway.run(name, DO="leaves_a_pool").json()["did"]]
    assert 2 == len(children)
    assert 200 == gateway.post("/restart_server", {"SIGNATURE": name}).status_code
    expect_gone([worker, *children], SOON_S)
