"""Details of HTTP on a running gateway: slashes, repeated fields, character sets, time limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import BULK, MIRROR
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

SHORT_S = 2.0  # the client's own patience is 10
FORM = "application/x-www-form-urlencoded"
ROUTES = [
    "/run?SIGNATURE=mirror", "/run/mirror?A=1", "/v1/live", "/v1/ready", "/list_servers",
    "/get_paths", "/notifications", "/quarantine", "/start_server", "/create_token", "/nowhere",
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Little patience, and little memory for answers that are not read."""
    with shared_gateway(
        tmp_path_factory.mktemp("details"),
        {"mirror": {}, "bulk": {}},
        {"mirror": MIRROR, "bulk": BULK},
        HEAD_TIMEOUT=SHORT_S,
        BODY_TIMEOUT=SHORT_S,
        IDLE_TIMEOUT=SHORT_S,
        MAX_BUFFERED_MB=30,
    ) as running:
        yield running


def administer(gateway: RunningGateway, path: str, body: str) -> requests.Response:
    """Send a form with the administration token."""
    token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": FORM}
    return requests.post(gateway.url + path, data=body, headers=headers, timeout=60)


def shape(answer: requests.Response) -> tuple[int, Any, Any]:
    """Return what must not depend on a slash: status, fields, and the code of an error."""
    body = answer.json()
    return answer.status_code, sorted(body), body.get("code")


@pytest.mark.parametrize("route", ROUTES)
def test_slash_at_the_end_changes_nothing(gateway: RunningGateway, route: str) -> None:
    """A route is the same with it and without, and so is who may use it."""
    path, _, query = route.partition("?")
    assert shape(gateway.get(route)) == shape(gateway.get(f"{path}/?{query}"))
    fields = {"SIGNATURE": "mirror"}
    assert shape(gateway.post(route, fields)) == shape(gateway.post(f"{path}/?{query}", fields))


@pytest.mark.parametrize("path", ["/run/mirror/", "/v1/live/", "/notifications/", "/quarantine/"])
def test_reading_with_a_slash_is_allowed(gateway: RunningGateway, path: str) -> None:
    """Reading or changing is a matter of the route."""
    assert 200 == gateway.get(path).status_code


@pytest.mark.parametrize("path", ["/run/", "/notifications/", "/v1/ready/"])
def test_slash_means_nothing_on_a_servers_own_port(gateway: RunningGateway, path: str) -> None:
    """The same routes, the same rule."""
    port = gateway.servers()["mirror"]["port"]
    assert 200 == requests.get(f"http://127.0.0.1:{port}{path}", timeout=60).status_code


@pytest.mark.parametrize("path", ["/shutdown%2f", "/v1%2Flive", "/run/mirror%2F", "/%2frun"])
def test_escaped_slash_is_none(gateway: RunningGateway, path: str) -> None:
    """What a proxy let pass as another path is not executed as this one (RFC 3986, 2.2)."""
    for signature in ("SAFE_KILL_SERVER_CMD", "mirror"):
        assert 404 == gateway.post(path, {"SIGNATURE": signature}).status_code
    assert 200 == gateway.get("/v1/live").status_code


@pytest.mark.parametrize("kind", ["query", "form"])
def test_field_that_is_repeated_is_a_list(gateway: RunningGateway, kind: str) -> None:
    """As it is in a multipart request."""
    encoded = "A=1&B=x&A=2&A="
    if kind == "query":
        answer = gateway.get(f"/run/mirror?{encoded}")
    else:
        answer = requests.post(gateway.url + "/run/mirror", encoded.encode(),
                               headers={"Content-Type": FORM}, timeout=60)  # fmt: skip
    inputs = answer.json()["inputs"]
    assert (["1", "2", ""], "x") == (inputs["A"], inputs["B"])


def test_endpoint_that_is_named_twice_is_none(gateway: RunningGateway) -> None:
    """Neither the first nor the last is guessed."""
    check_error("missing_signature", gateway.get("/run?SIGNATURE=mirror&SIGNATURE=bulk"))
    check_error("bad_input", gateway.get("/notifications?SIGNATURE=mirror&SIGNATURE=bulk"))


def test_form_of_administration_may_repeat_a_field(gateway: RunningGateway) -> None:
    """So a list can be written as a form."""
    answer = administer(gateway, "/create_token", "NAME=n&SCOPES=run:mirror&SCOPES=run:bulk")
    assert (200, ["run:mirror", "run:bulk"]) == (answer.status_code, answer.json().get("SCOPES"))


def test_form_of_administration_is_read_strictly(gateway: RunningGateway) -> None:
    """Bytes that are no text are not replaced by others."""
    check_error("bad_request", administer(gateway, "/create_token", "NAME=%ff&SCOPES=run:*"))


@pytest.mark.parametrize("path", ["/v1/ready?signature=", "/v1/ready?SIGNATURE=nobody"])
def test_probe_for_an_endpoint_that_does_not_exist_fails(
    gateway: RunningGateway, path: str
) -> None:
    """A variable that a script forgot to set is no reason to report ready."""
    check_error("unknown_signature", gateway.get(path))


def test_empty_signature_does_not_mean_all(gateway: RunningGateway) -> None:
    """Not in administration either."""
    check_error("bad_input", gateway.get("/notifications?SIGNATURE="))


@pytest.mark.parametrize("path", ["/run", "/notifications"])
@pytest.mark.parametrize(
    ("parameter", "status"),
    [("Charset=UTF8", 200), ('charset="us-ascii"', 200), ("CHARSET=utf-16", 415)],
)
def test_character_set_has_many_names(
    gateway: RunningGateway, path: str, parameter: str, status: int
) -> None:
    """Those of UTF-8 are read, in any case; others are refused instead of read as UTF-8."""
    headers = {"Content-Type": f"application/json; {parameter}"}
    body = '{"SIGNATURE": "mirror"}'
    answer = requests.post(gateway.url + path, body, headers=headers, timeout=60)
    assert status == answer.status_code


def test_time_limits_are_those_of_the_configuration(gateway: RunningGateway) -> None:
    """An idle connection is closed quietly; half a head and half a body are told so."""
    with ExitStack() as stack:

        def sending(data: bytes) -> RawClient:
            client = stack.enter_context(RawClient(gateway.port))
            client.send(data)
            return client

        idle = sending(head("GET", "/v1/live"))
        slow_head = sending(b"GET /v1/live HT")
        slow_body = sending(head("POST", "/run/mirror", length=10) + b"{")
        assert 200 == idle.read_answer().status_code
        assert 408 == slow_head.read_answer().status_code
        assert 408 == slow_body.read_answer().status_code
        assert b"" == idle.read_rest()


def test_memory_of_unread_answers_is_that_of_the_configuration(gateway: RunningGateway) -> None:
    """The second client that does not read is one too many."""
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(RawClient(gateway.port))
            client.send_json("/run/bulk", {"SIZE": 20_000_000})

        def cut() -> list[dict[str, Any]]:
            return [one for one in gateway.events if one["event"] == "slow_client_cut"]

        eventually(cut, what="one is cut")
    assert ("127.0.0.1", "gateway") == (cut()[0]["client"], cut()[0]["server"])
