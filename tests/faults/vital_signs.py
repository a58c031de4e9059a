"""What has to be as before after every fault: processes, descriptors, threads, logs, secrets."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import requests

from basic_inference_server.core.logs import LOG_MARK_VARIABLE
from basic_inference_server.gateway.administration_lanes import PROMPT_THREADS
from basic_inference_server.testing import RunningGateway
from tests.support.eventually import eventually
from tests.support.processes import role

SECRETS = {
    "environment": "s3cret-of-the-environment",
    "input": "s3cret-of-an-input",
    "token": "s3cret-of-a-wrong-token",
}
READING_ROUTES = ("/list_servers", "/system_status", "/notifications")
OWN_FAULTS = frozenset(
    {"gateway_fault", "control_plane_fault", "command_failed", "tick_failed", "events_not_stored"}
)
SETTLE_S = 30.0


@dataclass(frozen=True)
class Reading:
    """Descriptors and threads of the supervisor and of the gateway's processes together."""

    supervisor_fds: int
    supervisor_threads: int
    gateway_fds: int
    gateway_threads: int

    def exceeds(self, other: Reading) -> bool:
        """Say whether anything is more than it was, or may be."""
        return any(getattr(self, name) > value for name, value in vars(other).items())

    def with_control_planes(self, gateway_processes: int) -> Reading:
        """Add the threads that administration calls may start, and that stay."""
        return replace(
            self, gateway_threads=self.gateway_threads + gateway_processes * (PROMPT_THREADS + 1)
        )


class VitalSigns:
    """Remembers how a gateway was when it was well, and says whether it is so again."""

    def __init__(self, gateway: RunningGateway, healthy: str = "healthy") -> None:
        self.gateway = gateway
        self._healthy = healthy
        self._read_lines = 0
        self._token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
        self._mark = self._run_mark()
        for _ in range(3):  # imports, threads and connections that are made when first needed
            self._use()
        processes = len(role(gateway, "gateway")) - 1
        self.baseline = self._lowest_reading().with_control_planes(processes)

    def _use(self) -> None:
        """Use every part that keeps something: the data path, Flask, the control socket."""
        headers = {"Authorization": f"Bearer {SECRETS['token']}"}
        self.ask_healthy()
        requests.post(self.gateway.url + "/kill_server", headers=headers, timeout=60)
        for path in READING_ROUTES:
            self.gateway.post(path)

    def _lowest_reading(self) -> Reading:
        readings: list[Reading] = []

        def is_steady() -> bool:
            readings.append(self.read())
            return len(readings) > 20 and 1 == len(set(readings[-20:]))

        eventually(is_steady, SETTLE_S, "the gateway comes to rest")
        return readings[-1]

    def read(self) -> Reading:
        """Count descriptors and threads now."""
        supervisor = psutil.Process(self.gateway.process.pid)
        gateway = role(self.gateway, "gateway")
        try:
            return Reading(
                supervisor.num_fds(),
                supervisor.num_threads(),
                sum(process.num_fds() for process in gateway),
                sum(process.num_threads() for process in gateway),
            )
        except psutil.NoSuchProcess:
            return Reading(10**6, 0, 0, 0)

    def descriptors(self) -> list[str]:
        """Return what the gateway's processes have open."""
        found = []
        for process in role(self.gateway, "gateway"):
            for link in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found.append(f"{process.pid}:{link.name}:{link.readlink()}")
        return sorted(found)

    def _run_mark(self) -> str:
        """Return the variable that every process of this run, and nobody else, has."""
        (mark,) = {
            variable
            for process in role(self.gateway, "serving")
            for variable in environment_of(process.pid)
            if variable.startswith(f"{LOG_MARK_VARIABLE}=")
        }
        return mark

    def ask_healthy(self) -> requests.Response:
        """Send a request with a secret in it to the endpoint that has to be well."""
        return self.gateway.run(self._healthy, VALUE=5, PASSWORD=SECRETS["input"], timeout_s=10)

    def strangers(self) -> list[str]:
        """Return the processes of this run that are nobody's master, worker or support process."""
        known = {self.gateway.process.pid, *(p.pid for p in role(self.gateway, "gateway"))}
        for server in self.gateway.servers().values():
            known |= {server["pid"], *server.get("worker_pids", [])}
        return [
            f"{process.pid} child of {parent_of(process)}"
            for process in psutil.process_iter()
            if process.pid not in known and self._belongs(process)
        ]

    def _belongs(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            is_at_home = process.cwd() == str(self.gateway.base_folder)
        except psutil.Error:
            return False
        return is_at_home or self._mark in environment_of(process.pid)

    def check(self) -> None:
        """Fail unless everything is as it was when the gateway was well."""
        if self.gateway.process.poll() is not None:
            return  # the fault was its end; whoever ended it has looked what was left
        eventually(lambda: self.ask_healthy().status_code == 200, what="a healthy endpoint answers")
        eventually(lambda: not self.strangers(), SETTLE_S, f"no orphan: {self.strangers()}")
        readings: list[Reading] = []

        def is_back() -> bool:
            readings.append(self.read())
            return not readings[-1].exceeds(self.baseline)

        try:
            eventually(is_back, SETTLE_S)
        except AssertionError:
            raise AssertionError(
                f"{readings[-1]} is more than {self.baseline}: {self.descriptors()}"
            ) from None
        self._check_log()
        self._check_answers()

    def _check_log(self) -> None:
        lines = self.gateway._lines[self._read_lines :]
        self._read_lines += len(lines)
        for line in lines:
            assert line.startswith("{"), f"a line that is no event: {line}"
            self._expect_no_secret("log", line)
            event = json.loads(line)
            if event.get("server", "gateway") == "gateway":
                assert event["event"] not in OWN_FAULTS, line
                assert "Traceback" not in line, line

    def _check_answers(self) -> None:
        for path in READING_ROUTES:
            self._expect_no_secret(path, self.gateway.post(path).text)

    def _expect_no_secret(self, where: str, text: str) -> None:
        for kind, secret in {**SECRETS, "administration token": self._token}.items():
            assert secret not in text, f"the {kind} secret is in {where}: {text[:500]}"


def environment_of(pid: int) -> list[str]:
    """Return a process's environment as it was started; nothing when it has gone."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return []
    return text.decode("utf-8", "replace").split("\0")


def parent_of(process: psutil.Process) -> int:
    """Return a process's parent, 0 when it has gone."""
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def events_since(gateway: RunningGateway, line: int, **wanted: Any) -> list[dict[str, Any]]:
    """Return the events with these fields from a line of the output on."""
    lines = [text for text in gateway._lines[line:] if text.startswith("{")]
    return [event for event in map(json.loads, lines) if wanted.items() <= event.items()]
