"""Support process: pings every server, asks for restarts, reports system metrics.

An ordinary program that the supervisor starts as `python endpoints/support_process.py
--config_endpoint '<JSON>'`. It asks; only the supervisor acts. It talks HTTP through
`http.client` because memory counts: with psutil it takes 18 MB (PSS, alone), 20 MB with
`urllib.request`, 27 MB with `requests`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import psutil

from basic_inference_server import Logger
from basic_inference_server.core.memory import machine_bytes

__VERSION__ = "1.0.0"

PINGED_STATES = frozenset({"READY", "DEGRADED"})
NO_ADDRESS = (None, "NO_HOST")  # the host of a support process
FAILURES_BEFORE_RESTART = 3
SECONDS_BETWEEN_RESTARTS = 60.0
REQUEST_TIMEOUT_S = 3.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
DEFAULT_PING_INTERVAL_S = 10.0
STOP_PATIENCE_S = 0.5
TOKEN_FILE_VARIABLE = "BIS_ADMIN_TOKEN_FILE"  # noqa: S105 - a variable's name, no token
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GIGABYTE = 1024**3


class Ping(NamedTuple):
    """What one ping said: `ok` is None when nobody answered, which blames no server."""

    ok: bool | None
    reason: str = ""

    def __str__(self) -> str:
        if self.ok:
            return "ok"
        return f"{'unknown' if self.ok is None else 'failed'}: {self.reason}"


class PingHistory(NamedTuple):
    """What is remembered of one server between rounds."""

    failures: int = 0
    asked_at_s: float | None = None


class Reply(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes


class Gateway(Protocol):
    """The gateway's HTTP side, as far as this program uses it."""

    def call(self, path: str, content: Mapping[str, Any] | None = None) -> Reply:
        """GET, or POST `content` as JSON; OSError or HTTPException when there is no answer."""


class Log(Protocol):
    """The part of the server's Logger that the monitor needs."""

    def P(self, text: Any, color: str | None = None) -> None:
        """Write one line."""


def servers_of(reply: Reply) -> dict[str, Any]:
    """Return `SERVERS` of the answer to `/list_servers`.

    Raises:
        ValueError: it is an error, or not of the agreed form.
    """
    if reply.status != 200:
        raise ValueError(problem_of(reply))
    servers = content_of(reply).get("SERVERS")
    if isinstance(servers, dict):
        return servers
    raise ValueError("the answer is no JSON with an object SERVERS")


def servers_to_ping(servers: Mapping[str, Any], own_name: str) -> list[str]:
    """Return the servers that say they serve; support processes have nothing to ping."""
    return [
        name
        for name, server in servers.items()
        if name != own_name
        and isinstance(server, Mapping)
        and server.get("state") in PINGED_STATES
        and server.get("host", "") not in NO_ADDRESS
    ]


def judge_ping(name: str, server: Mapping[str, Any], reply: Reply) -> Ping:
    """Return what the readiness answer and the supervisor's own view say of one server."""
    if reply.status in {401, 403}:
        return Ping(None, f"HTTP {reply.status}: not allowed to ask")
    if reply.status != 200:
        not_ready = content_of(reply).get("not_ready")
        if isinstance(not_ready, dict) and name not in not_ready:
            return Ping(None, f"HTTP {reply.status}: it is the gateway that is not ready")
        return Ping(False, problem_of(reply))
    if server.get("healthy") is False:
        return Ping(False, "its scoreboard says it is not healthy")
    return Ping(True)


def content_of(reply: Reply) -> dict[str, Any]:
    """Return the JSON object of an answer; an empty one when it has none."""
    try:
        content = json.loads(reply.body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def problem_of(reply: Reply) -> str:
    """Return the status of an error answer, and what it says when it says something."""
    content = content_of(reply)
    sentence = content.get("ERROR") or content.get("not_ready")
    return f"HTTP {reply.status}: {sentence}" if sentence else f"HTTP {reply.status}"


def next_histories(
    histories: Mapping[str, PingHistory], listed: Iterable[str], pings: Mapping[str, Ping]
) -> dict[str, PingHistory]:
    """Return the histories after a round: failures in a row, for the listed servers only.

    A server that was not pinged is in other hands (starting, stopping, in backoff), so its row
    of failures ends; one whose ping nobody answered keeps its row as it is.
    """
    after = {}
    for name in listed:
        history = histories.get(name, PingHistory())
        ping = pings.get(name)
        if ping is None or ping.ok:
            history = history._replace(failures=0)
        elif ping.ok is False:
            history = history._replace(failures=history.failures + 1)
        after[name] = history
    return after


def decide_restarts(
    histories: Mapping[str, PingHistory], pings: Mapping[str, Ping], now_s: float
) -> list[str]:
    """Return the servers to ask a restart for: failing now and long enough, not asked lately."""
    return [
        name
        for name, ping in pings.items()
        if ping.ok is False and _may_ask(histories.get(name, PingHistory()), now_s)
    ]


def _may_ask(history: PingHistory, now_s: float) -> bool:
    if history.failures < FAILURES_BEFORE_RESTART:
        return False
    return history.asked_at_s is None or now_s - history.asked_at_s >= SECONDS_BETWEEN_RESTARTS


def collect_system_metrics() -> dict[str, float]:
    """Return memory and disk of the machine, and this process's own memory, in GB."""
    total, available = machine_bytes()
    disk = psutil.disk_usage("/")
    return {
        "total_memory": total / GIGABYTE,
        "available_memory": available / GIGABYTE,
        "system_used_memory": (total - available) / GIGABYTE,
        "app_used_memory": psutil.Process().memory_info().rss / GIGABYTE,
        "total_disk": disk.total / GIGABYTE,
        "available_disk": disk.free / GIGABYTE,
    }


def metrics_message(metrics: Mapping[str, float]) -> str:
    """Return the metrics as one line for people."""
    return (
        f"Total Mem: {metrics['total_memory']:.1f}GB, "
        f"Avail Mem: {metrics['available_memory']:.1f}GB, "
        f"Sys Used Mem: {metrics['system_used_memory']:.1f}GB, "
        f"App Used Mem: {metrics['app_used_memory']:.1f}GB, "
        f"Total Disk: {metrics['total_disk']:.1f}GB, "
        f"Avail Disk: {metrics['available_disk']:.1f}GB"
    )


def ping_interval_of(config: Mapping[str, Any]) -> float:
    """Return the seconds between rounds, or the default where the value makes no sense."""
    value = config.get("PING_INTERVAL", DEFAULT_PING_INTERVAL_S)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value <= 86400 else DEFAULT_PING_INTERVAL_S


class HttpGateway:
    """Speaks HTTP to the gateway: one connection per call, every wait bounded."""

    def __init__(self, host: str, port: int, token_file: str | None = None) -> None:
        self._host = host
        self._port = port
        self._token_file = token_file

    def call(self, path: str, content: Mapping[str, Any] | None = None) -> Reply:
        """GET, or POST `content` as JSON; OSError or HTTPException when there is no answer."""
        body = None if content is None else json.dumps(content).encode()
        headers = self._authorization() | ({"Content-Type": "application/json"} if body else {})
        connection = HTTPConnection(self._host, self._port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.read(MAX_ANSWER_BYTES))
        finally:
            connection.close()

    def _authorization(self) -> dict[str, str]:
        # Read each time: the token may be made, or changed, after this program started.
        if not self._token_file:
            return {}
        try:
            token = Path(self._token_file).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return {}  # not made yet; where a token is needed, the gateway's refusal is logged
        return {"Authorization": f"Bearer {token}"}


# What a call can raise: nobody there or too slow, not HTTP, or not the JSON that was expected.
CALL_ERRORS = (OSError, HTTPException, ValueError)


class ServerMonitor:
    """Runs rounds: ping all servers, ask for restarts, report. No failure ends the loop."""

    def __init__(
        self, name: str, log: Log, gateway: Gateway, status_path: str, interval_s: float
    ) -> None:
        self._name = name
        self._log = log
        self._gateway = gateway
        self._status_path = status_path
        self._interval_s = interval_s
        self._histories: dict[str, PingHistory] = {}

    def run(self, stop: threading.Event) -> None:
        """Run a round every interval until `stop` is set."""
        parent_pid = os.getppid()
        while not stop.wait(self._interval_s):
            if os.getppid() != parent_pid:
                self._log.P("The supervisor is gone: ending.", color="y")
                return
            try:
                self.run_round(time.monotonic(), stop)
            except Exception:  # noqa: BLE001 - the loop outlives what nobody thought of
                self._log.P(f"Error in a round:\n{traceback.format_exc()}", color="r")

    def run_round(self, now_s: float, stop: threading.Event) -> None:
        """Ping, ask for restarts, report; `now_s` is a reading of the monotonic clock."""
        pings = self._ping_all()
        asked = decide_restarts(self._histories, pings, now_s)
        for name in asked:
            if stop.is_set():
                return  # the whole gateway is stopping: restart nothing any more
            self._histories[name] = PingHistory(failures=0, asked_at_s=now_s)
            self._ask_restart(name, pings[name].reason)
        self._report(pings, asked)

    def _ping_all(self) -> dict[str, Ping]:
        servers = self._list_servers()
        if servers is None:
            return {}
        pings = {}
        for name in servers_to_ping(servers, self._name):
            pings[name] = ping = self._ping(name, servers[name])
            if not ping.ok:
                self._log.P(f"Error: ping of server {name} {ping}", color="r")
        self._histories = next_histories(self._histories, servers, pings)
        return pings

    def _list_servers(self) -> dict[str, Any] | None:
        """Return the servers by name, or None (and say why) when the gateway does not tell."""
        try:
            return servers_of(self._gateway.call("/list_servers"))
        except CALL_ERRORS as error:
            self._log.P(f"Error: /list_servers failed, nothing pinged: {error!r}", color="r")
            return None

    def _ping(self, name: str, server: Mapping[str, Any]) -> Ping:
        try:
            reply = self._gateway.call(f"/v1/ready?signature={quote(name, safe='')}")
        except CALL_ERRORS as error:
            # The gateway answers readiness, not the server: its silence, under overload say,
            # is no reason to restart servers.
            return Ping(None, repr(error))
        return judge_ping(name, server, reply)

    def _ask_restart(self, name: str, reason: str) -> None:
        why = f"{FAILURES_BEFORE_RESTART} pings in a row failed: {reason}"
        self._log.P(f"Asking for a restart of server {name}: {why}", color="y")
        try:
            reply = self._gateway.call("/restart_server", {"SIGNATURE": name})
        except TimeoutError:
            self._log.P(f"The restart of server {name} goes on; not waiting for its end.")
        except CALL_ERRORS as error:
            self._log.P(f"Error: asking to restart server {name} failed: {error!r}", color="r")
        else:
            if reply.status >= 300:
                self._log.P(f"Error: restart of server {name}: {problem_of(reply)}", color="r")

    def _report(self, pings: Mapping[str, Ping], asked: list[str]) -> None:
        try:
            metrics = collect_system_metrics()
            report = {
                "SIGNATURE": self._name,
                "msg": metrics_message(metrics),
                **metrics,
                "pings": {name: str(ping) for name, ping in pings.items()},
                "restarts_asked": asked,
            }
            reply = self._gateway.call(self._status_path, report)
            if reply.status >= 300:
                raise ValueError(problem_of(reply))
        except CALL_ERRORS as error:
            self._log.P(f"Error: report to {self._status_path} failed: {error!r}", color="r")


def run_until_signalled(monitor: ServerMonitor) -> None:
    """Run the monitor until SIGTERM or SIGINT, or until it ends by itself.

    Signals are blocked in all threads and waited for here, so one that comes during an HTTP
    call is acted on at once. The thread is a daemon: it may be left behind in that call.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    stop = threading.Event()

    def work() -> None:
        try:
            monitor.run(stop)
        finally:  # ended by itself: wake the main thread out of its waiting
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=work, name="server-monitor", daemon=True)
    thread.start()
    signal.sigwait(STOP_SIGNALS)
    stop.set()
    thread.join(STOP_PATIENCE_S)


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the configuration given on the command line; exits with 2 when it is no object."""
    parser = argparse.ArgumentParser(description="Support process of a basic_inference_server.")
    parser.add_argument("--config_endpoint", default="{}", help="JSON object")
    try:
        config = json.loads(parser.parse_args(arguments).config_endpoint)
    except ValueError as error:
        parser.error(f"--config_endpoint is not JSON: {error}")
    if not isinstance(config, dict):
        parser.error("--config_endpoint is not a JSON object")
    missing = [key for key in ("SERVER", "SERVER_PORT", "SERVER_PATH") if key not in config]
    if missing:
        parser.error(f"--config_endpoint lacks {', '.join(missing)}")
    return config


def main(arguments: Sequence[str]) -> None:
    """Monitor the servers of one gateway until told to stop."""
    config = parse_arguments(arguments)
    log = Logger(
        lib_name="SPRC", base_folder=".", app_folder="_cache", TF_KERAS=False, max_lines=3000
    )
    log.update_config_data(config)
    interval_s = ping_interval_of(config)
    token_file = os.getenv(TOKEN_FILE_VARIABLE)
    monitor = ServerMonitor(
        name=str(config.get("SUPPORT_NAME", "SUPPORT")),
        log=log,
        gateway=HttpGateway(str(config["SERVER"]), int(config["SERVER_PORT"]), token_file),
        status_path=str(config["SERVER_PATH"]),
        interval_s=interval_s,
    )
    log.P(f"ServerMonitor v{__VERSION__} initialized on {interval_s:g}s interval", color="g")
    run_until_signalled(monitor)


if __name__ == "__main__":
    main(sys.argv[1:])
