#!/usr/bin/env python3
"""How many copies of a large JSON body the gateway process holds at its worst moment.

python benchmarks/large_body.py [--megabytes 10] [--requests 3] [--json out.json]
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import process_tree
import program
import psutil
from server_process import Request, ServerError, ServerProcess
from systems import gateway
from targets import Bound, Target, print_targets

# Two copies, and a little for what is no copy: the kernel's own count of resident pages is
# off by up to 256 KiB on two processors, and a request has objects besides its body.
MAX_COPIES = 2.05
TIMEOUT_S = 60.0
CHUNK_BYTES = 65536
NUMBER = b"3.14159,"
MODES = ("content-length", "chunked")
SMALL = Request("/run", b'{"INPUT_VALUE":"5","SIGNATURE":"ignore"}')
MB = 1e6


@dataclass(frozen=True)
class Growth:
    """What one request made one process grow by, in copies of the body."""

    mode: str
    request: int
    process: str
    is_gateway: bool
    copies: float


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = _parse_arguments()
    return program.run(lambda: _count_copies(options))


def _count_copies(options: argparse.Namespace) -> bool:
    machine.print_head()
    body = _large_body(options.megabytes)
    growths = [growth for mode in MODES for growth in _measure(mode, body, options.requests)]
    print(f"body {len(body) / MB:.1f} MB; growth of each process over its size before, in copies")
    for growth in growths:
        mark = "gateway" if growth.is_gateway else "other"
        print(
            f"  {growth.mode:<15} request {growth.request}  {growth.copies:6.2f}  "
            f"{mark:<8} {growth.process}"
        )
    targets = [
        Target(f"copies in the gateway, {mode}", _worst(growths, mode), Bound.AT_MOST, MAX_COPIES)
        for mode in MODES
    ]
    samples = {"body_bytes": len(body), "growths": [asdict(growth) for growth in growths]}
    program.write_json(options.json, targets, samples)
    return print_targets(targets)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=10)
    parser.add_argument("--requests", type=int, default=3, help="large requests in each mode")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def _large_body(megabytes: int) -> bytes:
    """A list of numbers, with the signature after it, where it is found last."""
    numbers = NUMBER * (int(megabytes * MB) // len(NUMBER))
    return b'{"INPUT_VALUE":[' + numbers + b'0],"SIGNATURE":"ignore"}'


def _worst(growths: list[Growth], mode: str) -> float:
    return max(growth.copies for growth in growths if growth.is_gateway and growth.mode == mode)


def _measure(mode: str, body: bytes, requests: int) -> list[Growth]:
    """Send the body several times to a fresh gateway.

    Every peak is taken over the size before the first large request: memory that was freed
    but not given back would otherwise make the later requests look free.
    """
    with tempfile.TemporaryDirectory(prefix="large-") as name, _started(Path(name)) as server:
        server.wait_for_200(SMALL)
        connection = http.client.HTTPConnection(*server.address, timeout=TIMEOUT_S)
        _send(connection, SMALL.body, "content-length")
        gateway_pid = _holder_of(connection, server)
        tree = process_tree.members(server.pid)
        before = {process.pid: _reset(process.pid) for process in tree}
        growths = []
        for request in range(1, requests + 1):
            _send(connection, body, mode)
            for process in tree:
                peak = process_tree.peak_rss_bytes(process.pid)
                _reset(process.pid)
                copies = (peak - before[process.pid]) / len(body)
                label = process_tree.command_name(process)
                is_gateway = process.pid == gateway_pid
                growths.append(Growth(mode, request, label, is_gateway, copies))
        connection.close()
    return growths


def _started(folder: Path) -> ServerProcess:
    return gateway.start_on(gateway.IGNORE_FOLDER, folder)


def _reset(pid: int) -> int:
    """Start a new peak; returns the resident set it starts from."""
    process_tree.reset_peak_rss(pid)
    return process_tree.peak_rss_bytes(pid)


def _holder_of(connection: http.client.HTTPConnection, server: ServerProcess) -> int:
    """The process at the other end of a connection: the gateway worker that serves it."""
    local_port = connection.sock.getsockname()[1]
    for process in process_tree.members(server.pid):
        try:
            links = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        if any(getattr(link.raddr, "port", None) == local_port for link in links):
            return process.pid
    raise ServerError("no process of the gateway holds our connection")


def _send(connection: http.client.HTTPConnection, body: bytes, mode: str) -> None:
    headers = {"Content-Type": "application/json"}
    payload = _chunks(body) if mode == "chunked" else body
    try:
        connection.request("POST", SMALL.path, payload, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServerError(f"{mode}, {len(body)} bytes: {error!r}") from error
    if response.status != http.client.OK:
        raise ServerError(f"{mode}, {len(body)} bytes: {response.status} {answer[:300]!r}")


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]


if __name__ == "__main__":
    sys.exit(main())
