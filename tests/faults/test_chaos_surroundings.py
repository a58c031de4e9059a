"""Disk, file system, clock and privileges are not what they should be (R3, R9, R10, S10, S11)."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import RunningGateway, running_gateway, start_gateway
from tests.faults.calls import do, wait_until_ready
from tests.faults.conftest import SOURCES
from tests.faults.ledger import Ledger, summary_ms
from tests.support.eventually import eventually
from tests.support.processes import tree
from tests.support.projects import write_project

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
Figure = Callable[[str], None]

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).parent / "shims" / "moved_clock.c"
HOUR_S = 3600
RUN = f"exec {sys.executable} -m basic_inference_server run --host 127.0.0.1"

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can mount"
)


def in_own_mounts(folder: Path, mounts: str, port: int) -> list[str]:
    """Return the command of a gateway that sees these mounts; nobody else does."""
    script = f"set -e; cd {folder}; {mounts}; {RUN} --port {port}"
    return ["unshare", "--mount", "sh", "-c", script]


def free_port() -> int:
    """Return a port that is free at this moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def wait_until_it_answers(gateway: RunningGateway, port: int) -> None:
    """Wait for a gateway whose folder cannot be looked into."""
    gateway.port = port

    def answers() -> bool:
        assert gateway.process.poll() is None, gateway.output
        try:
            return gateway.get("/v1/ready").status_code == 200
        except requests.RequestException:
            return False

    eventually(answers, 20, "it answers")


@needs_root
def test_full_disk_costs_no_request(tmp_path: Path, figure: Figure) -> None:
    """The application folder is full: requests and administration go on, and it recovers (R3)."""
    write_project(tmp_path, {"misbehaving": {}, "healthy": {}}, SOURCES)
    (tmp_path / "_cache").mkdir()
    (tmp_path / "logs").mkdir()
    port = free_port()
    mounts = f"mount -t tmpfs -o size=256k none {tmp_path}/_cache"
    gateway = start_gateway(tmp_path, command=in_own_mounts(tmp_path, mounts, port))
    try:
        wait_until_it_answers(gateway, port)
        filler = Path(f"/proc/{gateway.process.pid}/root{tmp_path}/_cache/filler")
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**20)
        with Ledger(port, 50, {"SIGNATURE": "healthy"}, 5) as load:
            do(gateway, "misbehaving", "exit_now", CODE=3)
            assert 200 == gateway.post("/restart_server", {"SIGNATURE": "healthy"}).status_code
            assert 200 == gateway.get("/system_status").status_code
        load.check()
        assert {"200"} == set(load.outcomes)
        complaints = [e for e in gateway.events if e["event"] == "events_not_stored"]
        filler.unlink()
        gateway.post("/restart_server", {"SIGNATURE": "misbehaving"})
        history = gateway.get("/system_status").json()["SYSTEM_HISTORY"]
        figure(f"{dict(load.outcomes)}, {len(complaints)} complaint(s), history {len(history)}")
        assert 1 == len(complaints)
        assert "misbehaving" in str(history)
        assert 0 == gateway.stop()
    finally:
        gateway.kill()


@needs_root
@pytest.mark.parametrize(
    "shared_memory",
    [
        pytest.param("true", id="own shm"),
        pytest.param("mount -t tmpfs -o ro,size=4k none /dev/shm", id="read-only shm"),
    ],
)
def test_read_only_root_is_enough(tmp_path: Path, figure: Figure, shared_memory: str) -> None:
    """With a read-only file system, but for its own folder, it runs (R10)."""
    write_project(tmp_path, {"misbehaving": {}, "healthy": {}}, SOURCES)
    (tmp_path / "_cache").mkdir()
    port = free_port()
    mounts = (
        "for at in /usr /etc /var /home /root /opt; do "
        "if [ -d $at ]; then mount --bind $at $at; mount -o remount,bind,ro $at; fi; done; "
        + shared_memory
    )
    gateway = start_gateway(tmp_path, command=in_own_mounts(tmp_path, mounts, port))
    try:
        wait_until_it_answers(gateway, port)
        assert 502 == do(gateway, "misbehaving", "exit_now", CODE=3).status_code
        wait_until_ready(gateway, "misbehaving")
        figure(f"{len(tree(gateway))} processes serve")
        assert 0 == gateway.stop()
    finally:
        gateway.kill()


@needs_root
def test_proc_that_shows_processes_only_is_enough(tmp_path: Path) -> None:
    """As with systemd's ProcSubset=pid; the disk that is shown is that of the own folder."""
    write_project(tmp_path, {"misbehaving": {}, "healthy": {}}, SOURCES)
    (tmp_path / "_cache").mkdir()
    port = free_port()
    mounts = (
        f"mount -t tmpfs -o size=512m none {tmp_path}/_cache; "
        "mount -t proc -o subset=pid none /proc"
    )
    gateway = start_gateway(tmp_path, command=in_own_mounts(tmp_path, mounts, port))
    try:
        wait_until_it_answers(gateway, port)
        status = gateway.get("/system_status").json()["SYSTEM_STATUS"]
        assert (0.5, None) == (status["disk_total"], status["cpu_percent"])
        assert 0 < status["mem_avail"] <= status["mem_total"]
        assert 0 < status["mem_servers"]["healthy"] < 2
        assert 502 == do(gateway, "misbehaving", "exit_now", CODE=3).status_code
        wait_until_ready(gateway, "misbehaving")
        assert 0 == gateway.stop()
    finally:
        gateway.kill()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_wall_clock_that_leaps_changes_nothing(tmp_path: Path, figure: Figure) -> None:
    """An hour forward, two back: no restart, no wrong deadline, no request lost (R9)."""
    library, clock = tmp_path / "moved_clock.so", tmp_path / "clock"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True, timeout=60
    )
    clock.write_bytes(struct.pack("l", 0))
    write_project(tmp_path, {"misbehaving": {"TIMEOUT": 2}, "healthy": {}}, SOURCES)
    environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(clock)}
    with running_gateway(tmp_path, environment=environment) as gateway:
        before = tree(gateway)
        shown = []
        fields = {"SIGNATURE": "healthy", "MS": 1}
        with Ledger(gateway.port, 50, fields, 16) as load:
            for hours in (0, 1, -1, 0):
                with clock.open("r+b") as file:
                    file.write(struct.pack("l", hours * HOUR_S))
                late = do(gateway, "misbehaving", "sleep", SECONDS=0.2)
                assert 200 == late.status_code
                shown.append(late.json()["time"][11:16])
                threading.Event().wait(3)
        load.check()
        figure(f"{dict(load.outcomes)}, {summary_ms(load.seconds_of())}, it was {shown}")
        assert {"200"} == set(load.outcomes)
        assert shown[1] != shown[0] != shown[2]
        assert {p.pid for p in before} == {p.pid for p in tree(gateway)}
        answer = do(gateway, "misbehaving", "sleep", SECONDS=10)
        assert (504, True) == (answer.status_code, answer.elapsed.total_seconds() < 3)


def test_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    """What was altered on its way is refused, and the environment not taken for complete (S11)."""
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "")
    lock = tmp_path / "lock"
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    ended = subprocess.run(
        [str(ROOT / "scripts" / "bootstrap.sh"), str(tmp_path / "venv"), str(lock)],
        env={
            "PATH": process_environment()["PATH"],
            "PYTHON": sys.executable,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(tmp_path),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 != ended.returncode
    assert "DO NOT MATCH THE HASHES" in ended.stdout + ended.stderr
    assert lock.read_text() != (tmp_path / "venv" / ".installed.lock").read_text()


def test_log_that_nobody_reads_costs_no_request(tmp_path: Path, figure: Figure) -> None:
    """A log collector that is stuck: lines are dropped, requests and the stop go on (G16)."""
    write_project(tmp_path, {"misbehaving": {}, "healthy": {}}, SOURCES)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        shell = ["/bin/sh", "-c", f"{RUN} --port 0 > {pipe} 2>&1"]
        with running_gateway(tmp_path, command=shell) as gateway:
            with Ledger(gateway.port, 50, {"SIGNATURE": "healthy"}, 5) as load:
                for _ in range(5):
                    assert 200 == do(gateway, "misbehaving", "flood", BYTES=5_000_000).status_code
                    assert 500 == do(gateway, "misbehaving", "raise", TEXT="unread").status_code
            load.check()
            figure(f"{dict(load.outcomes)}, {summary_ms(load.seconds_of())}")
            assert {"200"} == set(load.outcomes)
            assert 0 == gateway.stop()
    finally:
        os.close(reader)


@needs_root
def test_no_capability_is_needed(tmp_path: Path, figure: Figure) -> None:
    """Without any capability, and with no way to get one, everything works (S10)."""
    write_project(tmp_path, {"misbehaving": {}, "healthy": {}}, SOURCES)
    drop = "setpriv --no-new-privs --bounding-set=-all --inh-caps=-all"
    shell = ["/bin/sh", "-c", f"exec {drop} {RUN.removeprefix('exec ')} --port 0"]
    with running_gateway(tmp_path, command=shell) as gateway:
        for process in tree(gateway):
            status = Path(f"/proc/{process.pid}/status").read_text().split("\n")
            fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
            assert (0, "1") == (int(fields["CapEff"], 16), fields["NoNewPrivs"])
        assert 502 == do(gateway, "misbehaving", "exit_now", CODE=3).status_code
        wait_until_ready(gateway, "misbehaving")
        assert 200 == gateway.post("/restart_server", {"SIGNATURE": "healthy"}).status_code
        figure(f"{len(tree(gateway))} processes without a capability")
        assert 0 == gateway.stop()
