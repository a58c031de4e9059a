"""The error table, rows 400 to 422: what is wrong with a request, told by the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import MIRROR, STRICT
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient, head

pytestmark = pytest.mark.shares_gateway

MAX_BODY_BYTES = 1024 * 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Two endpoints, small bodies."""
    with shared_gateway(
        tmp_path_factory.mktemp("requests"),
        {"strict": {}, "mirror": {}, "resting": {"SERVER_CLASS": "mirror", "DISABLED": True}},
        {"mirror": MIRROR, "strict": STRICT},
        MAX_BODY_BYTES=MAX_BODY_BYTES,
    ) as running:
        yield running


def send(gateway: RunningGateway, path: str, body: bytes, **headers: str) -> requests.Response:
    """Send a POST with a body of any kind; underscores in header names are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(gateway.url + path, data=body, headers=named, timeout=60)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"SIGNATURE": "mirror",}', id="trailing comma"),
        pytest.param(b'{"SIGNATURE": "mirror"} {}', id="trailing text"),
        pytest.param(b"{'SIGNATURE': 'mirror'}", id="single quotes"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": NaN}', id="NaN"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": -Infinity}', id="infinity"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": 01}', id="leading zero"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": tru}', id="wrong word"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": "\t"}', id="control character in a text"),
        pytest.param(b'{"SIGNATURE": "mirror", "X": "\xff"}', id="not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"SIGNATURE": "mirror"}', id="byte order mark"),
        pytest.param('{"SIGNATURE": "mirror"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b"no JSON at all", id="plain text"),
    ],
)
@pytest.mark.parametrize("path", ["/run", "/run/mirror"])
def test_body_that_is_not_json_is_refused_with_its_position(
    gateway: RunningGateway, path: str, body: bytes
) -> None:
    """What is not strict JSON is `bad_json`, whether the gateway or the worker reads it."""
    answer = send(gateway, path, body, Content_Type="application/json")
    message = check_error("bad_json", answer)["ERROR"]
    assert message.startswith("The body is not valid JSON: ")
    assert any(char.isdigit() for char in message), message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/run/mirror", b'{"SIGNATURE": "mirror"'),
        ("/run/mirror", b'{"SIGNATURE": "mirror", "X": "\\ud800"}'),
        ("/run", b'{"SIGNATURE": "mirror"'),
        ("/run", b'{"SIGNATURE": "mirror", "X": "\\ud800"}'),
    ],
)
def test_body_that_is_cut_off_is_refused_with_its_position(
    gateway: RunningGateway, path: str, body: bytes
) -> None:
    """Half a body, and half of a pair of surrogates, are told apart and placed."""
    answer = send(gateway, path, body, Content_Type="application/json")
    message = check_error("bad_json", answer)["ERROR"]
    assert any(char.isdigit() for char in message), message


def test_body_that_is_empty_is_bad_json(gateway: RunningGateway) -> None:
    """Nothing is not JSON, where JSON was announced."""
    for path in ("/run", "/run/mirror"):
        check_error("bad_json", send(gateway, path, b"", Content_Type="application/json"))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"[1, 2]", "array", id="array"),
        pytest.param(b'"mirror"', "str", id="string"),
        pytest.param(b"5", "int", id="number"),
        pytest.param(b"null", "null", id="null"),
        pytest.param(b"true", "bool", id="boolean"),
    ],
)
def test_body_that_is_not_an_object_is_bad_json(
    gateway: RunningGateway, body: bytes, kind: str
) -> None:
    """JSON that is not an object has no fields to read, and the answer says what it is."""
    answer = send(gateway, "/run", body, Content_Type="application/json")
    assert kind in check_error("bad_json", answer)["ERROR"]


@pytest.mark.parametrize("path", ["/run", "/run/mirror"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
def test_body_nested_too_deeply_is_bad_json(
    gateway: RunningGateway, path: str, opening: bytes
) -> None:
    """A hundred thousand levels are refused, and nothing runs out of stack."""
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * 100_000 + b"0" + closing * 100_000
    body = b'{"SIGNATURE": "mirror", "X": ' + deep + b"}"
    check_error("bad_json", send(gateway, path, body, Content_Type="application/json"))
    assert 200 == gateway.run("mirror").status_code


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="missing"),
        pytest.param({"signature": "mirror"}, id="lower case"),
        pytest.param({"SIGNATURE": None}, id="null"),
        pytest.param({"SIGNATURE": 5}, id="number"),
        pytest.param({"SIGNATURE": True}, id="boolean"),
        pytest.param({"SIGNATURE": ["mirror"]}, id="array"),
        pytest.param({"SIGNATURE": {"name": "mirror"}}, id="object"),
    ],
)
def test_signature_that_is_not_a_string_is_missing_signature(
    gateway: RunningGateway, fields: dict[str, Any]
) -> None:
    """Without a `SIGNATURE`, or with one that is no string, nobody can be asked."""
    assert "SIGNATURE" in check_error("missing_signature", gateway.post("/run", fields))["ERROR"]


def test_request_without_body_or_query_is_missing_signature(gateway: RunningGateway) -> None:
    """A bare GET and a POST without a body are told what to add."""
    check_error("missing_signature", gateway.get("/run"))
    answer = requests.post(gateway.url + "/run", timeout=60)
    check_error("missing_signature", answer)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " mirror",
        "mirror\n",
        "MIRROR",
        "mirror\0",
        "../mirror",
        "mirror.py",
        "M" * 10_000,
        "\uff4d",
    ],
)
def test_signature_of_no_endpoint_is_unknown_and_lists_the_available(
    gateway: RunningGateway, signature: str
) -> None:
    """Only an exact name reaches an endpoint; the answer lists those that take requests."""
    answer = check_error("unknown_signature", gateway.run(signature))
    assert ["strict", "mirror"] == answer["available"]
    assert 400 > len(answer["ERROR"])


def test_path_of_no_endpoint_is_unknown_signature(gateway: RunningGateway) -> None:
    """`/run/<signature>` knows the same names."""
    answer = check_error("unknown_signature", gateway.post("/run/nobody"))
    assert ["strict", "mirror"] == answer["available"]
    check_error("unknown_signature", gateway.post("/run//"))
    check_error("unknown_signature", gateway.post("/run/mirror/more"))


@pytest.mark.parametrize("path", ["/", "/no/such/route", "/run2", "/RUN", "/%2e%2e/etc/passwd"])
def test_route_that_is_not_there_is_not_found(gateway: RunningGateway, path: str) -> None:
    """An unknown route is told so in JSON."""
    check_error("not_found", gateway.get(path))
    check_error("not_found", gateway.post(path))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("PUT", "/run", {"GET", "POST"}, id="put run"),
        pytest.param("DELETE", "/run/mirror", {"GET", "POST"}, id="delete run"),
        pytest.param("POST", "/v1/live", {"GET", "HEAD"}, id="post probe"),
        pytest.param("DELETE", "/v1/ready", {"GET", "HEAD"}, id="delete probe"),
        pytest.param("DELETE", "/list_servers", {"GET", "POST"}, id="delete listing"),
        pytest.param("PUT", "/kill_server", {"GET", "POST"}, id="put administration"),
    ],
)
def test_method_of_another_route_is_not_allowed_and_allow_says_which_are(
    gateway: RunningGateway, method: str, path: str, allowed: set[str]
) -> None:
    """405 carries `Allow` (RFC 9110, section 15.5.6)."""
    answer = requests.request(method, gateway.url + path, json={}, timeout=60)
    check_error("method_not_allowed", answer)
    assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_body_too_large_by_its_length_is_refused_before_it_is_sent(
    gateway: RunningGateway,
) -> None:
    """The head alone is enough for 413; nobody waits for the body."""
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", length=MAX_BODY_BYTES + 1))
        answer = client.read_answer()
        assert MAX_BODY_BYTES == check_error("body_too_large", answer)["max_body_bytes"]
        assert "close" == answer.headers["Connection"]


def test_body_too_large_in_chunks_is_refused_when_it_is(gateway: RunningGateway) -> None:
    """A chunked body has no length to judge it by; it is refused where it passes the limit."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with RawClient(gateway.port) as client:
        client.send(head("POST", "/run", ("Transfer-Encoding", "chunked")))
        client.send(chunk * (MAX_BODY_BYTES // 0x10000 + 1))
        check_error("body_too_large", client.read_answer())


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "in chunks"])
def test_answer_to_a_body_too_large_reaches_a_client_that_goes_on_sending(
    gateway: RunningGateway, chunked: bool
) -> None:
    """An ordinary client that sends everything gets the answer, not a broken connection."""
    body = b"x" * (8 * MAX_BODY_BYTES)
    data = iter([body]) if chunked else body
    answer = requests.post(gateway.url + "/run", data=data, timeout=60)
    check_error("body_too_large", answer)


def test_largest_body_is_accepted(gateway: RunningGateway) -> None:
    """A body of exactly `MAX_BODY_BYTES` is read."""
    start, end = b'{"SIGNATURE": "strict", "X": "', b'"}'
    body = start + b"x" * (MAX_BODY_BYTES - len(start) - len(end)) + end
    answer = send(gateway, "/run", body, Content_Type="application/json")
    assert (200, True) == (answer.status_code, answer.json()["accepted"])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content_Type": "text/plain"}, id="plain text"),
        pytest.param({"Content_Type": "application/xml"}, id="XML"),
        pytest.param({"Content_Type": "nonsense"}, id="nonsense"),
        pytest.param({"Content_Type": "application/json; charset=latin-1"}, id="JSON, not UTF-8"),
        pytest.param({"Content_Type": "application/json", "Content_Encoding": "gzip"}, id="gzip"),
        pytest.param({"Content_Type": "application/json", "Content_Encoding": "br"}, id="brotli"),
    ],
)
def test_body_that_no_decoder_takes_is_unsupported(
    gateway: RunningGateway, headers: dict[str, str]
) -> None:
    """Neither other content types nor compressed bodies are guessed at."""
    answer = send(gateway, "/run", b'["SIGNATURE", "mirror"]', **headers)
    body = check_error("unsupported_media_type", answer)
    value = headers.get("Content_Encoding", headers["Content_Type"].partition(";")[0])
    reasons = (value, "charset", "is not a media type")
    assert any(reason in body["ERROR"] for reason in reasons)


def test_administration_with_another_content_type_is_unsupported(gateway: RunningGateway) -> None:
    """The administration routes read JSON and forms, nothing else."""
    token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
    answer = send(
        gateway, "/start_server", b"<all/>", Content_Type="application/xml",
        Authorization=f"Bearer {token}",
    )  # fmt: skip
    check_error("unsupported_media_type", answer)


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        pytest.param("value", "the value is wrong", id="ValueError"),
        pytest.param("type", "the type is wrong", id="TypeError"),
        pytest.param("key", "'WANTED' is missing", id="KeyError"),
    ],
)
def test_inputs_that_pre_processing_refuses_are_bad_input(
    gateway: RunningGateway, refusal: str, reason: str
) -> None:
    """`ValueError`, `TypeError` and `KeyError` of `_pre_process` are the caller's fault."""
    body = check_error("bad_input", gateway.run("strict", REFUSE=refusal))
    assert f"strict refused the inputs: {reason}" == body["ERROR"]


def test_other_failure_of_pre_processing_is_the_endpoints(gateway: RunningGateway) -> None:
    """Any other exception of `_pre_process` is a fault of the server's side."""
    body = check_error("endpoint_error", gateway.run("strict", REFUSE="other"))
    assert "LookupError: pre-processing broke" in body["ERROR"]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ""])
def test_request_timeout_that_is_no_time_is_a_bad_request(
    gateway: RunningGateway, value: str
) -> None:
    """`X-Request-Timeout` is a number of seconds above 0."""
    answer = requests.post(
        gateway.url + "/run",
        json={"SIGNATURE": "mirror"},
        headers={"X-Request-Timeout": value},
        timeout=60,
    )
    assert "X-Request-Timeout" in check_error("bad_request", answer)["ERROR"]
