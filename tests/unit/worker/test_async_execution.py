"""Unit tests of running requests through hooks that are coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.worker.async_execution import AsyncExecutor
from basic_inference_server.worker.async_streams import AsyncItemStream, collected_async
from basic_inference_server.worker.call_error import CallError
from basic_inference_server.worker.execution import PhaseTimes
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext


class AwaitingWorker(FlaskWorker):
    """Does what a test wants."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context=context)
        self.pre: Callable[[Any], Any] = lambda inputs: inputs
        self.does: Callable[[Any], Any] = lambda inputs: inputs
        self.post: Callable[[Any], Any] = lambda pred: pred

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        return self.pre(inputs)

    async def _predict(self, prep_inputs: Any) -> Any:
        await asyncio.sleep(0)
        return self.does(prep_inputs)

    def _post_process(self, pred: Any) -> Any:
        return self.post(pred)


class YieldingWorker(FlaskWorker):
    """An async generator; keeps that it was closed."""

    closed = False

    async def _predict(self, prep_inputs: Any) -> AsyncIterator[Any]:
        try:
            for number in range(prep_inputs["COUNT"]):
                await asyncio.sleep(0)
                yield number
            if "FAIL" in prep_inputs:
                raise RuntimeError("no more")
        finally:
            await asyncio.sleep(0)
            self.closed = True

    async def _post_process(self, pred: Any) -> Any:
        return {"n": pred}


@pytest.fixture
def worker() -> AwaitingWorker:
    return AwaitingWorker(context=WorkerContext(signature="demo"))


def executed(worker: FlaskWorker, inputs: dict[str, Any], times: PhaseTimes | None = None) -> Any:
    return asyncio.run(AsyncExecutor(worker, {}).whole_async(inputs, times or PhaseTimes()))


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def refusing(inputs: Any) -> Any:
    raise ValueError(f"not {inputs['A']}")


async def items(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def plain_items(count: int) -> Iterator[int]:
    yield from range(count)


def test_plain_and_awaited_hooks_mix(worker: AwaitingWorker) -> None:
    """Each one's value is handed to the next."""
    worker.pre = lambda inputs: later(inputs["A"])
    worker.does = lambda prepared: prepared * 2
    worker.post = lambda pred: later({"result": pred})
    times = PhaseTimes()
    assert {"result": 6} == executed(worker, {"A": 3}, times)
    assert times.pre_us > 0
    assert times.predict_us > 0


@pytest.mark.parametrize("source", [items, plain_items])
def test_items_are_collected(worker: AwaitingWorker, source: Callable[[int], Any]) -> None:
    """Whoever yields them, and whether they come of `_predict` or of `_post_process`."""
    worker.does = lambda inputs: source(3)
    worker.post = lambda item: later(item * 2)
    assert [0, 2, 4] == executed(worker, {})
    worker.does = lambda inputs: 3
    worker.post = source
    assert [0, 1, 2] == executed(worker, {})


def test_refusal_by_a_coroutine(worker: AwaitingWorker) -> None:
    """Says what a refusal by a plain hook says."""
    worker.pre = refusing
    with pytest.raises(BadInput, match=r"^demo refused the inputs: not 3$"):
        executed(worker, {"A": 3})


@pytest.mark.parametrize("error", [RuntimeError("so"), SystemExit(3), asyncio.CancelledError()])
def test_what_a_hook_raises_is_an_endpoint_error(
    worker: AwaitingWorker, error: BaseException
) -> None:
    """Even what would end the loop."""

    def raises(inputs: Any) -> Any:
        raise error

    worker.does = raises
    with pytest.raises(EndpointError, match=f"demo failed: {type(error).__name__}") as caught:
        executed(worker, {})
    assert error is caught.value.__cause__


def test_forgotten_return_is_explained(worker: AwaitingWorker) -> None:
    """As in an endpoint of plain functions."""
    worker.pre = lambda inputs: None
    worker.does = lambda prepared: prepared["A"]
    with pytest.raises(EndpointError, match="_pre_process returned None"):
        executed(worker, {"A": 3})


def test_async_generator_is_closed_with_its_stream() -> None:
    """Its `finally` runs, awaits included, wherever it was."""
    worker = YieldingWorker(context=WorkerContext(signature="demo"))
    executor = AsyncExecutor(worker, {})

    async def read_one() -> Any:
        stream = await executor.execute_async({"COUNT": 10**9}, PhaseTimes())
        assert isinstance(stream, AsyncItemStream)
        first = await anext(stream)
        await stream.aclose()
        return first

    assert ({"n": 0}, True) == (asyncio.run(read_one()), worker.closed)


def test_items_before_an_error_are_there() -> None:
    """And what was raised becomes the endpoint's error."""
    worker = YieldingWorker(context=WorkerContext(signature="demo"))
    executor = AsyncExecutor(worker, {})
    got: list[Any] = []

    async def read() -> None:
        stream = await executor.execute_async({"COUNT": 2, "FAIL": 1}, PhaseTimes())
        while True:
            got.append(await anext(stream))

    with pytest.raises(EndpointError, match="no more"):
        asyncio.run(read())
    assert [{"n": 0}, {"n": 1}] == got


def test_cancellation_passes_through() -> None:
    """It is for whoever has cancelled the task to say why."""
    worker = YieldingWorker(context=WorkerContext(signature="demo"))

    async def cancelled() -> None:
        stream = await AsyncExecutor(worker, {}).execute_async({"COUNT": 10**9}, PhaseTimes())
        task = asyncio.ensure_future(collected_async(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert worker.closed


def test_each_task_has_its_own_request(worker: AwaitingWorker) -> None:
    """However many of them wait at the same time."""
    executor = AsyncExecutor(worker, {})
    worker.does = lambda inputs: (worker.request_id, worker.call_id)

    async def one(number: int) -> Any:
        with executor.request(f"id-{number}"):
            return await executor.execute_async({}, PhaseTimes())

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert [(f"id-{number}", number + 1) for number in range(20)] == asyncio.run(all_of_them())


def test_call_without_a_gateway_is_an_error(worker: AwaitingWorker) -> None:
    """In an author's test, for example."""
    with pytest.raises(CallError, match="there is no gateway here"):
        asyncio.run(worker.acall("other", {}))
    outcomes = asyncio.run(worker.acall_many([("other", {})], return_errors=True))
    assert isinstance(outcomes[0], CallError)
