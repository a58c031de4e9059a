"""Fields that travel as base64: `BASE64_KEYS`, `BASE64_OUTPUTS` and `ENCODING`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.gateways import shared_gateway

pytestmark = pytest.mark.shares_gateway

READING = """
from basic_inference_server import FlaskWorker


class ReadingWorker(FlaskWorker):
    def _predict(self, inputs):
        value = inputs.get("VALUE")
        return {"kind": type(value).__name__, "size": len(value or ""), "value": value, "number": 5}
"""
OWN = ["kind", "size", "value", "number"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """An endpoint that says what it was given."""
    folder = tmp_path_factory.mktemp("base64")
    with shared_gateway(folder, {"reading": {}}, {"reading": READING}) as running:
        yield running


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"VALUE": "AP8=", "BASE64_KEYS": ["VALUE"]}, ["bytes", 2, "AP8=", 5], id="bytes"
        ),
        pytest.param(
            {"VALUE": "yJk=", "BASE64_KEYS": ["VALUE"], "ENCODING": "utf-8"},
            ["str", 1, "ș", 5],
            id="text",
        ),
        pytest.param(
            {"VALUE": "6Q==", "BASE64_KEYS": "VALUE", "ENCODING": "latin-1"},
            ["str", 1, "é", 5],
            id="one name, another encoding",
        ),
        pytest.param({"VALUE": "yJk=", "ENCODING": "utf-8"}, ["str", 4, "yJk=", 5], id="not named"),
        pytest.param({"VALUE": "ș", "BASE64_OUTPUTS": ["value"]}, ["str", 1, "yJk=", 5], id="back"),
        pytest.param(
            {"VALUE": "yJk=", "BASE64_KEYS": ["VALUE"], "BASE64_OUTPUTS": ["value", "kind"]},
            ["Ynl0ZXM=", 2, "yJk=", 5],
            id="there and back",
        ),
    ],
)
def test_named_fields_are_decoded_and_encoded(
    gateway: RunningGateway, fields: dict[str, Any], expected: list[Any]
) -> None:
    """The endpoint sees bytes or text, the caller gets base64, where the request says so."""
    response = gateway.post("/run/reading", fields)
    assert 200 == response.status_code, response.text
    assert expected == [response.json()[name] for name in OWN]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"VALUE": "!", "BASE64_KEYS": ["VALUE"]}, id="not base64"),
        pytest.param({"VALUE": "yJk", "BASE64_KEYS": ["VALUE"]}, id="not padded"),
        pytest.param({"BASE64_KEYS": ["VALUE"]}, id="field missing"),
        pytest.param({"VALUE": 5, "BASE64_KEYS": ["VALUE"]}, id="field is a number"),
        pytest.param({"VALUE": "", "BASE64_KEYS": 5}, id="names are a number"),
        pytest.param({"VALUE": "", "BASE64_KEYS": [["VALUE"]]}, id="name is a list"),
        pytest.param(
            {"VALUE": "/w==", "BASE64_KEYS": ["VALUE"], "ENCODING": "utf-8"}, id="not UTF-8"
        ),
        pytest.param(
            {"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": "no-such"}, id="no encoding"
        ),
        pytest.param({"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": 5}, id="number"),
        pytest.param(
            {"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": "a\0b"},
            id="NUL",
        ),
        pytest.param({"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": "hex"}, id="hex"),
        pytest.param(
            {"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": "rot13"},
            id="rot13",
        ),
        pytest.param(
            {"VALUE": "YQ==", "BASE64_KEYS": ["VALUE"], "ENCODING": "undefined"}, id="undefined"
        ),
    ],
)
def test_field_that_cannot_be_decoded_is_bad_input(
    gateway: RunningGateway, fields: dict[str, Any]
) -> None:
    """What the request says of itself and is not true is the caller's fault."""
    check_error("bad_input", gateway.post("/run/reading", fields))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"VALUE": "a", "BASE64_OUTPUTS": ["absent"]}, id="field missing"),
        pytest.param({"VALUE": "a", "BASE64_OUTPUTS": ["number"]}, id="field is a number"),
        pytest.param(
            {"VALUE": "\u0219", "BASE64_OUTPUTS": ["value"], "ENCODING": "ascii"}, id="not ASCII"
        ),
    ],
)
def test_answer_that_cannot_be_encoded_is_refused_truthfully(
    gateway: RunningGateway, fields: dict[str, Any]
) -> None:
    """The endpoint has run by then, and the answer says so."""
    answer = gateway.post("/run/reading", fields)
    assert (422, "bad_input") == (answer.status_code, answer.json()["code"])
    assert "yes" == answer.json()["executed"]
