"""`run_batch` of `basic_inference_server.testing`, as an endpoint author uses it."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server import FlaskWorker
from basic_inference_server.testing import WorkerHarness, run_worker_batch
from basic_inference_server.worker.load_error import EndpointLoadError

_CONFIG = {"FACTOR": 2}


class TimesWorker(FlaskWorker):
    """Multiplies numbers together; one number is bad for the whole batch, one for itself."""

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        if inputs["X"] < 0:
            raise ValueError("X is below 0")
        return inputs["X"]

    def _predict_batch(self, prepared: list[Any]) -> list[Any]:
        self.P(f"{len(prepared)} together")
        if 13 in prepared:
            raise RuntimeError("not 13")
        return [OverflowError("too big") if x > 99 else x * self.cfg_factor for x in prepared]

    def _post_process(self, pred: int) -> dict[str, int]:
        self._create_notification("log", self.request_id)
        return {"y": pred}


class PlainWorker(FlaskWorker):
    """Returns no dict."""

    def _predict_batch(self, prepared: list[Any]) -> list[Any]:
        return [object() if len(one) == 3 else len(one) for one in prepared]


class ShortWorker(FlaskWorker):
    """Returns too few results."""

    def _predict_batch(self, prepared: list[Any]) -> list[Any]:
        return []


class SingleWorker(FlaskWorker):
    """Takes one at a time."""

    def _predict(self, prep_inputs: Any) -> Any:
        return prep_inputs


def test_batch_has_an_outcome_for_each_request() -> None:
    """In order: its result, or the exception that it alone ended with, as it was raised."""
    harness = WorkerHarness(TimesWorker)
    one, refused, three, big, missing = harness.run_batch(
        [{"X": 1}, {"X": -1}, {"X": 3}, {"X": 100}, {}]
    )
    assert [{"y": 2}, {"y": 6}] == [one, three]
    assert ["ValueError('X is below 0')", "OverflowError('too big')", "KeyError('X')"] == [
        repr(outcome) for outcome in (refused, big, missing)
    ]
    assert ["3 together"] == [event["message"] for event in harness.events]
    # Each under its own id.
    assert ["test-0", "test-2"] == [note["request_id"] for note in harness.notifications]
    assert {"y": 10} == harness.run_batch([{"X": 5}])[0]


def test_batch_that_raises_is_executed_one_by_one() -> None:
    """As the engine does it, and the log says so."""
    harness = WorkerHarness(TimesWorker)
    outcomes = harness.run_batch([{"X": 1}, {"X": 13}, {"X": 3}])
    assert [{"y": 2}, {"y": 6}] == [outcomes[0], outcomes[2]]
    assert "RuntimeError('not 13')" == repr(outcomes[1])
    failures = [event["error"] for event in harness.events if event["event"] == "batch_failed"]
    assert ["RuntimeError: not 13"] == failures


def test_batch_of_nothing_is_nothing() -> None:
    """No request, no outcome."""
    assert [] == WorkerHarness(TimesWorker).run_batch([])


def test_run_worker_batch_answers_as_clients_get_it() -> None:
    """With a section over the module's configuration; what is no dict is in `data`."""
    assert [{"y": 10}, {"y": 15}] == run_worker_batch(
        TimesWorker, [{"X": 2}, {"X": 3}], {"FACTOR": 5}
    )
    assert [{"data": 2}, {"data": 0}] == run_worker_batch(PlainWorker, [{"A": 1, "B": 2}, {}])


def test_answer_that_cannot_be_sent_fails_alone() -> None:
    """As a client of the batch would get an error of its own."""
    good, bad = run_worker_batch(PlainWorker, [{"A": 1}, {"A": 1, "B": 2, "C": 3}])
    assert {"data": 1} == good
    assert isinstance(bad, TypeError)
    assert "object cannot be written as JSON" in str(bad)


def test_wrong_number_of_results_is_said_to_each() -> None:
    """The engine's own sentence."""
    for outcome in run_worker_batch(ShortWorker, [{}, {}]):
        assert "_predict_batch has to return a list of 2 results" in str(outcome)


def test_endpoint_without_batches_is_told_what_it_needs() -> None:
    """As at the load of a server with `BATCH_SIZE` above 1."""
    with pytest.raises(
        EndpointLoadError, match=r"_predict_batch\(self, prepared\) of SingleWorker"
    ):
        WorkerHarness(SingleWorker).run_batch([{}])
