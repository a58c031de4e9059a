"""How a request may be written, and what comes back with every answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient, head

pytestmark = pytest.mark.shares_gateway

FIELDS = {"SIGNATURE": "mirror", "WORD": "şi & co", "EMPTY": ""}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One endpoint that tells what it was asked; a version of the application."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "app_ver.py").write_text('__VER__ = "4.5.6"\n')
    with shared_gateway(
        folder, {"mirror": {"NR_WORKERS": 2}}, {"mirror": MIRROR}, environment={"TZ": "Etc/GMT-14"}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def strict_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Two origins may read answers in a browser."""
    with shared_gateway(
        tmp_path_factory.mktemp("origins"),
        {"mirror": {}},
        {"mirror": MIRROR},
        CORS_ORIGINS=["https://a.example", "https://b.example"],
    ) as running:
        yield running


def inputs_of(response: requests.Response) -> Any:
    """Return what the endpoint says that it was given."""
    assert 200 == response.status_code, response.text
    return response.json()["inputs"]


def test_get_with_a_query_is_answered_like_post(gateway: RunningGateway) -> None:
    """The fields of the query string are the inputs; values are text."""
    response = requests.get(gateway.url + "/run", params=FIELDS, timeout=60)
    assert FIELDS == inputs_of(response)


def test_form_is_answered_like_json(gateway: RunningGateway) -> None:
    """A form's fields are the inputs."""
    assert FIELDS == inputs_of(requests.post(gateway.url + "/run", data=FIELDS, timeout=60))


def test_post_with_a_query_and_no_body_is_read(gateway: RunningGateway) -> None:
    """A POST without a body has its fields in the query string."""
    assert FIELDS == inputs_of(requests.post(gateway.url + "/run", params=FIELDS, timeout=60))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",  # what `curl -d` says
        None,
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
    ],
)
def test_json_object_is_read_under_the_types_that_clients_send_it_with(
    gateway: RunningGateway, content_type: str | None
) -> None:
    """A body that starts with a brace is JSON."""
    response = requests.post(
        gateway.url + "/run",
        data='{"SIGNATURE": "mirror", "WORD": "a=b&c"}',
        headers={"Content-Type": content_type} if content_type else {},
        timeout=60,
    )
    assert "a=b&c" == inputs_of(response)["WORD"]


def test_signature_in_the_path_needs_none_in_the_body(gateway: RunningGateway) -> None:
    """`/run/<signature>` is the same route with the name in the path, for each kind of request.

    The endpoint finds the name among its inputs all the same.
    """
    name = {"SIGNATURE": "mirror"}
    assert {"X": 1, **name} == inputs_of(gateway.post("/run/mirror", {"X": 1}))
    assert {"X": "1", **name} == inputs_of(gateway.get("/run/mirror?X=1"))
    by_form = requests.post(gateway.url + "/run/mirror", data={"X": "1"}, timeout=60)
    assert {"X": "1", **name} == inputs_of(by_form)
    assert name == inputs_of(requests.post(gateway.url + "/run/mirror", timeout=60))
    assert name == inputs_of(gateway.get("/run/m%69rror"))


def test_chunked_body_is_read_whole(gateway: RunningGateway) -> None:
    """A body in chunks is put together, however it was cut."""
    pieces = [b'{"SIGNATURE": "mir', b"r", b'or", "X": [1', b", 2]}"]
    response = requests.post(gateway.url + "/run", data=iter(pieces), timeout=60)
    assert [1, 2] == inputs_of(response)["X"]


def test_body_after_a_pause_is_asked_for(gateway: RunningGateway) -> None:
    """Who sends `Expect: 100-continue` is told to go on (RFC 9110, section 10.1.1)."""
    body = b'{"SIGNATURE": "mirror"}'
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", ("Expect", "100-continue"), length=len(body)))
        client.send(body)
        assert 200 == client.read_answer().status_code


@pytest.mark.parametrize("text", ["ăîșț", "日本語", "\U0001f600", "a\u0000b", "\u2028", '"\\\n'])
def test_text_of_any_script_comes_back_unchanged(gateway: RunningGateway, text: str) -> None:
    """Unicode survives the way there and back, in keys as in values."""
    assert {text: text, "SIGNATURE": "mirror"} == inputs_of(
        gateway.post("/run", {text: text, "SIGNATURE": "mirror"})
    )


@pytest.mark.parametrize("value", [0, -1, 1.5, 1e300, 2**53, True, None, [], {}, [[{"a": [0]}]]])
def test_value_of_any_kind_reaches_the_endpoint(gateway: RunningGateway, value: Any) -> None:
    """JSON values arrive as what they are."""
    assert value == inputs_of(gateway.run("mirror", VALUE=value))["VALUE"]


def test_every_answer_has_the_metadata(gateway: RunningGateway) -> None:
    """Time, versions, signature, worker and call are beside the endpoint's own fields."""
    answer = gateway.run("mirror").json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", answer["time"])
    assert ("4.5.6", "mirror") == (answer["ver"], answer["signature"])
    assert re.fullmatch(r"\d+\.\d+.*", answer["ver_lib"])
    assert answer["worker_id"] in {0, 1}
    assert answer["call_id"] >= 1


def test_time_is_that_of_the_configured_zone(gateway: RunningGateway) -> None:
    """`TZ` decides what the clock shows in answers, errors and administration alike."""
    there = datetime.now(timezone(timedelta(hours=14)))
    for path in ("/run/mirror", "/run/nobody", "/list_servers", "/v1/live", "/no/such/route"):
        told = datetime.fromisoformat(gateway.get(path).json()["time"] + "+14:00")
        assert timedelta(seconds=60) > abs(told - there)


def test_errors_and_administration_have_the_version(gateway: RunningGateway) -> None:
    """Every answer of the engine says which version of the application it is."""
    assert "4.5.6" == gateway.run("nobody").json()["ver"]
    assert "4.5.6" == gateway.get("/list_servers").json()["ver"]
    assert "4.5.6" == gateway.get("/v1/live").json()["ver"]


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "01H/x.y:z_1+=", "7"])
def test_sane_request_id_of_the_caller_is_kept(gateway: RunningGateway, given: str) -> None:
    """The caller's own id comes back, on success and on failure."""
    for path in ("/run/mirror", "/run/nobody", "/no/such/route"):
        response = requests.get(gateway.url + path, headers={"X-Request-Id": given}, timeout=60)
        assert given == response.headers["X-Request-Id"]


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "<script>", 'a"b', "a\tb", "\xe9", "a;b"])
def test_other_request_id_is_replaced(gateway: RunningGateway, given: str) -> None:
    """What could break a log line or a page is not kept; the answer has an id of our own."""
    response = requests.get(
        gateway.url + "/run/mirror", headers={"X-Request-Id": given.encode("latin-1")}, timeout=60
    )
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", response.headers["X-Request-Id"])


def test_request_ids_are_unique(gateway: RunningGateway) -> None:
    """No two requests get the same id."""
    ids = [gateway.get("/run/mirror").headers["X-Request-Id"] for _ in range(20)]
    assert 20 == len(set(ids))


def test_server_timing_has_every_phase(gateway: RunningGateway) -> None:
    """`Server-Timing` says in milliseconds where the time went."""
    timing = gateway.run("mirror").headers["Server-Timing"]
    found = re.findall(r"(\w+);dur=([0-9.]+)", timing)
    assert ["queue", "pre", "predict", "post"] == [name for name, _ in found]
    assert all(0 <= float(value) < 5000 for _, value in found)


def test_system_status_is_a_reserved_signature(gateway: RunningGateway) -> None:
    """The signature `SYSTEM_STATUS` is answered like `/system_status`."""
    by_run, by_path = gateway.run("SYSTEM_STATUS").json(), gateway.get("/system_status").json()
    assert by_path.keys() == by_run.keys()
    assert by_path["SYSTEM_STATUS"].keys() == by_run["SYSTEM_STATUS"].keys()
    by_get = gateway.get("/run?SIGNATURE=SYSTEM_STATUS").json()
    assert "mirror" in by_get["SYSTEM_STATUS"]["mem_servers"]


@pytest.mark.parametrize("path", ["/run/mirror", "/run/nobody", "/run"])
def test_any_origin_may_read_by_default(gateway: RunningGateway, path: str) -> None:
    """The data path, errors included, answers pages of any site."""
    for headers in ({}, {"Origin": "https://page.example"}):
        response = requests.get(gateway.url + path, headers=headers, timeout=60)
        assert "*" == response.headers["Access-Control-Allow-Origin"]


def test_preflight_is_answered_without_a_body(gateway: RunningGateway) -> None:
    """A browser may ask first, and is told what it may send."""
    response = requests.options(
        gateway.url + "/run",
        headers={
            "Origin": "https://page.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
        timeout=60,
    )
    assert (204, b"") == (response.status_code, response.content)
    assert "*" == response.headers["Access-Control-Allow-Origin"]
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("path", ["/list_servers", "/notifications", "/get_paths"])
def test_administration_is_not_shared_with_other_sites(gateway: RunningGateway, path: str) -> None:
    """Administration has no CORS headers at all."""
    response = requests.get(
        gateway.url + path, headers={"Origin": "https://page.example"}, timeout=60
    )
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example", "https://a.example"),
        ("https://b.example", "https://b.example"),
        ("https://evil.example", None),
        ("http://a.example", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_listed_origins_only_may_read(
    strict_gateway: RunningGateway, method: str, origin: str | None, allowed: str | None
) -> None:
    """With `CORS_ORIGINS` each listed origin is named, and caches are told that it matters."""
    response = requests.request(
        method,
        strict_gateway.url + "/run/mirror",
        headers={"Origin": origin} if origin else {},
        timeout=60,
    )
    assert allowed == response.headers.get("Access-Control-Allow-Origin")
    if origin is not None:
        assert "Origin" == response.headers["Vary"]
