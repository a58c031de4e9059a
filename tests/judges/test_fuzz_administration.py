"""Administration: whatever an administrator sends, no field and no encoding of it causes a 500."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.testing import RunningGateway
from tests.judges.mutated import JSON_VALUES, mutated

pytestmark = [pytest.mark.quick, pytest.mark.shares_gateway]

ROUTES = [
    "/list_servers", "/system_status", "/get_paths", "/notifications", "/start_server",
    "/kill_server", "/restart_server", "/update_workers", "/support_update_status", "/shutdown",
]  # fmt: skip
NAMES = st.sampled_from(["SIGNATURE", "REASON", "LIMIT", "NR_WORKERS", "msg", ""])
TEXTS = st.sampled_from(["nobody", "", "-1", "1e9", "9" * 30, "nan", "\0", "%00"]) | st.text(
    st.characters(codec="utf-8"), max_size=10
)
FIELDS = st.dictionaries(NAMES, TEXTS | JSON_VALUES, max_size=3)
FORM = "application/x-www-form-urlencoded"


def as_json(fields: dict[str, Any]) -> bytes:
    """Return fields as a client writes them."""
    return json.dumps({"SIGNATURE": "nobody", **fields}).encode("utf-8", "replace")


def as_form(fields: dict[str, Any]) -> bytes:
    """Return fields as a form, with nothing escaped."""
    pairs = {"SIGNATURE": "nobody", **fields}.items()
    return "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")


def as_multipart(fields: dict[str, Any]) -> bytes:
    """Return fields as a browser sends a form with files."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"SIGNATURE": "nobody", **fields}.items()
    ]
    return "".join([*parts, "--edge--\r\n"]).encode("utf-8", "replace")


BODIES = st.one_of(
    st.tuples(st.just("application/json"), mutated(FIELDS.map(as_json))),
    st.tuples(st.sampled_from([FORM, f"{FORM}; charset=x"]), mutated(FIELDS.map(as_form))),
    st.tuples(
        st.sampled_from(
            ["multipart/form-data; boundary=edge", "multipart/form-data", "multipart/x"]
        ),
        mutated(FIELDS.map(as_multipart)),
    ),
    st.tuples(st.sampled_from(["", ";", "text/plain", "/", "application/x+json"]), st.binary()),
)
QUERIES = st.just("") | st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=30
).map(lambda text: "?" + text)


class Administrator:
    """Sends anything at all, with the token."""

    def __init__(self, gateway: RunningGateway) -> None:
        token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def send(self, method: str, target: str, content_type: str, body: bytes) -> tuple[int, Any]:
        """Return status and value of the answer."""
        headers = {**self._headers, "Content-Type": content_type}
        self._connection.request(method, target, body, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        """Leave."""
        self._connection.close()


@pytest.fixture(scope="module")
def administrator(gateway: RunningGateway) -> Iterator[Administrator]:
    """One for all requests."""
    administrator = Administrator(gateway)
    yield administrator
    administrator.close()


@settings(deadline=None, database=None)
@given(
    method=st.sampled_from(["POST", "POST", "GET"]),
    route=st.sampled_from(ROUTES),
    query=QUERIES,
    content=BODIES,
)
def test_administration_is_never_at_fault(
    administrator: Administrator, method: str, route: str, query: str, content: tuple[str, bytes]
) -> None:
    """Each answer is a JSON object that does not say that the gateway failed."""
    status, fields = administrator.send(method, route + query, *content)
    assert isinstance(fields, dict)
    assert status < 500, fields


def test_field_that_is_nested_deeply_is_no_fault(administrator: Administrator) -> None:
    """What the decoder reads, administration can handle."""
    body = b'{"SIGNATURE":"nobody","REASON":' + b"[" * 1000 + b"]" * 1000 + b"}"
    status, fields = administrator.send("POST", "/kill_server", "application/json", body)
    assert status < 500, fields
