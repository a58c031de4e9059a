"""The log: one JSON object on each line, whatever endpoints and callers do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import FAULTY, GATED, NO_LIBRARY, TALKING
from tests.functional.gateways import Gate, shared_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

Event = dict[str, Any]
FORGED = '{"time":"2001-01-01","level":"critical","event":"forged","server":"elsewhere"}'
FLOOD = 50_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Endpoints that talk and fail; whatever they did, every line of output is one event."""
    folder = tmp_path_factory.mktemp("logging")
    Gate(folder)
    with shared_gateway(
        folder,
        {
            "talking": {},
            "flooding": {"SERVER_CLASS": "talking"},
            "faulty": {},
            "hasty": {"SERVER_CLASS": "gated", "TIMEOUT": 0.2},
            "no_library": {},
        },
        {"talking": TALKING, "faulty": FAULTY, "gated": GATED, "no_library": NO_LIBRARY},
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def every_line_is_one_event(gateway: RunningGateway) -> Iterator[None]:
    """After each test: nothing but JSON objects with time, level and event was printed."""
    yield
    for line in gateway.output.splitlines():
        event = json.loads(line)
        assert {"time", "level", "event"} <= event.keys(), line
        assert line.isascii()


def events_of(gateway: RunningGateway, request_id: str) -> list[Event]:
    """Return all events of one request."""
    return [event for event in gateway.events if event.get("request_id") == request_id]


def said(gateway: RunningGateway, text: str) -> list[Event]:
    """Wait for events whose message contains a text, and return them."""
    return eventually(
        lambda: [e for e in gateway.events if text in str(e.get("message"))], what=text
    )


def test_start_is_told_in_order(gateway: RunningGateway) -> None:
    """Settings come first; each server's way up and the open port follow."""
    eventually(lambda: "gateway_open" in [event["event"] for event in gateway.events])
    events = gateway.events
    assert "settings" == events[0]["event"]
    ways = [e["state"] for e in events if e.get("server") == "talking" and "state" in e]
    assert ["STARTING", "LOADING", "READY"] == ways[:3]


def test_failed_load_is_logged_with_its_traceback(gateway: RunningGateway) -> None:
    """The operator sees where the endpoint's file failed."""
    (event,) = [event for event in gateway.events if event["event"] == "load_failed"]
    assert ("error", "no_library") == (event["level"], event["server"])
    assert "import a_library_that_nobody_has" in event["traceback"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("print", {"event": "output", "stream": "stdout"}),
        ("stderr", {"event": "output", "stream": "stderr"}),
        ("method", {"event": "message"}),
        ("coloured", {"event": "message", "color": "r"}),
        ("logging", {"event": "library", "logger": "some.library", "level": "error"}),
        ("informing", {"event": "library", "logger": "endpoints.talking", "level": "info",
                       "order": 7}),
        ("mistake", {"event": "library", "level": "warning"}),
        ("buffer", {"event": "output", "stream": "stdout"}),
        ("warning", {"server": "talking"}),
    ],
)  # fmt: skip
def test_what_an_endpoint_says_is_labelled(
    gateway: RunningGateway, by: str, expected: dict[str, Any]
) -> None:
    """Each line carries the server, the worker and the request that it belongs to."""
    text = f"said by {by} îâ"
    response = gateway.run("talking", BY=by, TEXT=text)
    request_id = response.headers["X-Request-Id"]
    event = said(gateway, text)[0]
    labels = {"server": "talking", "worker_id": 0, "request_id": request_id, **expected}
    assert labels == {name: event.get(name) for name in labels}


@pytest.mark.parametrize("by", ["descriptor", "command"])
def test_what_bypasses_python_is_labelled_with_its_server(gateway: RunningGateway, by: str) -> None:
    """Output of C code and of child processes is relayed, too."""
    assert 200 == gateway.run("talking", BY=by, TEXT=f"raw by {by}\n").status_code
    event = said(gateway, f"raw by {by}")[0]
    assert ("output", "talking") == (event["event"], event["server"])


def test_output_without_a_line_end_belongs_to_its_request(gateway: RunningGateway) -> None:
    """What a request wrote is never shown as another request's."""
    first = gateway.run("talking", BY="write", TEXT="no line end")
    second = gateway.run("talking", BY="print", TEXT="another request")
    event = said(gateway, "no line end")[0]
    assert first.headers["X-Request-Id"] == event["request_id"]
    event = said(gateway, "another request")[0]
    assert ("another request", second.headers["X-Request-Id"]) == (
        event["message"],
        event["request_id"],
    )


def test_every_line_of_a_failing_request_has_its_id(gateway: RunningGateway) -> None:
    """What it printed and why it failed are found by the id that the caller got."""
    request_id = "find-me-1"
    response = requests.post(
        gateway.url + "/run",
        json={"SIGNATURE": "faulty", "DO": "raise"},
        headers={"X-Request-Id": request_id},
        timeout=60,
    )
    check_error("endpoint_error", response)
    eventually(lambda: len(events_of(gateway, request_id)) >= 2)
    printed, failed = events_of(gateway, request_id)
    assert ("output", "about to fail") == (printed["event"], printed["message"])
    assert ("request_failed", "endpoint_error") == (failed["event"], failed["code"])
    assert "RuntimeError: the model broke" in failed["traceback"]


@pytest.mark.parametrize(
    ("signature", "fields", "code"),
    [
        pytest.param("faulty", {"DO": "kill"}, "worker_died", id="death"),
        pytest.param("hasty", {"ID": "logged"}, "deadline_exceeded", id="deadline"),
    ],
)
def test_request_that_the_gateway_gives_up_is_logged_with_its_id(
    gateway: RunningGateway, signature: str, fields: dict[str, Any], code: str
) -> None:
    """An answer of 502 or 504 leaves a line, too."""
    with Gate(gateway.base_folder).closed():
        body = check_error(code, gateway.run(signature, **fields))
        (event,) = eventually(lambda: events_of(gateway, body["request_id"]))
        assert ("request_failed", code, "gateway") == (
            event["event"],
            event["code"],
            event["server"],
        )
        died = eventually(
            lambda: [
                e
                for e in gateway.events
                if e["event"] == "worker_died" and e["server"] == signature
            ]
        )
        assert died[-1]["cause"]
    eventually(lambda: gateway.servers()[signature]["ready_workers"] == 1)


def test_refused_request_costs_no_line(gateway: RunningGateway) -> None:
    """What callers do wrong does not fill the log."""
    count = len(gateway.events)
    for _ in range(20):
        check_error("unknown_signature", gateway.run("nobody"))
    gateway.run("talking", BY="print", TEXT="after the refusals")
    said(gateway, "after the refusals")
    assert len(gateway.events) <= count + 2


@pytest.mark.parametrize("by", ["print", "stderr", "method", "logging", "descriptor", "command"])
def test_text_with_line_breaks_forges_no_event(gateway: RunningGateway, by: str) -> None:
    """A caller's text that an endpoint prints is never a line of its own."""
    text = f"innocent {by}\n{FORGED}\r\n\x1b[2J\x1b[31m{FORGED}\x00"
    if by == "command":
        text = text.rstrip("\0")  # no argument of a command can hold it
    assert 200 == gateway.run("talking", BY=by, TEXT=text + "\n").status_code
    said(gateway, f"innocent {by}")
    gateway.run("talking", BY="print", TEXT=f"done {by}")
    said(gateway, f"done {by}")
    assert [] == [event for event in gateway.events if event["event"] == "forged"]
    assert "\x1b" not in gateway.output


@pytest.mark.parametrize("by", ["descriptor", "command"])
def test_text_with_the_record_mark_forges_no_event(gateway: RunningGateway, by: str) -> None:
    """Not even who knows how workers write their records can forge one with a text."""
    text = f"x\n\x1e{FORGED.replace('forged', 'forged2')}\n"
    assert 200 == gateway.run("talking", BY=by, TEXT=text).status_code
    gateway.run("talking", BY="print", TEXT=f"marked {by}")
    said(gateway, f"marked {by}")
    assert [] == [event for event in gateway.events if event["event"] == "forged2"]


@pytest.mark.parametrize("signature", [FORGED, "x\n" + FORGED, "\x1b[31mred", "a\r\nb: c"])
def test_callers_names_forge_no_event_or_header(gateway: RunningGateway, signature: str) -> None:
    """Names and ids of callers are quoted wherever they are shown."""
    response = gateway.run(signature)
    check_error("unknown_signature", response)
    assert "b" not in response.headers
    for path in ("/start_server", "/notifications"):
        check_error("bad_input", gateway.post(path, {"SIGNATURE": signature}))
    gateway.post("/restart_server", {"SIGNATURE": "talking", "REASON": f"why\n{FORGED}"})
    assert [] == [event for event in gateway.events if event["event"] == "forged"]


def test_long_line_is_cut_in_its_middle(gateway: RunningGateway) -> None:
    """A line of a megabyte keeps its beginning and end, and its labels."""
    text = "begin" + "x" * 2**20 + "end"
    assert 200 == gateway.run("talking", BY="method", TEXT=text).status_code
    event = eventually(
        lambda: [e for e in gateway.events if str(e.get("message")).startswith("[T] begin")]
    )[0]
    assert event["message"].endswith("end")
    assert 8192 > len(json.dumps(event))


def test_flood_of_prints_does_not_hold_up_the_worker(gateway: RunningGateway) -> None:
    """Fifty thousand lines are printed at once; what is not shown is counted."""
    response = gateway.run("flooding", BY="print", TEXT="flood " + "x" * 50, TIMES=FLOOD)
    assert 200 == response.status_code
    assert 200 == gateway.run("talking", BY="print", TEXT="a neighbour").status_code
    said(gateway, "a neighbour")

    def left_out() -> bool:
        gateway.run("flooding", BY="print", TEXT="one more")
        events = [event for event in gateway.events if event.get("server") == "flooding"]
        return any(
            event["event"] == "output_suppressed" or "records_dropped_before" in event
            for event in events
        )

    eventually(left_out)


def test_flood_of_prints_hides_no_error(gateway: RunningGateway) -> None:
    """Why a request failed is logged, however much it printed before."""
    response = gateway.run("flooding", BY="print", TEXT="flood", TIMES=5000, FAIL=True)
    request_id = check_error("endpoint_error", response)["request_id"]

    def failure() -> list[Event]:
        found = events_of(gateway, request_id)
        return [event for event in found if event["event"] == "request_failed"]

    eventually(failure)


def test_log_has_no_secret(gateway: RunningGateway) -> None:
    """Neither the administration token nor a wrong one that somebody sent is written out."""
    token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
    for presented in (token, "a-wrong-token-of-somebody"):
        requests.post(
            gateway.url + "/restart_server",
            json={"SIGNATURE": "faulty"},
            headers={"Authorization": f"Bearer {presented}"},
            timeout=60,
        )
    assert token not in gateway.output
    assert "a-wrong-token-of-somebody" not in gateway.output
