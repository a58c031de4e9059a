"""JSONTestSuite: what has to be refused is refused, and what has to be read arrives unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from basic_inference_server.core.errors import BadJson
from basic_inference_server.testing import RunningGateway
from basic_inference_server.wire.json_codec import decode_object
from tests.judges.json_suite import read_suite

pytestmark = [pytest.mark.shares_gateway, pytest.mark.timeout(300)]

JSON = {"Content-Type": "application/json"}
TIMEOUT_S = 10.0
DEEP = "i_structure_500_nested_arrays"


@pytest.fixture(scope="module")
def suite() -> dict[str, bytes]:
    """Every case."""
    return read_suite()


def of_kind(suite: dict[str, bytes], kind: str) -> dict[str, bytes]:
    """Return the cases whose name says: must be read (y), refused (n), either (i)."""
    return {name: data for name, data in suite.items() if name.startswith(f"{kind}_")}


def wrapped(data: bytes) -> bytes:
    """Return a case as a field of a request."""
    return b'{"SIGNATURE":"echo","v":' + data + b"}"


def decoded(data: bytes) -> Any:
    """Return what the codec makes of it: the object, or the reason why there is none."""
    try:
        return decode_object(data)
    except BadJson as error:
        return str(error)


def test_codec_refuses_what_is_no_json(suite: dict[str, bytes]) -> None:
    """Every n_ case is a BadJson, raw and as a field."""
    cases = of_kind(suite, "n")
    assert {} == {
        name: data[:80]
        for name, data in cases.items()
        if isinstance(decoded(data), dict) or isinstance(decoded(wrapped(data)), dict)
    }


def test_codec_reads_what_is_json(suite: dict[str, bytes]) -> None:
    """Every y_ case is read, as an object or as a field, and means what it means elsewhere."""
    for name, data in of_kind(suite, "y").items():
        meaning = json.loads(data)
        if isinstance(meaning, dict):
            assert meaning == decoded(data), name
        else:
            assert "must be a JSON object" in decoded(data), name
        assert {"SIGNATURE": "echo", "v": meaning} == decoded(wrapped(data)), name


def test_codec_decides_about_the_rest(suite: dict[str, bytes]) -> None:
    """Every i_ case is read or a BadJson; nothing else is raised."""
    for data in of_kind(suite, "i").values():
        assert isinstance(decoded(data), (dict, str))
        assert isinstance(decoded(wrapped(data)), (dict, str))


class Client:
    """Sends bodies to a gateway on one connection."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._url = gateway.url
        self._session = requests.Session()

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer."""
        answer = self._session.post(self._url + path, body, headers=JSON, timeout=TIMEOUT_S)
        fields: dict[str, Any] = answer.json()
        return answer.status_code, fields

    def close(self) -> None:
        """Leave."""
        self._session.close()

    def refusal(self, path: str, body: bytes) -> tuple[int, str]:
        """Return status and code of the error."""
        status, fields = self.post(path, body)
        return status, fields.get("code", "")


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Iterator[Client]:
    """A client of the running gateway."""
    client = Client(gateway)
    yield client
    client.close()


@pytest.mark.parametrize("path", ["/run", "/run/echo"])
def test_gateway_refuses_what_is_no_json(
    client: Client, suite: dict[str, bytes], path: str
) -> None:
    """Every n_ case is 400 bad_json, raw and as a field, read by the gateway or by the worker."""
    found = {
        name: (client.refusal(path, data), client.refusal(path, wrapped(data)))
        for name, data in of_kind(suite, "n").items()
    }
    expected = ((400, "bad_json"), (400, "bad_json"))
    assert {} == {name: codes for name, codes in found.items() if codes != expected}


@pytest.mark.parametrize("path", ["/run", "/run/echo"])
def test_gateway_reads_what_is_json(client: Client, suite: dict[str, bytes], path: str) -> None:
    """Every y_ case reaches the endpoint as a field, and comes back as it was."""
    for name, data in of_kind(suite, "y").items():
        status, fields = client.post(path, wrapped(data))
        assert (200, json.loads(data)) == (status, fields["inputs"]["v"]), name


def test_gateway_reads_what_is_an_object(client: Client, suite: dict[str, bytes]) -> None:
    """A raw y_ case is taken when it is an object; one that is none is told that it has to be."""
    for name, data in of_kind(suite, "y").items():
        meaning = json.loads(data)
        status, fields = client.post("/run/echo", data)
        if isinstance(meaning, dict):
            expected = {**meaning, "SIGNATURE": "echo"}
            assert (200, expected) == (status, fields["inputs"]), name
        else:
            assert (400, "bad_json") == (status, fields["code"]), name
            assert "must be a JSON object" in fields["ERROR"], name


@pytest.mark.parametrize("path", ["/run", "/run/echo"])
def test_gateway_and_codec_agree_on_the_rest(
    client: Client, suite: dict[str, bytes], path: str
) -> None:
    """Every i_ case is read or 400, as the codec has it; none fails, none hangs."""
    for name, data in of_kind(suite, "i").items():
        status, fields = client.post(path, wrapped(data))
        expected = 200 if isinstance(decoded(wrapped(data)), dict) else 400
        assert expected == status, (name, fields)


def test_what_was_read_can_be_answered(client: Client, suite: dict[str, bytes]) -> None:
    """A value that is nested deeply is refused when it is read, or comes back."""
    status, fields = client.post("/run", wrapped(suite[DEEP]))
    assert status in {200, 400}, fields
