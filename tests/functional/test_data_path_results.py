"""What endpoints may return, how large, and to how many callers at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import BULK, GATED, KINDS, MIRROR
from tests.functional.gateways import Gate, shared_gateway
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

METADATA = {"time", "ver", "ver_lib", "signature", "worker_id", "call_id"}
TEN_MB = 10 * 1024 * 1024
CALLERS = 200


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Endpoints that return everything, a lot, or only when they may."""
    folder = tmp_path_factory.mktemp("results")
    Gate(folder)
    with shared_gateway(
        folder,
        {
            "kinds": {},
            "bulk": {},
            "mirror": {"NR_WORKERS": 2, "QUEUE_SIZE": CALLERS},
            "gated": {},
        },
        {"kinds": KINDS, "bulk": BULK, "mirror": MIRROR, "gated": GATED},
    ) as running:
        yield running


def own_fields(response: requests.Response) -> Any:
    """Return an answer without the metadata."""
    assert 200 == response.status_code, response.text
    return {name: value for name, value in response.json().items() if name not in METADATA}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", None),
        ("zero", 0),
        ("text", "word"),
        ("empty list", []),
        ("list", [1, "two", None]),
        ("tuple", [1, 2]),
        ("true", True),
        ("model itself", {"name": "m", "size": 2}),
        ("array itself", [0, 1, 2]),
    ],
)
def test_result_that_is_no_dict_comes_as_data(
    gateway: RunningGateway, kind: str, expected: Any
) -> None:
    """Anything but a dict is put into `data`, beside the metadata."""
    response = gateway.run("kinds", KIND=kind)
    assert {"data": expected} == own_fields(response)
    assert METADATA <= response.json().keys()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bytes", "AP9hYg=="),
        ("bytearray", "YWI="),
        ("set", [7]),
        ("datetime", "2024-02-29T12:30:01+00:00"),
        ("date", "2024-02-29"),
        ("uuid", "00000000-0000-0000-0000-000000000005"),
        ("enum", "red"),
        ("decimal", "1.50"),
        ("path", "a/b"),
        ("model", {"name": "m", "size": 2}),
        ("dataclass", {"width": 3, "model": {"name": "m", "size": 2}}),
        ("float32", 0.5),
        ("int64", 2**40),
        ("numpy bool", True),
        ("array", [[0, 1, 2], [3, 4, 5]]),
        ("array of floats", [1.5, None, None]),
        ("strided array", [0, 2, 4]),
        ("array of texts", ["a", "b"]),
        ("array of nothing", []),
        ("half floats", [0.5]),
        ("numpy datetime", "2024-02-29T12:00:00"),
        ("array of objects", [1, "b", None]),
        ("unicode", "ș\U0001f600\0\u2028"),
        ("named tuple", [1, 2]),
        ("big number", 2**70),
    ],
)
def test_value_of_any_kind_is_encoded(gateway: RunningGateway, kind: str, expected: Any) -> None:
    """What endpoints commonly hold becomes plain JSON."""
    assert {"value": expected} == own_fields(gateway.run("kinds", KIND=kind))


def test_numbers_that_json_has_not_become_null(gateway: RunningGateway) -> None:
    """NaN and infinities are `null`: the answer is strict JSON."""
    response = gateway.run("kinds", KIND="nan")
    assert {"value": None, "more": [None, None]} == own_fields(response)
    assert "NaN" not in response.text
    assert "Infinity" not in response.text


def test_keys_that_are_no_text_become_text(gateway: RunningGateway) -> None:
    """Numbers as keys are written as JSON writes them."""
    assert {"1": "one", "2.5": "more"} == own_fields(gateway.run("kinds", KIND="number keys"))


def test_metadata_never_overrides_the_endpoints_fields(gateway: RunningGateway) -> None:
    """A field that the endpoint set is the endpoint's."""
    answer = gateway.run("kinds", KIND="own time").json()
    expected = {"time": "mine", "ver": 1, "ver_lib": None, "signature": "me", "worker_id": [],
                "call_id": {}}  # fmt: skip
    assert expected == answer


def test_field_named_error_is_the_endpoints_business(gateway: RunningGateway) -> None:
    """An endpoint may answer with a field `ERROR` of its own."""
    assert {"ERROR": "a field of mine"} == own_fields(gateway.run("kinds", KIND="own error"))


def test_large_body_arrives_whole(gateway: RunningGateway) -> None:
    """Ten megabytes reach the endpoint."""
    assert TEN_MB == gateway.run("bulk", TEXT="x" * TEN_MB).json()["received"]


def test_large_reply_arrives_whole(gateway: RunningGateway) -> None:
    """Ten megabytes come back."""
    text = gateway.run("bulk", SIZE=TEN_MB).json()["text"]
    assert TEN_MB == len(text)
    assert {"y"} == set(text)


def test_large_reply_to_a_client_that_does_not_read_holds_no_worker(
    gateway: RunningGateway,
) -> None:
    """While one client leaves ten megabytes unread, the only worker answers others."""
    with RawClient(gateway.port) as client:
        client.send_json("/run/bulk", {"SIZE": TEN_MB})
        eventually(lambda: gateway.servers()["bulk"]["busy_workers"] == 0)
        assert 5 == gateway.run("bulk", TEXT="hello", timeout_s=5).json()["received"]
        assert TEN_MB == len(client.read_answer().json()["text"])


def test_connection_is_kept_and_used_again(gateway: RunningGateway) -> None:
    """Many requests, refused ones among them, go over one connection in their order."""
    with RawClient(gateway.port) as client:
        for number in range(50):
            name = "mirror" if number % 5 else "nobody"
            client.send_json("/run", {"SIGNATURE": name, "N": number})
            answer = client.read_answer()
            assert (200 if number % 5 else 404) == answer.status_code
            if number % 5:
                assert number == answer.json()["inputs"]["N"]


def test_pipelined_requests_are_answered_in_order(gateway: RunningGateway) -> None:
    """Requests sent without waiting get their answers one after the other (RFC 9112)."""
    with RawClient(gateway.port) as client:
        for number in range(10):
            client.send_json("/run/mirror", {"N": number})
        found = [client.read_answer().json()["inputs"]["N"] for _ in range(10)]
    assert list(range(10)) == found


def test_old_client_is_answered_and_the_connection_closed(gateway: RunningGateway) -> None:
    """HTTP/1.0 without keep-alive ends after one answer."""
    with RawClient(gateway.port) as client:
        client.send(b"GET /run/mirror HTTP/1.0\r\n\r\n")
        assert 200 == client.read_answer("GET").status_code
        assert b"" == client.read_rest()


def test_head_of_a_probe_has_no_body(gateway: RunningGateway) -> None:
    """HEAD says how long the body would be, and sends none."""
    with RawClient(gateway.port) as client:
        client.send(head("HEAD", "/v1/live") + head("GET", "/v1/live", ("Connection", "close")))
        first = client.read_answer("HEAD")
        assert (200, b"") == (first.status_code, first.content)
        assert client.read_answer("GET").json()["live"]


def test_concurrent_requests_each_get_their_own_answer(gateway: RunningGateway) -> None:
    """Two hundred callers at once: every one gets what it asked for."""

    def ask(number: int) -> tuple[int, Any, str]:
        response = requests.post(
            gateway.url + "/run",
            json={"SIGNATURE": "mirror", "N": number},
            headers={"X-Request-Id": f"caller-{number}"},
            timeout=60,
        )
        answered = response.json().get("inputs", {}).get("N")
        return response.status_code, answered, response.headers["X-Request-Id"]

    with ThreadPoolExecutor(CALLERS) as pool:
        found = list(pool.map(ask, range(CALLERS)))
    assert [(200, number, f"caller-{number}") for number in range(CALLERS)] == found


def test_client_that_leaves_while_queued_is_never_executed(gateway: RunningGateway) -> None:
    """A request whose caller has gone before its turn is dropped."""
    gate = Gate(gateway.base_folder)
    with ThreadPoolExecutor(1) as pool, gate.closed():
        first = pool.submit(gateway.run, "gated", ID="first")
        gate.wait_for("first")
        with RawClient(gateway.port) as client:
            client.send_json("/run/gated", {"ID": "left"})
            eventually(lambda: gateway.servers()["gated"]["queue"] == 1)
        eventually(lambda: gateway.servers()["gated"]["abandoned"] == 1)
    assert 200 == first.result().status_code
    assert 200 == gateway.run("gated", ID="last").status_code
    assert ["first", "last"] == gate.executed()


def test_client_that_leaves_while_executing_harms_nobody(gateway: RunningGateway) -> None:
    """The worker finishes what it began and takes the next request."""
    gate = Gate(gateway.base_folder)
    before = gateway.servers()["gated"]["worker_pids"]
    with gate.closed(), RawClient(gateway.port) as client:
        client.send_json("/run/gated", {"ID": "deserter"})
        gate.wait_for("deserter")
    assert 200 == gateway.run("gated", ID="successor").status_code
    assert before == gateway.servers()["gated"]["worker_pids"]


def test_unknown_kind_is_the_endpoints_own_error(gateway: RunningGateway) -> None:
    """A `KeyError` of `_predict` is a fault of the server, unlike one of `_pre_process`."""
    assert "KeyError" in check_error("endpoint_error", gateway.run("kinds", KIND="?"))["ERROR"]
