"""Unit tests of the two demonstration endpoints: their defaults and their input checks."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints import dummy_model_demo1, dummy_model_demo2
from endpoints.dummy_model_demo2 import as_whole_number


def test_configurations_are_those_of_the_specification() -> None:
    """The defaults that the published example shows stay as they are."""
    assert {
        "WEIGHT": 0,
        "BIAS": 0,
        "PLACEHOLDER_MODEL": True,
    } == dummy_model_demo1._CONFIG
    assert {"WEIGHT": 0, "BIAS": 0} == dummy_model_demo2._CONFIG


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(5, 5, id="integer"),
        pytest.param("5", 5, id="text from a query string"),
        pytest.param(5.9, 5, id="fraction is cut off"),
        pytest.param(-5.9, -5, id="towards zero"),
    ],
)
def test_as_whole_number_accepts(value: Any, expected: int) -> None:
    """Numbers and texts of whole numbers are taken."""
    assert expected == as_whole_number(value)


@pytest.mark.parametrize("value", ["five", "", None, [5], {}, float("inf"), float("nan")])
def test_as_whole_number_refuses(value: Any) -> None:
    """Everything else is a ValueError, so the caller learns that the input is bad."""
    with pytest.raises(ValueError, match="INPUT_VALUE should be a number, not"):
        as_whole_number(value)
