"""Streams while the gateway is changed, its workers replaced, or while it stops."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from basic_inference_server.testing import RunningGateway
from tests.functional.gateways import Gate
from tests.functional.open_answer import OpenAnswer, numbers
from tests.functional.streaming_sources import STREAMING
from tests.support.eventually import eventually

Launch = Callable[..., RunningGateway]
FILES = {"streaming": STREAMING}


def held_stream(gateway: RunningGateway, path: str = "/run/streaming") -> OpenAnswer:
    """Return a stream whose third item waits for the gate."""
    answer = OpenAnswer(gateway.port, path, N=4, AT=2, DO="wait")
    assert [0, 1] == numbers([answer.read_item(), answer.read_item()])
    return answer


def test_stream_is_whole_through_replacing_and_stopping(launch: Launch, tmp_path: Path) -> None:
    """A reload and a stop wait for it; a worker that is due to be replaced finishes it."""
    gate = Gate(tmp_path)
    gateway = launch({"streaming": {"NR_WORKERS": 1}, "short": {
        "SERVER_CLASS": "streaming", "MAX_REQUESTS": 1}}, FILES)  # fmt: skip

    pids = set()
    for _ in range(3):
        with gate.closed():
            answer = held_stream(gateway, "/run/short")
        rest = answer.read_rest()
        assert [2, 3] == numbers(rest)
        pids.add(rest[0]["pid"])
    assert 3 == len(pids)

    changed = {"streaming": {"NR_WORKERS": 1, "TIMEOUT": 12}}
    with ThreadPoolExecutor() as threads:
        with gate.closed():
            answer = held_stream(gateway)
            (tmp_path / "config_gateway.txt").write_text(json.dumps({"CONFIG_ENDPOINTS": changed}))
            reloaded = threads.submit(gateway.post, "/reload", {})
            new = OpenAnswer(gateway.port, N=1)
            (item,) = new.read_rest()
            eventually(lambda: OpenAnswer(gateway.port, N=1).read_rest()[0]["pid"] != item["pid"]
                       or reloaded.done())  # fmt: skip
        rest = answer.read_rest()
        assert 200 == reloaded.result(20).status_code
    assert [2, 3] == numbers(rest)
    assert rest[0]["pid"] != OpenAnswer(gateway.port, N=1).read_rest()[0]["pid"]

    with gate.closed():
        answer = held_stream(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: '"event":"stopping"' in gateway.output)
    assert [2, 3] == numbers(answer.read_rest())
    assert 0 == gateway.process.wait(60)


def test_stream_that_does_not_end_in_time_is_ended_with_an_error(launch: Launch) -> None:
    """`GRACEFUL_TIMEOUT` is the last word: the client has an item that says so."""
    gateway = launch({"streaming": {"TIMEOUT": 30}}, FILES, GRACEFUL_TIMEOUT=1)
    answer = OpenAnswer(gateway.port, N=3, AT=1, DO="hang")
    assert 0 == answer.read_item()["n"]
    gateway.process.send_signal(signal.SIGTERM)
    (error,) = answer.read_rest()
    assert ("deadline_exceeded", "unknown") == (error["code"], error["executed"])
    assert "The gateway had to stop before streaming had sent everything." == error["ERROR"]
    gateway.process.wait(60)
