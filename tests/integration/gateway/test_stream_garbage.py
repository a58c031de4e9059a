"""Streamed answers through HTTP connection, data plane and hub: nothing of them is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from basic_inference_server.core.scoreboard import IN_FLIGHT
from basic_inference_server.gateway.dispatch import Dispatch
from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.hub import Call, Hub
from basic_inference_server.gateway.response_stream import ResponseStream
from basic_inference_server.gateway.stream_relay import StreamRelay
from basic_inference_server.wire.frames import encode_chunk, encode_reply_head
from tests.support.event_stream import parse_lines
from tests.support.eventually import eventually
from tests.support.http_harness import HttpHarness, RawHttp, request
from tests.support.planes import ROUTE, Plane
from tests.support.streaming_harness import read_chunk, read_chunks, read_head

HEAD = encode_reply_head(200, b"application/x-ndjson", 0, (1, 2, 3, 4), is_stream=True)
KINDS = (Exchange, Dispatch, StreamRelay, ResponseStream, Call)


class Worker:
    """The worker's side of one endpoint, played by the test."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "w.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(10)
        self._listener.settimeout(10)

    def accept(self) -> socket.socket:
        """Take the next request and begin to answer it."""
        connection, _ = self._listener.accept()
        connection.recv(1 << 16)
        connection.sendall(HEAD + encode_chunk(b"1\n"))
        return connection

    def close(self) -> None:
        """Leave."""
        self._listener.close()


@pytest.fixture
def worker(harness: HttpHarness, tmp_path: Path) -> Iterator[Worker]:
    made, plane = Worker(tmp_path), Plane()
    hub = plane.plane.hub = harness.call(lambda: Hub(asyncio.get_running_loop()))
    plane.know(replace(ROUTE, socket_path=made.path))
    harness.limits.handle = plane.plane.handle
    yield made
    assert [0] == plane.counted(IN_FLIGHT)
    harness.call(hub.close)
    made.close()
    os.close(plane.board.fd)


@pytest.fixture
def of_others() -> Iterator[list[object]]:
    """Keep the collector from running; yield what other tests have left."""
    gc.collect()
    gc.disable()
    yield of_requests()
    gc.enable()


def of_requests() -> list[object]:
    """Return what there is of requests."""
    return [one for one in gc.get_objects() if isinstance(one, KINDS)]


def left(of_others: list[object]) -> list[str]:
    """Return what is left of this test's requests."""
    known = set(map(id, of_others))
    return [type(one).__name__ for one in of_requests() if id(one) not in known]


@pytest.mark.parametrize("end", ["whole", "worker dies", "late", "client leaves"])
def test_stream_leaves_no_garbage(
    harness: HttpHarness, client: RawHttp, worker: Worker, of_others: list[object], end: str
) -> None:
    """A request may be large: it goes with its last reference, not when the collector runs."""
    timeout = ["X-Request-Timeout: 0.1"] if end == "late" else []
    client.send(request("/run?SIGNATURE=demo", *timeout))
    with contextlib.closing(worker.accept()) as connection:
        read_head(client)
        assert b"1\n" == read_chunk(client)
        if end == "client leaves":
            client.close()
        elif end == "worker dies":
            connection.close()
            assert "worker_died" == json.loads(read_chunks(client))["code"]
        elif end == "late":
            assert "deadline_exceeded" == json.loads(read_chunks(client))["code"]
        else:
            connection.sendall(encode_chunk(b"2\n", 200))
            assert [2] == parse_lines(read_chunks(client))
        eventually(lambda: not left(of_others), what="everything of the request has gone")
    if end != "client leaves":
        assert 1 == harness.connection_count()
