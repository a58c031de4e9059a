"""The log for people, its levels, and what is no record although it looks like one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FAULTY, TALKING
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

Launch = Callable[..., RunningGateway]

FORGED = "12:00:00.000 CRITICAL [elsewhere] all is lost"


def test_log_for_people_is_in_lines_that_nobody_can_forge(launch: Launch) -> None:
    """`LOG_FORMAT` `console`: further lines of a text are indented, control characters shown."""
    gateway = launch({"talking": {}}, {"talking": TALKING}, LOG_FORMAT="console")
    text = f"first\n{FORGED}\n\x1b[2Jlast\rhere"
    assert 200 == gateway.run("talking", BY="method", TEXT=text).status_code
    eventually(lambda: "last" in gateway.output)
    assert FORGED not in gateway.output.splitlines()
    assert f"    | {FORGED}" in gateway.output.splitlines()
    assert "\\x1b[2Jlast\\rhere" in gateway.output
    assert "\x1b" not in gateway.output
    assert "[talking] [T] first" in gateway.output


def test_log_for_people_shows_tracebacks(launch: Launch) -> None:
    """A failure is readable where it happened."""
    gateway = launch({"faulty": {}}, {"faulty": FAULTY}, LOG_FORMAT="console")
    request_id = check_error("endpoint_error", gateway.run("faulty", DO="raise"))["request_id"]
    eventually(lambda: "    | RuntimeError: the model broke" in gateway.output.splitlines())
    assert f"request_id={request_id}" in gateway.output


def test_log_level_leaves_out_what_is_below(launch: Launch) -> None:
    """With `LOG_LEVEL` `error` only lost requests and servers are written."""
    gateway = launch({"faulty": {}}, {"faulty": FAULTY}, LOG_LEVEL="error")
    assert 200 == gateway.run("faulty", DO="nothing").status_code
    check_error("endpoint_error", gateway.run("faulty", DO="raise"))
    eventually(lambda: gateway.events)
    gateway.stop()
    assert {"error"} == {event["level"] for event in gateway.events}


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """An endpoint that writes what it is told."""
    folder = tmp_path_factory.mktemp("talkative")
    with shared_gateway(folder, {"talking": {}}, {"talking": TALKING}) as running:
        yield running


@pytest.mark.shares_gateway
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\x1e5", id="number"),
        pytest.param("\x1e[]", id="array"),
        pytest.param("\x1e{}", id="empty object"),
        pytest.param("\x1e{", id="half an object"),
        pytest.param("\x1e", id="the mark alone"),
    ],
)  # fmt: skip
def test_output_that_is_no_record_is_only_output(talkative: RunningGateway, text: str) -> None:
    """What looks like one of the workers' records, and is none, spoils no line."""
    begin = len(talkative.output)
    answer = talkative.run("talking", BY="descriptor", TEXT=f"{text}\nnext\n")
    assert 200 == answer.status_code
    eventually(lambda: '"message":"next"' in talkative.output[begin:])
    for line in talkative.output[begin:].split():
        assert {"time", "level", "event"} <= json.loads(line).keys(), line
