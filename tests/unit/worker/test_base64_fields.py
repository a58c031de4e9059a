"""Fields that travel as base64."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.core.errors import BadInput
from basic_inference_server.testing import run_worker
from basic_inference_server.worker.flask_worker import FlaskWorker


class ReverseWorker(FlaskWorker):
    """Returns TEXT backwards."""

    def _predict(self, prep_inputs: dict[str, Any]) -> dict[str, Any]:
        return {"reversed": prep_inputs["TEXT"][::-1], "type": type(prep_inputs["TEXT"]).__name__}


def test_named_input_is_decoded_to_bytes() -> None:
    """A field in BASE64_KEYS reaches the endpoint as bytes."""
    answer = run_worker(ReverseWorker, {"TEXT": "YWJj", "BASE64_KEYS": ["TEXT"]})
    assert {"reversed": b"cba", "type": "bytes"} == answer


def test_named_input_is_decoded_to_text_of_the_encoding() -> None:
    """With ENCODING the field is text."""
    fields = {"TEXT": "yJk=", "BASE64_KEYS": "TEXT", "ENCODING": "utf-8"}
    assert {"reversed": "ș", "type": "str"} == run_worker(ReverseWorker, fields)


def test_named_output_is_encoded() -> None:
    """A field in BASE64_OUTPUTS comes back as base64."""
    answer = run_worker(ReverseWorker, {"TEXT": "abc", "BASE64_OUTPUTS": ["reversed"]})
    assert "Y2Jh" == answer["reversed"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"BASE64_KEYS": ["NOPE"]}, "'NOPE', which is not a string", id="missing"),
        pytest.param({"BASE64_KEYS": ["TEXT"]}, "'TEXT' cannot be decoded", id="not base64"),
        pytest.param({"BASE64_KEYS": 3}, "must be a list of field names", id="no list"),
        pytest.param({"BASE64_OUTPUTS": ["x"]}, "no text of the answer", id="no such output"),
        pytest.param(
            {"TEXT": "//8=", "BASE64_KEYS": ["TEXT"], "ENCODING": "utf-8"},
            "cannot be decoded",
            id="wrong text",
        ),
        pytest.param(
            {"BASE64_OUTPUTS": ["reversed"], "ENCODING": "klingon"}, "klingon", id="encoding"
        ),
    ],
)
def test_wrong_base64_request_is_bad_input(fields: dict[str, Any], reason: str) -> None:
    """What cannot be decoded or encoded is refused with the field's name."""
    with pytest.raises(BadInput, match=reason):
        run_worker(ReverseWorker, {"TEXT": "?", **fields})
