"""Unit tests of endpoints/analyze.py: what is asked of whom, and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server import CallError
from basic_inference_server.testing import WorkerHarness, run_worker
from endpoints.analyze import (
    LANGUAGE,
    PARTS,
    AnalyzeWorker,
    parts_of,
    question,
    taken,
    why_left_out,
)

ALL = ("keywords", "entities", "sentiment", "summary")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({}, ALL, id="all"),
        pytest.param({"PARTS": ["summary"]}, ("summary",), id="one"),
        pytest.param({"PARTS": ["summary", "entities"]}, ("entities", "summary"), id="in order"),
        pytest.param({"PARTS": ["summary", "summary"]}, ("summary",), id="twice"),
    ],
)
def test_parts_are_those_asked_for(inputs: dict[str, Any], expected: tuple[str, ...]) -> None:
    """All without PARTS; each once, in one order."""
    assert expected == parts_of(inputs)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        pytest.param({}, "TEXT should be defined", id="nothing"),
        pytest.param({"TEXT": " "}, "TEXT is empty", id="blank"),
        pytest.param({"TEXT": 5}, "TEXT should be a text, not int", id="number"),
        pytest.param({"TEXT": "a" * 21}, "21 characters; at most 20 are taken", id="long"),
        pytest.param({"TEXT": "a", "PARTS": "summary"}, "PARTS should be a list of keywords, ent",
                     id="text as PARTS"),
        pytest.param({"TEXT": "a", "PARTS": []}, "PARTS is empty; name some of", id="no part"),
        pytest.param({"TEXT": "a", "PARTS": ["langid"]}, "name some of .*, not 'langid'",
                     id="unknown part"),
        pytest.param({"TEXT": "a", "PARTS": [["summary"]]}, "name some of .*, not .'summary'.",
                     id="list as a part"),
        pytest.param({"TEXT": "a", "LANGUAGE": "de"}, 'LANGUAGE should be "en" or "ro"',
                     id="language"),
    ],
)  # fmt: skip
def test_bad_inputs_are_refused(inputs: dict[str, Any], complaint: str) -> None:
    """With a sentence that says what to send instead, before anybody is asked."""
    with pytest.raises((ValueError, TypeError), match=complaint):
        run_worker(AnalyzeWorker, inputs, {"MAX_CHARS": 20})


@pytest.mark.parametrize(
    ("part", "language", "reason"),
    [
        ("sentiment", "en", ""),
        ("sentiment", "ro", "it reads en only; the text is in ro"),
        ("sentiment", None, "it reads en only; the language of the text is not known"),
        ("keywords", "ro", ""),
        ("keywords", None, ""),
        ("keywords", "de", "it reads en and ro only; the text is in de"),
        ("summary", "und", "it reads en and ro only; the language of the text is not known"),
    ],
)
def test_part_that_cannot_read_the_language_is_left_out(
    part: str, language: str | None, reason: str
) -> None:
    """With the reason; what recognises its language itself is asked without one."""
    assert reason == why_left_out(PARTS[part], language)


def test_language_goes_to_those_who_take_it() -> None:
    """Nobody gets a field that he does not know, nor an empty one."""
    known = {name for name, part in PARTS.items() if "LANGUAGE" in question(part, "a", "en")[1]}
    assert {"keywords", "entities", "summary"} == known
    assert ("keywords", {"TEXT": "a"}) == question(PARTS["keywords"], "a", None)
    assert ("langid", {"TEXT": "a"}) == question(LANGUAGE, "a", None)


def test_only_the_own_fields_of_an_answer_are_taken() -> None:
    """One field as it is, several as an object; the metadata stay where they are."""
    metadata = {"time": "now", "worker_id": 0}
    assert "A." == taken(PARTS["summary"], {"summary": "A.", "sentences": [], **metadata})
    score = {"language": "en", "score": 0.9}
    assert score == taken(LANGUAGE, {**score, "ranking": [], **metadata})
    with pytest.raises(CallError, match=r"langid answered 500 endpoint_error: .* no score"):
        taken(LANGUAGE, {"language": "en"})


def test_nobody_there_is_told_part_by_part() -> None:
    """Each part is in exactly one of parts, errors and left_out."""
    answer = WorkerHarness(AnalyzeWorker).run({"TEXT": "Good morning"})
    assert (None, None, {}) == (answer["language"], answer["language_score"], answer["parts"])
    assert ["language", "keywords", "entities", "summary"] == list(answer["errors"])
    assert ["sentiment"] == list(answer["left_out"])
    assert {
        "signature": "langid",
        "status": 503,
        "code": "not_ready",
        "message": "langid answered 503 not_ready: there is no gateway here",
    } == answer["errors"]["language"]


def test_language_of_the_request_is_not_asked_for() -> None:
    """Who knows it spares a call, and gets what reads that language."""
    answer = WorkerHarness(AnalyzeWorker).run({"TEXT": "Good morning", "LANGUAGE": "en"})
    assert "en" == answer["language"]
    assert list(ALL) == list(answer["errors"])
