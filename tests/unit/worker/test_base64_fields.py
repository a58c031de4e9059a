"""Unit tests of fields that travel as base64: `BASE64_KEYS`, `BASE64_OUTPUTS`, `ENCODING`."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.errors import BadInput, ServiceError
from basic_inference_server.worker.base64_fields import (
    decode_inputs,
    encode_outputs,
    uses_base64,
)
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext


class EchoWorker(FlaskWorker):
    def _predict(self, prep_inputs: Any) -> Any:
        return {"echo": prep_inputs.get("TEXT")}


def execute(**inputs: Any) -> Any:
    executor = Executor(EchoWorker(context=WorkerContext()), {})
    return executor.execute(inputs, PhaseTimes())


def packed(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@settings(deadline=None, max_examples=50, database=None)
@given(st.binary(max_size=100))
def test_any_bytes_survive_both_directions(raw: bytes) -> None:
    """What the caller packs the endpoint gets, and what it returns is packed again."""
    inputs = {"A": packed(raw), "BASE64_KEYS": ["A"], "BASE64_OUTPUTS": ["B"]}
    decoded = decode_inputs(inputs)
    assert raw == decoded["A"]
    assert {"B": packed(raw)} == encode_outputs(inputs, {"B": decoded["A"]})


def test_encoding_makes_texts_of_the_fields() -> None:
    """With `ENCODING` an endpoint gets text; other fields stay as they are."""
    inputs = {
        "A": packed("é".encode("latin-1")), "B": "plain", "BASE64_KEYS": ["A"],
        "ENCODING": "latin-1",
    }  # fmt: skip
    assert ("é", "plain") == tuple(decode_inputs(inputs)[name] for name in "AB")
    inputs["BASE64_OUTPUTS"] = ["C"]
    assert {"C": packed(b"\xe9"), "D": "é"} == encode_outputs(inputs, {"C": "é", "D": "é"})


def test_one_name_needs_no_list() -> None:
    """A form can name one field only."""
    assert b"x" == decode_inputs({"A": packed(b"x"), "BASE64_KEYS": "A"})["A"]


def test_result_that_is_no_dict_is_the_field_data() -> None:
    """It has the name under which it is answered."""
    assert {"data": packed(b"x")} == encode_outputs({"BASE64_OUTPUTS": ["data"]}, b"x")


def test_request_that_names_no_field_is_left_alone() -> None:
    """The endpoint's own object comes back when there is nothing to do."""
    result = {"a": 1}
    assert result is encode_outputs({}, result)
    assert not uses_base64({"SIGNATURE": "demo", "ENCODING": "utf-8"})
    assert uses_base64({"BASE64_KEYS": []})


def test_callers_inputs_are_not_changed() -> None:
    """Decoding works on a copy."""
    inputs = {"A": packed(b"x"), "BASE64_KEYS": ["A"]}
    decode_inputs(inputs)
    assert packed(b"x") == inputs["A"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"BASE64_KEYS": 5}, "BASE64_KEYS must be a list of field names.",
                     id="names that are no list"),
        pytest.param({"BASE64_KEYS": [5]}, "BASE64_KEYS must be a list of field names.",
                     id="name that is no text"),
        pytest.param({"BASE64_KEYS": ["A"]},
                     "BASE64_KEYS names 'A', which is not a string of the request.",
                     id="missing field"),
        pytest.param({"BASE64_KEYS": ["A"], "A": 5},
                     "BASE64_KEYS names 'A', which is not a string of the request.",
                     id="field that is no text"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "%%%%"}, "The field 'A' cannot be decoded: ",
                     id="not base64"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "é"}, "The field 'A' cannot be decoded: ",
                     id="not ascii"),
        pytest.param({"BASE64_KEYS": ["A"], "A": packed(b"\xff"), "ENCODING": "utf-8"},
                     "The field 'A' cannot be decoded: ", id="not of the encoding"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "", "ENCODING": "klingon"},
                     "ENCODING 'klingon' is not a known text encoding.", id="unknown encoding"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "", "ENCODING": 5},
                     "ENCODING 5 is not a known text encoding.", id="encoding that is no text"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "YWI=", "ENCODING": "hex"},
                     "ENCODING 'hex' is not a known text encoding.", id="encoding of bytes"),
        pytest.param({"BASE64_KEYS": ["A"], "A": "", "ENCODING": "utf\0"}, "ENCODING ",
                     id="encoding with a nul"),
    ],
)  # fmt: skip
def test_request_that_cannot_be_decoded_is_bad_input(inputs: dict[str, Any], expected: str) -> None:
    """The caller is told which field is wrong."""
    with pytest.raises(BadInput) as caught:
        decode_inputs(inputs)
    assert expected == caught.value.message[: len(expected)]


@pytest.mark.parametrize("result", [{}, {"B": 5}, {"B": None}, [1]])
def test_output_that_is_no_text_is_bad_input(result: Any) -> None:
    """A number cannot be packed, and a field that is not there neither."""
    with pytest.raises(BadInput, match="BASE64_OUTPUTS names 'B', which is no text of the answer"):
        encode_outputs({"BASE64_OUTPUTS": ["B"]}, result)


def test_endpoint_sees_decoded_fields() -> None:
    """Through the whole execution the endpoint works with text."""
    inputs = {"TEXT": packed("é".encode()), "BASE64_KEYS": ["TEXT"], "ENCODING": "utf-8"}
    assert {"echo": "é"} == execute(**inputs)
    assert {"echo": packed("é".encode())} == execute(**inputs, BASE64_OUTPUTS=["echo"])


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"BASE64_OUTPUTS": ["nothing"]}, id="no such field"),
        pytest.param({"TEXT": "é", "BASE64_OUTPUTS": ["echo"], "ENCODING": "ascii"},
                     id="not of the encoding"),
    ],
)  # fmt: skip
def test_answer_that_cannot_be_packed_says_that_it_was_executed(inputs: dict[str, Any]) -> None:
    """The caller's mistake is a 422, and it is not told that nothing has happened."""
    with pytest.raises(ServiceError) as caught:
        execute(**inputs)
    assert (422, "yes") == (caught.value.status, caught.value.executed)
