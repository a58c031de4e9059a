"""Unit tests of endpoints/sentiment.py: input checks and labels, without the model."""

from __future__ import annotations

from typing import Any

import pytest

from endpoints.sentiment import label_of, texts_of


@pytest.mark.parametrize(
    ("compound", "label"),
    [
        pytest.param(0.05, "positive", id="positive threshold"),
        pytest.param(0.0499, "neutral", id="just below it"),
        pytest.param(0.0, "neutral", id="zero"),
        pytest.param(-0.0499, "neutral", id="just above the negative one"),
        pytest.param(-0.05, "negative", id="negative threshold"),
    ],
)
def test_label_follows_the_recommended_thresholds(compound: float, label: str) -> None:
    """The label turns at 0.05 and -0.05."""
    assert label == label_of(compound)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"TEXT": "good"}, ["good"], id="one text"),
        pytest.param({"TEXT": ""}, [""], id="empty text"),
        pytest.param({"TEXTS": ["good", "bad"]}, ["good", "bad"], id="two texts"),
        pytest.param({"TEXTS": []}, [], id="no texts"),
        pytest.param({"TEXT": "12345"}, ["12345"], id="as long as allowed"),
        pytest.param({"TEXTS": ["a", "b", "c"]}, ["a", "b", "c"], id="as many as allowed"),
    ],
)
def test_texts_of_accepts(inputs: dict[str, Any], expected: list[str]) -> None:
    """One text or a list of texts within the limits is taken as it is."""
    assert expected == texts_of(inputs, max_texts=3, max_chars=5)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "either TEXT, a text, or TEXTS", id="nothing"),
        pytest.param({"TEXT": "a", "TEXTS": []}, "either TEXT, a text, or TEXTS", id="both"),
        pytest.param({"TEXT": None}, "TEXT should be a text, not NoneType", id="null"),
        pytest.param({"TEXT": ["a"]}, "TEXT should be a text, not list", id="list as TEXT"),
        pytest.param(
            {"TEXTS": "a"}, "TEXTS should be a list of texts, not str", id="text as TEXTS"
        ),
        pytest.param({"TEXTS": ["a", 5]}, r"TEXTS\[1\] should be a text, not int", id="number"),
        pytest.param({"TEXT": "123456"}, "6 characters; at most 5", id="too long"),
        pytest.param({"TEXTS": ["123456"]}, r"TEXTS\[0\] has 6 characters", id="one too long"),
        pytest.param({"TEXTS": ["a"] * 4}, "holds 4 texts; at most 3", id="too many"),
    ],
)
def test_texts_of_refuses(inputs: dict[str, Any], complaint: str) -> None:
    """Inputs that are no texts or over a limit are refused with what is wrong."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        texts_of(inputs, max_texts=3, max_chars=5)
