"""Unit tests of endpoints/support_process.py: its decisions, with invented gateway and time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.support_process import (
    FAILURES_BEFORE_RESTART,
    SECONDS_BETWEEN_RESTARTS,
    Ping,
    PingHistory,
    Reply,
    ServerMonitor,
    collect_system_metrics,
    decide_restarts,
    judge_ping,
    main,
    metrics_message,
    next_histories,
    parse_arguments,
    ping_interval_of,
    servers_of,
    servers_to_ping,
)

OK = Reply(200, b"{}")
NOT_READY = Reply(503, b'{"ERROR": "no worker is ready"}')
READY = {"state": "READY", "healthy": True, "host": "127.0.0.1"}


class ListLog:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def P(self, text: Any, color: str | None = None) -> None:
        self.lines.append(str(text))


class InventedGateway:
    """Lists `servers`; answers a path with what `answers` holds for it, or 200."""

    def __init__(self, servers: Mapping[str, Any]) -> None:
        self.servers = servers
        self.answers: dict[str, Reply | Exception] = {}
        self.posts: list[tuple[str, Mapping[str, Any]]] = []

    def call(self, path: str, content: Mapping[str, Any] | None = None) -> Reply:
        if content is not None:
            self.posts.append((path, content))
        listed = Reply(200, json.dumps({"AVAIL_SERVERS": [], "SERVERS": self.servers}).encode())
        answer = self.answers.get(path, listed if path == "/list_servers" else OK)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def restarts(self) -> list[Mapping[str, Any]]:
        return [content for path, content in self.posts if path == "/restart_server"]

    def reports(self) -> list[Mapping[str, Any]]:
        return [content for path, content in self.posts if path == "/support_update_status"]


class CountedRounds(threading.Event):
    """A stop event whose `wait` takes no time and says stop after some rounds."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return len(self.waits) > self.rounds


def monitor_of(gateway: InventedGateway, log: ListLog | None = None) -> ServerMonitor:
    return ServerMonitor(
        name="support_process",
        log=log or ListLog(),
        gateway=gateway,
        status_path="/support_update_status",
        interval_s=10.0,
    )


def run_rounds(monitor: ServerMonitor, *times_s: float) -> None:
    for now_s in times_s:
        monitor.run_round(now_s, threading.Event())


def ready_path(name: str) -> str:
    return f"/v1/ready?signature={name}"


@pytest.mark.parametrize(
    ("server", "is_pinged"),
    [
        pytest.param({"state": "READY", "host": "127.0.0.1"}, True, id="ready"),
        pytest.param({"state": "DEGRADED"}, True, id="degraded"),
        pytest.param({"state": "LOADING"}, False, id="loading"),
        pytest.param({"state": "BACKOFF"}, False, id="in backoff"),
        pytest.param({"state": "READY", "host": "NO_HOST"}, False, id="support process"),
        pytest.param({"state": "READY", "host": None}, False, id="no address"),
        pytest.param({}, False, id="no state"),
        pytest.param("READY", False, id="not an object"),
    ],
)
def test_servers_to_ping_takes_those_that_serve(server: Any, is_pinged: bool) -> None:
    """Only servers that say READY or DEGRADED and have an address are pinged."""
    assert (["demo"] if is_pinged else []) == servers_to_ping({"demo": server}, "support_process")


def test_servers_to_ping_leaves_out_itself() -> None:
    """The support process does not ping itself, however it is listed."""
    assert [] == servers_to_ping({"support_process": READY}, "support_process")


@pytest.mark.parametrize(
    ("server", "reply", "expected"),
    [
        pytest.param(READY, OK, Ping(True), id="answers"),
        pytest.param({"state": "READY"}, OK, Ping(True), id="health not told"),
        pytest.param(READY, NOT_READY, Ping(False, "HTTP 503: no worker is ready"), id="not ready"),
        pytest.param(READY, Reply(500, b"oops"), Ping(False, "HTTP 500"), id="not JSON"),
        pytest.param(READY, Reply(500, b"[1]"), Ping(False, "HTTP 500"), id="not an object"),
        pytest.param(
            {"state": "READY", "healthy": False},
            OK,
            Ping(False, "its scoreboard says it is not healthy"),
            id="unhealthy on the scoreboard",
        ),
        pytest.param(
            READY,
            Reply(503, b'{"ready": false, "not_ready": {"demo": "BACKOFF"}}'),
            Ping(False, "HTTP 503: {'demo': 'BACKOFF'}"),
            id="the probe says in which state it is",
        ),
        pytest.param(
            READY,
            Reply(503, b'{"ready": false, "not_ready": {}, "shutting_down": true}'),
            Ping(None, "HTTP 503: it is the gateway that is not ready"),
            id="the gateway shuts down",
        ),
        pytest.param(
            READY, Reply(401, b""), Ping(None, "HTTP 401: not allowed to ask"), id="no token"
        ),
    ],
)
def test_judge_ping_reads_answer_and_health(
    server: dict[str, Any], reply: Reply, expected: Ping
) -> None:
    """A ping is good when the answer is 200 and the scoreboard does not say otherwise."""
    assert expected == judge_ping("demo", server, reply)


@pytest.mark.parametrize(
    ("ping", "text"),
    [
        pytest.param(Ping(True), "ok", id="ok"),
        pytest.param(Ping(False, "HTTP 503"), "failed: HTTP 503", id="failed"),
        pytest.param(Ping(None, "timed out"), "unknown: timed out", id="unknown"),
    ],
)
def test_ping_reads_as_text(ping: Ping, text: str) -> None:
    """A ping is reported as one word and the reason."""
    assert text == str(ping)


@pytest.mark.parametrize(
    ("ping", "failures"),
    [
        pytest.param(Ping(False, "HTTP 503"), 3, id="failure counts"),
        pytest.param(Ping(True), 0, id="success ends the row"),
        pytest.param(Ping(None, "timed out"), 2, id="silence changes nothing"),
        pytest.param(None, 0, id="not serving ends the row"),
    ],
)
def test_next_histories_counts_failures_in_a_row(ping: Ping | None, failures: int) -> None:
    """Failures count while they follow one another; when a restart was asked stays known."""
    pings = {} if ping is None else {"demo": ping}
    before = {"demo": PingHistory(failures=2, asked_at_s=5.0)}
    assert {"demo": PingHistory(failures, 5.0)} == next_histories(before, ["demo"], pings)


def test_next_histories_forgets_servers_that_are_gone() -> None:
    """A server that is not listed any more leaves nothing behind."""
    assert {} == next_histories({"gone": PingHistory(failures=2)}, [], {})


@pytest.mark.parametrize(
    ("history", "ping", "is_asked"),
    [
        pytest.param(PingHistory(3), Ping(False), True, id="third failure"),
        pytest.param(PingHistory(2), Ping(False), False, id="second failure"),
        pytest.param(PingHistory(3, 41.0), Ping(False), False, id="asked 59 s ago"),
        pytest.param(PingHistory(3, 40.0), Ping(False), True, id="asked 60 s ago"),
        pytest.param(PingHistory(3), Ping(None), False, id="silence now"),
    ],
)
def test_decide_restarts_needs_failures_and_patience(
    history: PingHistory, ping: Ping, is_asked: bool
) -> None:
    """A restart is asked for after three failures in a row, once in 60 s."""
    expected = ["demo"] if is_asked else []
    assert expected == decide_restarts({"demo": history}, {"demo": ping}, 100.0)


@given(
    st.lists(st.sampled_from([OK, NOT_READY, OSError("refused")]), max_size=40),
    st.sampled_from([1.0, 10.0, 45.0]),
)
def test_restarts_are_rare_and_earned_whatever_happens(
    answers: list[Reply | Exception], interval_s: float
) -> None:
    """Two requests for a restart are 60 s apart, and three failed pings precede each of them."""
    gateway = InventedGateway({"demo": READY})
    monitor = monitor_of(gateway)
    asked_at: list[float] = []
    failures_at: list[float] = []
    for number, answer in enumerate(answers):
        gateway.answers[ready_path("demo")] = answer
        now_s = number * interval_s
        if answer == NOT_READY:
            failures_at.append(now_s)
        already_asked = len(gateway.restarts())
        run_rounds(monitor, now_s)
        if len(gateway.restarts()) > already_asked:
            asked_at.append(now_s)
    starts = [-SECONDS_BETWEEN_RESTARTS, *asked_at]
    for earlier, later in zip(starts, asked_at, strict=False):
        assert SECONDS_BETWEEN_RESTARTS <= later - earlier
        between = [at for at in failures_at if earlier < at <= later]
        assert FAILURES_BEFORE_RESTART <= len(between)


def test_round_asks_for_a_restart_after_three_failed_pings() -> None:
    """The third failed ping in a row brings one request, with the reason in the log."""
    gateway = InventedGateway({"demo": READY, "other": READY})
    gateway.answers[ready_path("demo")] = NOT_READY
    log = ListLog()
    run_rounds(monitor_of(gateway, log), 0.0, 10.0, 20.0, 30.0)
    assert [{"SIGNATURE": "demo"}] == gateway.restarts()
    reason = "demo: 3 pings in a row failed: HTTP 503: no worker is ready"
    assert 1 == sum(reason in line for line in log.lines)


def test_round_asks_for_a_restart_of_an_unhealthy_server() -> None:
    """A server that answers but is not healthy on three pings in a row is restarted as well."""
    gateway = InventedGateway({"demo": {**READY, "healthy": False}})
    run_rounds(monitor_of(gateway), 0.0, 10.0, 20.0)
    assert [{"SIGNATURE": "demo"}] == gateway.restarts()


def test_round_reports_metrics_pings_and_restarts() -> None:
    """The report has the seeds' metrics, what each ping said and which restarts were asked."""
    gateway = InventedGateway({"demo": READY, "other": READY})
    gateway.answers[ready_path("demo")] = NOT_READY
    run_rounds(monitor_of(gateway), 0.0, 10.0, 20.0)
    report = gateway.reports()[-1]
    assert {
        "SIGNATURE",
        "msg",
        "total_memory",
        "available_memory",
        "system_used_memory",
        "app_used_memory",
        "total_disk",
        "available_disk",
        "pings",
        "restarts_asked",
    } == set(report)
    assert "support_process" == report["SIGNATURE"]
    assert {"demo": "failed: HTTP 503: no worker is ready", "other": "ok"} == report["pings"]
    assert ["demo"] == report["restarts_asked"]


def test_round_quotes_names_in_the_ping() -> None:
    """A name cannot add parameters to the ping's address."""
    gateway = InventedGateway({"a&b": READY})
    gateway.answers[ready_path("a%26b")] = NOT_READY
    run_rounds(monitor_of(gateway), 0.0)
    assert "failed: HTTP 503: no worker is ready" == gateway.reports()[0]["pings"]["a&b"]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(ConnectionRefusedError("refused"), id="refused"),
        pytest.param(TimeoutError("timed out"), id="too slow"),
        pytest.param(HTTPException("garbage"), id="not HTTP"),
        pytest.param(Reply(401, b'{"ERROR": "a token is needed"}'), id="not allowed"),
        pytest.param(Reply(200, b"<html>"), id="not JSON"),
        pytest.param(Reply(200, b'{"SERVERS": []}'), id="servers not an object"),
        pytest.param(Reply(200, b"[]"), id="not an object"),
    ],
)
def test_round_without_a_list_blames_no_server(failure: Reply | Exception) -> None:
    """When the gateway does not list its servers nothing is counted, asked or forgotten."""
    gateway = InventedGateway({"demo": READY})
    gateway.answers[ready_path("demo")] = NOT_READY
    log = ListLog()
    monitor = monitor_of(gateway, log)
    run_rounds(monitor, 0.0, 10.0)
    gateway.answers["/list_servers"] = failure
    run_rounds(monitor, 20.0)
    assert [] == gateway.restarts()
    assert {} == gateway.reports()[-1]["pings"]
    assert any("/list_servers failed" in line for line in log.lines)
    del gateway.answers["/list_servers"]
    run_rounds(monitor, 30.0)
    assert [{"SIGNATURE": "demo"}] == gateway.restarts()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        pytest.param(OSError("refused"), "asking to restart server demo failed", id="refused"),
        pytest.param(
            Reply(403, b'{"ERROR": "wrong scope"}'), "HTTP 403: wrong scope", id="forbidden"
        ),
        pytest.param(TimeoutError(), "not waiting for its end", id="takes long"),
    ],
)
def test_round_goes_on_when_a_restart_is_not_granted(answer: Reply | Exception, line: str) -> None:
    """What came of a request for a restart is logged, and the report is still sent."""
    gateway = InventedGateway({"demo": READY})
    gateway.answers[ready_path("demo")] = NOT_READY
    gateway.answers["/restart_server"] = answer
    log = ListLog()
    run_rounds(monitor_of(gateway, log), 0.0, 10.0, 20.0)
    assert any(line in logged for logged in log.lines)
    assert ["demo"] == gateway.reports()[-1]["restarts_asked"]


def test_round_restarts_nothing_once_told_to_stop() -> None:
    """While the gateway stops its servers their failing pings bring no restart."""
    gateway = InventedGateway({"demo": READY})
    gateway.answers[ready_path("demo")] = NOT_READY
    monitor = monitor_of(gateway)
    run_rounds(monitor, 0.0, 10.0)
    stop = threading.Event()
    stop.set()
    monitor.run_round(20.0, stop)
    assert [] == gateway.restarts()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OSError("refused"), id="refused"),
        pytest.param(Reply(500, b""), id="error answer"),
    ],
)
def test_round_logs_a_report_that_does_not_arrive(failure: Reply | Exception) -> None:
    """A report that the gateway does not take is logged."""
    gateway = InventedGateway({})
    gateway.answers["/support_update_status"] = failure
    log = ListLog()
    run_rounds(monitor_of(gateway, log), 0.0)
    assert any("report to /support_update_status failed" in line for line in log.lines)


def test_run_waits_the_interval_before_each_round() -> None:
    """Rounds are an interval apart, and the loop ends when it is told to stop."""
    gateway = InventedGateway({})
    stop = CountedRounds(2)
    monitor_of(gateway).run(stop)
    assert [10.0, 10.0, 10.0] == stop.waits
    assert 2 == len(gateway.reports())


def test_run_outlives_an_unexpected_exception() -> None:
    """Whatever goes wrong in a round is logged with its traceback, and the next round comes."""
    gateway = InventedGateway({})
    gateway.answers["/list_servers"] = RuntimeError("unheard of")
    log = ListLog()
    stop = CountedRounds(2)
    monitor_of(gateway, log).run(stop)
    assert 3 == len(stop.waits)
    assert 2 == sum("RuntimeError: unheard of" in line for line in log.lines)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"PING_INTERVAL": 2}, 2.0, id="integer"),
        pytest.param({"PING_INTERVAL": 0.5}, 0.5, id="fraction"),
        pytest.param({}, 10.0, id="absent"),
        pytest.param({"PING_INTERVAL": 0}, 10.0, id="zero"),
        pytest.param({"PING_INTERVAL": True}, 10.0, id="true"),
        pytest.param({"PING_INTERVAL": "5"}, 10.0, id="text"),
    ],
)
def test_ping_interval_falls_back_to_the_default(config: dict[str, Any], expected: float) -> None:
    """An interval that makes no sense becomes 10 s."""
    assert expected == ping_interval_of(config)


def test_parse_arguments_returns_the_object() -> None:
    """The configuration is the JSON object of --config_endpoint."""
    config = {"SERVER": "127.0.0.1", "SERVER_PORT": 5002, "SERVER_PATH": "/status"}
    assert config == parse_arguments(["--config_endpoint", json.dumps(config)])


@pytest.mark.parametrize("use", [parse_arguments, main])
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("{", "is not JSON", id="not JSON"),
        pytest.param("[]", "is not a JSON object", id="not an object"),
        pytest.param('{"SERVER": "x"}', "lacks SERVER_PORT, SERVER_PATH", id="no address"),
    ],
)
def test_wrong_arguments_end_the_program(
    use: Callable[[list[str]], Any], text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a usable configuration the program ends with 2 and says why."""
    with pytest.raises(SystemExit) as caught:
        use(["--config_endpoint", text])
    assert 2 == caught.value.code
    assert complaint in capsys.readouterr().err


def test_servers_of_returns_the_listing() -> None:
    """The listing is the object SERVERS of the answer."""
    assert {"demo": READY} == servers_of(
        Reply(200, json.dumps({"SERVERS": {"demo": READY}}).encode())
    )


def test_metrics_are_gigabytes_of_this_machine() -> None:
    """Parts are not larger than their whole, and the line for people shows one decimal."""
    metrics = collect_system_metrics()
    assert 0 < metrics["available_memory"] <= metrics["total_memory"]
    assert 0 < metrics["app_used_memory"] < metrics["total_memory"]
    assert 0 <= metrics["available_disk"] <= metrics["total_disk"]
    assert f"Total Mem: {metrics['total_memory']:.1f}GB" in metrics_message(metrics)
