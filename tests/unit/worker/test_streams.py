"""Unit tests of endpoints that return generators: each item through the hooks, each error told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from basic_inference_server import FlaskWorker
from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.execution import Executor, PhaseTimes
from basic_inference_server.worker.flask_worker import WorkerContext
from basic_inference_server.worker.streams import ItemStream, collected, is_stream


class Counting(FlaskWorker):
    """Yields what it is told to; an exception is raised."""

    closed = 0

    def _predict(self, prep_inputs: dict[str, Any]) -> Any:
        return self._items(prep_inputs["YIELD"], prep_inputs.get("LAST"))

    def _items(self, items: list[Any], last: BaseException | None) -> Iterator[Any]:
        try:
            for item in items:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.closed += 1
            if last is not None:
                raise last

    def _post_process(self, pred: Any) -> Any:
        if pred == "broken":
            raise StopIteration("post-processing broke")
        return {"item": pred}


class Score(BaseModel):
    item: int


class Checked(Counting):
    OUTPUT = Score


def executor_of(worker_class: type[FlaskWorker] = Counting) -> Executor:
    return Executor(worker_class(context=WorkerContext(signature="demo")), {})


def stream_of(
    items: list[Any], worker_class: type[FlaskWorker] = Counting, **more: Any
) -> tuple[ItemStream, Any]:
    executor = executor_of(worker_class)
    stream = executor.execute({"YIELD": items, **more}, PhaseTimes())
    assert isinstance(stream, ItemStream)
    return stream, executor.worker


def test_each_item_goes_through_post_process() -> None:
    """One after another, as they are asked for."""
    stream, worker = stream_of([1, 2, 3])
    assert {"item": 1} == next(stream)
    assert 0 == worker.closed
    assert [{"item": 2}, {"item": 3}] == list(stream)
    assert 1 == worker.closed
    assert [] == list(stream)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RuntimeError("no memory"), "demo failed: RuntimeError: no memory"),
        (SystemExit(3), "demo failed: SystemExit: 3"),
        (KeyboardInterrupt(), "demo failed: KeyboardInterrupt"),
        (StopIteration(), "demo failed: RuntimeError: generator raised StopIteration"),
        (OSError("disk"), "demo failed: OSError: disk"),
        (ValueError("late"), "demo failed: ValueError: late"),
    ],
)
def test_error_of_the_generator_is_the_endpoints(error: BaseException, shown: str) -> None:
    """After the items that came before it; the generator has ended by then."""
    stream, worker = stream_of([1, error, 3])
    assert {"item": 1} == next(stream)
    with pytest.raises(EndpointError) as raised:
        next(stream)
    assert shown == raised.value.message
    assert 1 == worker.closed
    with pytest.raises(StopIteration):
        next(stream)


def test_error_of_post_process_is_the_endpoints() -> None:
    """Even one that would look like the end of the items."""
    stream, worker = stream_of([1, "broken", 3])
    next(stream)
    with pytest.raises(EndpointError, match="StopIteration: post-processing broke"):
        next(stream)
    stream.close()
    assert 1 == worker.closed


def test_error_of_another_endpoint_is_told_as_the_endpoints() -> None:
    """As in an answer that is not streamed."""
    stream, _ = stream_of([CallError("other", 503, "overloaded", "full")])
    with pytest.raises(EndpointError, match="demo failed: CallError"):
        next(stream)


def test_each_item_is_checked_by_output() -> None:
    """The first wrong one ends the stream."""
    stream, _ = stream_of([1, "no number"], Checked)
    assert {"item": 1} == next(stream)
    with pytest.raises(EndpointError, match="item"):
        next(stream)


def test_closing_runs_what_the_generator_has_to_clean_up() -> None:
    """Once, wherever it waits; one that has not begun has nothing to clean up."""
    stream, worker = stream_of([1, 2])
    next(stream)
    stream.close()
    stream.close()
    assert (1, []) == (worker.closed, list(stream))
    stream, worker = stream_of([1])
    stream.close()
    assert 0 == worker.closed


def test_error_while_cleaning_up_is_told() -> None:
    """At the end of the items, and when it is closed before."""
    stream, _ = stream_of([1], LAST=RuntimeError("cannot let go"))
    next(stream)
    with pytest.raises(EndpointError, match="cannot let go"):
        next(stream)
    stream, _ = stream_of([1], LAST=RuntimeError("cannot let go"))
    next(stream)
    with pytest.raises(EndpointError, match="cannot let go"):
        stream.close()


def test_generator_that_does_not_end_when_it_is_closed_is_an_error() -> None:
    """It goes on yielding from its `finally`."""

    def stubborn() -> Iterator[int]:
        try:
            yield 1
        finally:
            yield 2

    executor = executor_of()
    stream = ItemStream(stubborn(), lambda item: item, executor.failure)
    assert 1 == next(stream)
    with pytest.raises(EndpointError, match="generator ignored GeneratorExit"):
        stream.close()


def test_post_process_may_be_the_one_that_streams() -> None:
    """Its items are final, and are checked by OUTPUT."""

    class Later(FlaskWorker):
        OUTPUT = Score

        def _predict(self, prep_inputs: Any) -> Any:
            return prep_inputs["UP_TO"]

        def _post_process(self, pred: Any) -> Any:
            return ({"item": number} for number in range(pred))

    stream = executor_of(Later).execute({"UP_TO": 2}, PhaseTimes())
    assert [{"item": 0}, {"item": 1}] == collected(stream)


def test_inputs_are_refused_before_anything_is_streamed() -> None:
    """`_pre_process` runs when the request comes, not with the first item."""

    class Refusing(Counting):
        def _pre_process(self, inputs: Any) -> Any:
            raise ValueError("not that")

    with pytest.raises(BadInput, match="not that"):
        executor_of(Refusing).execute({}, PhaseTimes())


def test_base64_of_the_answer_is_that_of_each_item() -> None:
    """A field that the request wants as base64 is so in every item."""
    stream, _ = stream_of(["ab", "c"], BASE64_OUTPUTS=["item"])
    assert [{"item": "YWI="}, {"item": "Yw=="}] == list(stream)


def test_only_generators_are_streams() -> None:
    """A list is an answer; so is an iterator that nobody can close."""
    nothing: Iterator[int] = (number for number in range(0))
    assert is_stream(nothing)
    others: list[Any] = [[], (), {}, "ab", iter([1]), range(3)]
    assert [] == [value for value in others if is_stream(value)]
    assert [1] == collected([1])
