"""Several requests at a time in one worker, and one of them or the worker itself ends badly."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.concurrent_endpoints import FILES, KINDS, sections
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

Launch = Callable[..., RunningGateway]
pytestmark = pytest.mark.shares_gateway


class Bench:
    """One gateway with an endpoint of one kind, and callers that do not wait for each other."""

    def __init__(self, gateway: RunningGateway, name: str, pool: ThreadPoolExecutor) -> None:
        self.gateway = gateway
        self.name = name
        self.pool = pool

    def send(self, do: str, mark: str, **fields: Any) -> Future[requests.Response]:
        return self.pool.submit(self.gateway.run, self.name, DO=do, X=mark, **fields)

    def send_and_wait(self, do: str, mark: str, **fields: Any) -> Future[requests.Response]:
        """Send it and wait until endpoint code has begun with it."""
        before = self.said().count(mark)
        answer = self.send(do, mark, **fields)
        eventually(lambda: self.said().count(mark) > before, what=f"{mark} has begun")
        return answer

    def said(self) -> list[str]:
        path = self.gateway.base_folder / "said"
        return path.read_text().split() if path.exists() else []

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.gateway.servers()[self.name]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        return [
            event
            for event in self.gateway.events
            if event["event"] == name and event.get("server") == self.name
        ]

    def quarantined(self) -> list[dict[str, Any]]:
        found = self.gateway.post("/quarantine", {}).json()["QUARANTINE"]
        return [one for one in found if one["SIGNATURE"] == self.name]

    def touch(self, name: str) -> None:
        (self.gateway.base_folder / name).touch()


CASES: dict[str, dict[str, Any]] = {
    "hung": {"THREADS": 8, "TIMEOUT": 4},
    "endless": {"THREADS": 8, "TIMEOUT": 1},
    "dies": {"THREADS": 8},
    "replaced": {"THREADS": 4},
    "recycled": {"THREADS": 8, "MAX_REQUESTS": 40},
    "signalled": {"THREADS": 4},
    "signalled-alone": {},
}
ENDPOINTS = {
    f"{kind}-{case}": {"SERVER_CLASS": kind, **section}
    for kind in KINDS
    for case, section in CASES.items()
}
AWAITS_WRONGLY = FILES["threaded"].replace("def _load_model", "async def _load_model")
CANNOT_LOAD = FILES["tasks"].replace("self.loop = ", "raise NameError('no such thing')  # ")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    endpoints = {**ENDPOINTS, "awaits_wrongly": {"THREADS": 8}, "cannot_load": {"THREADS": 8}}
    files = {
        **FILES,
        "awaits_wrongly": AWAITS_WRONGLY.replace("ThreadedWorker", "AwaitsWronglyWorker"),
        "cannot_load": CANNOT_LOAD.replace("TasksWorker", "CannotLoadWorker"),
    }
    with shared_gateway(tmp_path_factory.mktemp("faults"), endpoints, files) as gateway:
        yield gateway


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def bench(gateway: RunningGateway, pool: ThreadPoolExecutor, name: str) -> Bench:
    return Bench(gateway, name, pool)


def of_both_kinds(*cases: str) -> pytest.MarkDecorator:
    """Run a test with the endpoints of these cases."""
    return pytest.mark.parametrize("name", [f"{kind}-{case}" for kind in KINDS for case in cases])


@of_both_kinds("hung")
def test_hung_request_costs_the_others_nothing(bench: Bench) -> None:
    """Its worker takes no more, lets the others finish, and is replaced; who waits is served."""
    hung = bench.send_and_wait("hang", f"hung-{bench.name}")
    assert 200 == bench.send("echo", "later", MS=700).result().status_code
    others = [
        bench.send_and_wait("hold", f"other{n}-{bench.name}", UNTIL=f"others-{bench.name}")
        for n in range(3)
    ]
    assert (504, "deadline_exceeded") == (hung.result().status_code, hung.result().json()["code"])
    overdue = eventually(lambda: bench.events("request_overdue"))
    assert 3 == overdue[0]["others_in_flight"]
    accepted = bench.status()["requests"]
    waiting = bench.send("echo", "waiting")
    eventually(lambda: bench.status()["requests"] > accepted)
    assert [] == bench.events("worker_hung")
    bench.touch(f"others-{bench.name}")
    answers = [other.result() for other in others]
    assert [200] * 3 == [answer.status_code for answer in answers]
    assert 200 == waiting.result().status_code
    assert waiting.result().json()["pid"] not in {answer.json()["pid"] for answer in answers}
    died = eventually(lambda: bench.events("worker_died"))
    assert "hang: one request took" in died[0]["cause"]


@of_both_kinds("endless")
def test_others_have_their_own_time_and_no_more(bench: Bench) -> None:
    """A stream that would go on for ever does not keep a hung worker from being replaced."""
    stream = requests.post(
        f"{bench.gateway.url}/run", json={"SIGNATURE": bench.name, "DO": "items", "COUNT": 10**9},
        stream=True, timeout=60,
    )  # fmt: skip
    lines = stream.iter_lines(chunk_size=65536)
    next(lines)
    reading = bench.pool.submit(lambda: sum(1 for _ in lines))
    hung = bench.send_and_wait("hang", f"hung-{bench.name}")
    assert 504 == hung.result().status_code
    eventually(lambda: bench.events("worker_died"))
    assert 200 == bench.send("echo", "next").result().status_code
    assert reading.result() > 0
    assert [] == bench.quarantined()


@of_both_kinds("dies")
def test_dead_worker_is_explained_to_all_and_blames_nobody(bench: Bench) -> None:
    """Nobody can say whose fault it was; of one alone one can."""
    for number in range(3):
        others = [
            bench.send_and_wait("hold", f"other-{bench.name}", UNTIL="never") for _ in range(3)
        ]
        killer = bench.send_and_wait(
            "die", f"killer-{bench.name}", UNTIL=f"now{number}-{bench.name}"
        )
        bench.touch(f"now{number}-{bench.name}")
        answers = [one.result() for one in [*others, killer]]
        assert [(502, "exit code 7")] * 4 == [(a.status_code, a.json()["cause"]) for a in answers]
        eventually(lambda: bench.status()["ready_workers"] == 1)
    assert [] == bench.quarantined()
    deaths = [
        bench.send("die", "lone", UNTIL=f"now0-{bench.name}").result().status_code for _ in range(3)
    ]
    assert [502, 502, 422] == deaths


def test_stop_answers_everything_in_flight(launch: Launch, pool: ThreadPoolExecutor) -> None:
    """SIGTERM: what executes finishes, what waits is executed, exit code 0."""
    gateway = launch(sections(2), FILES)
    answers = []
    for bench in [Bench(gateway, kind, pool) for kind in KINDS]:
        for number in range(2):
            mark = f"{bench.name}{number}"
            answers.append(bench.send_and_wait("hold", mark, UNTIL="now"))
        answers += [bench.send("echo", f"waiting{number}") for number in range(3)]
        eventually(lambda bench=bench: bench.status()["queue"] == 3)  # type: ignore[misc]
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in [event["event"] for event in gateway.events])
    (gateway.base_folder / "now").touch()
    assert [200] * 10 == [answer.result().status_code for answer in answers]
    assert 0 == gateway.process.wait(60)


class Load:
    """Callers that ask all the time; keeps what was not answered with their own value."""

    def __init__(self, bench: Bench, callers: int = 8) -> None:
        self._bench = bench
        self._stop = threading.Event()
        self.wrong: list[Any] = []
        self.pids: set[int] = set()
        self.count = 0
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            mine = f"{caller}.{number}"
            answer = self._bench.gateway.run(self._bench.name, DO="echo", X=mine, MS=number % 7)
            if answer.status_code == 200 and answer.json()["x"] == mine:
                self.pids.add(answer.json()["pid"])
                self.count += 1
            else:
                self.wrong.append((mine, answer.text))


@of_both_kinds("replaced")
def test_replacing_loses_nothing(bench: Bench) -> None:
    """`/restart_server`, `/reload` to another number of threads, `/update_workers`, under load."""
    gateway = bench.gateway
    with Load(bench) as load:
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": bench.name}).status_code
        path = gateway.base_folder / "config_gateway.txt"
        configuration = json.loads(path.read_text())
        configuration["CONFIG_ENDPOINTS"][bench.name]["THREADS"] = 8
        path.write_text(json.dumps(configuration))
        assert 200 == gateway.post("/reload", {}).status_code
        for workers in (2, 1):
            fields = {"SIGNATURE": bench.name, "NR_WORKERS": workers}
            assert 200 == gateway.post("/update_workers", fields).status_code
        done = load.count
        eventually(lambda: load.count > done + 50)
    assert [] == load.wrong
    assert len(load.pids) >= 3


@of_both_kinds("recycled")
def test_recycling_loses_nothing(bench: Bench) -> None:
    """Each worker leaves after `MAX_REQUESTS`, with those that it executes beside answered."""
    with Load(bench) as load:
        eventually(lambda: len(load.pids) >= 4)
    assert [] == load.wrong
    recycled = bench.events("worker_recycled")
    assert {"max_requests"} == {event["reason"] for event in recycled}
    assert [] == bench.events("worker_died")


@of_both_kinds("signalled", "signalled-alone")
def test_signal_that_is_ignored_costs_nothing(bench: Bench) -> None:
    """After the SIGUSR1 of a log rotation an idle worker sleeps, and serves."""
    worker = psutil.Process(bench.status()["worker_pids"][0])
    worker.send_signal(signal.SIGUSR1)
    assert 200 == bench.send("echo", "after").result().status_code
    asleep = {psutil.STATUS_SLEEPING}
    eventually(lambda: {worker.status() for _ in range(100)} == asleep, what="it sleeps")


@of_both_kinds("recycled")
def test_worker_without_descriptors_waits_or_leaves(bench: Bench) -> None:
    """And does not spin; the request waits for it, or for the next one."""
    worker = psutil.Process(bench.status()["worker_pids"][0])
    _, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
    worker.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
    first = bench.send("echo", "first")
    eventually(lambda: bench.events("accept_failed"))
    assert 200 == first.result().status_code
    eventually(lambda: "accept_failed" in [e["reason"] for e in bench.events("worker_recycled")])
    assert bench.status()["worker_pids"] != [worker.pid]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("awaits_wrongly", "_load_model is async and _predict is not"),
        ("cannot_load", "no such thing"),
    ],
)
def test_load_that_fails_says_why(gateway: RunningGateway, name: str, reason: str) -> None:
    """Be it a hook that must not be a coroutine, or a coroutine that raises."""
    server = gateway.servers()[name]
    assert ("FAILED", True) == (server["state"], reason in server["last_error"])
