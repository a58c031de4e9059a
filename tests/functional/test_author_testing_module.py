"""`basic_inference_server.testing`, as an endpoint author uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Generator
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from basic_inference_server import FlaskWorker
from basic_inference_server.testing import WorkerHarness, run_worker, running_gateway, start_gateway
from basic_inference_server.worker.load_error import EndpointLoadError
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import processes_in
from tests.support.projects import write_project

_CONFIG = {"FACTOR": 2, "VALIDATION_RULES": {"FACTOR": {"TYPE": "int", "MIN_VAL": 1}}}


class DoubleWorker(FlaskWorker):
    """An author's endpoint."""

    def _load_model(self) -> None:
        self.P("loading")
        self.loaded = True

    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        if inputs["INPUT_VALUE"] is None:
            raise ValueError("INPUT_VALUE is nothing")
        return inputs["INPUT_VALUE"]

    def _predict(self, prep_inputs: Any) -> Any:
        self._create_notification("log", f"doubling {prep_inputs}")
        return prep_inputs * self.cfg_factor

    def _post_process(self, pred: Any) -> Any:
        return {"double": pred}


class PlainWorker(FlaskWorker):
    """Returns no dict."""

    def _predict(self, prep_inputs: Any) -> Any:
        return [1, 2]


class AwaitingWorker(FlaskWorker):
    """Lives on an event loop."""

    async def _load_model(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def _predict(self, prep_inputs: Any) -> Any:
        await asyncio.sleep(0)
        if "REFUSE" in prep_inputs:
            raise LookupError("nothing there")
        return {"same_loop": self.loop is asyncio.get_running_loop(), "id": self.request_id}


class AwaitedItemsWorker(FlaskWorker):
    """Streams on an event loop."""

    closed = False

    async def _predict(self, prep_inputs: Any) -> AsyncIterator[Any]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield number
        finally:
            self.closed = True


class RichWorker(FlaskWorker):
    """Returns what is no JSON yet, and for one input what never can be."""

    def _predict(self, prep_inputs: Any) -> Any:
        if "BAD" in prep_inputs:
            return {"lock": threading.Lock()}
        return {"scores": np.array([0.5, np.nan]), 1: (2, 3), "on": date(2024, 2, 29)}


class RichItemsWorker(FlaskWorker):
    """Streams the same."""

    def _predict(self, prep_inputs: Any) -> Any:
        yield np.array([1])
        yield threading.Lock()


class BrokenWorker(FlaskWorker):
    """Cannot load."""

    def _load_model(self) -> None:
        raise OSError("the model file is gone")

    def _predict(self, prep_inputs: Any) -> Any:
        return None


def test_answer_is_what_a_client_reads() -> None:
    """Arrays are lists, keys are texts: a green test means a green answer."""
    expected = {"scores": [0.5, None], "1": [2, 3], "on": "2024-02-29"}
    assert expected == run_worker(RichWorker, {})
    assert expected == WorkerHarness(RichWorker).run({})


def test_answer_that_no_client_could_be_sent_is_the_tests_failure() -> None:
    """With what to write instead, as the client's error has it."""
    with pytest.raises(TypeError, match="lock cannot be written as JSON; write"):
        run_worker(RichWorker, {"BAD": 1})
    items = WorkerHarness(RichItemsWorker).stream({})
    assert [1] == next(items)
    with pytest.raises(TypeError, match="lock cannot be written as JSON"):
        next(items)


def test_run_worker_returns_the_endpoints_fields() -> None:
    """One call loads the class and answers, without metadata."""
    assert {"double": 4} == run_worker(DoubleWorker, {"INPUT_VALUE": 2})


def test_run_worker_lays_a_section_over_the_modules_configuration() -> None:
    """The third argument is what the endpoint's section would be."""
    assert {"double": 10} == run_worker(DoubleWorker, {"INPUT_VALUE": 2}, {"FACTOR": 5})


def test_run_worker_puts_other_results_into_data() -> None:
    """A result that is no dict comes as it would over HTTP."""
    assert {"data": [1, 2]} == run_worker(PlainWorker, {})


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        pytest.param({"INPUT_VALUE": None}, ValueError, "INPUT_VALUE is nothing", id="refused"),
        pytest.param({}, KeyError, "INPUT_VALUE", id="missing"),
        pytest.param({"INPUT_VALUE": {}}, TypeError, "unsupported operand", id="while predicting"),
    ],
)
def test_run_worker_raises_what_the_endpoint_raised(
    inputs: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The author's own exception comes out, as it was."""
    with pytest.raises(error, match=message):
        run_worker(DoubleWorker, inputs)


def test_run_worker_enforces_the_rules() -> None:
    """A section that breaks `VALIDATION_RULES` stops the load."""
    with pytest.raises(EndpointLoadError, match="FACTOR is 0, which breaks MIN_VAL 1"):
        run_worker(DoubleWorker, {"INPUT_VALUE": 2}, {"FACTOR": 0})


def test_harness_keeps_what_the_worker_said() -> None:
    """One loaded worker answers several requests; notifications and log are kept."""
    harness = WorkerHarness(DoubleWorker, signature="double")
    assert [{"double": 2}, {"double": 4}] == [
        harness.run({"INPUT_VALUE": value}, request_id=f"id-{value}") for value in (1, 2)
    ]
    assert [("doubling 1", 1, "id-1"), ("doubling 2", 2, "id-2")] == [
        (item["msg"], item["call_id"], item["request_id"]) for item in harness.notifications
    ]
    assert "loading" in [event.get("message") for event in harness.events]
    assert ("double", True) == (harness.worker.signature, harness.worker.loaded)


def test_harness_serves_on_after_an_error() -> None:
    """A refused request leaves the worker as it was."""
    harness = WorkerHarness(DoubleWorker)
    with pytest.raises(ValueError, match="nothing"):
        harness.run({"INPUT_VALUE": None})
    assert {"double": 6} == harness.run({"INPUT_VALUE": 3})
    assert "" == harness.worker.request_id


def test_harness_names_why_a_worker_cannot_load() -> None:
    """The reason is in the error."""
    with pytest.raises(EndpointLoadError, match="OSError: the model file is gone"):
        WorkerHarness(BrokenWorker)


def test_running_gateway_serves_for_the_length_of_the_block(tmp_path: Path) -> None:
    """A whole gateway on ports of its own, stopped at the end with nothing left."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    with running_gateway(tmp_path) as gateway:
        assert {"X": 1}.items() <= gateway.run("mirror", X=1).json()["inputs"].items()
        assert 200 == gateway.post("/run/mirror").status_code
        assert 200 == gateway.get("/v1/ready").status_code
        assert "READY" == gateway.servers()["mirror"]["state"]
        assert f"http://127.0.0.1:{gateway.port}" == gateway.url
    assert 0 == gateway.process.returncode
    assert "stopped" == gateway.events[-1]["event"]
    assert [] == processes_in(tmp_path)


def test_running_gateway_ends_when_the_block_fails(tmp_path: Path) -> None:
    """A failing test leaves no process behind."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    with pytest.raises(ZeroDivisionError), running_gateway(tmp_path) as gateway:
        raise ZeroDivisionError
    assert gateway.process.poll() is not None


def test_gateway_that_does_not_open_shows_its_output(tmp_path: Path) -> None:
    """The author reads in the error why it did not start."""
    waiting = running_gateway(tmp_path)
    with pytest.raises(RuntimeError, match=r"ended with 78:(.|\n)*config_gateway.txt"):
        waiting.__enter__()


def test_gateway_that_opens_too_late_is_ended(tmp_path: Path) -> None:
    """Waiting has an end, too."""
    source = MIRROR + "    def _load_model(self):\n        import threading\n"
    source += "        threading.Event().wait(60)\n"
    write_project(tmp_path, {"mirror": {}}, {"mirror": source})
    waiting = running_gateway(tmp_path, timeout_s=0.5)
    with pytest.raises(RuntimeError, match=r"not open after 0\.5 s"):
        waiting.__enter__()


def test_second_start_in_a_folder_leaves_the_first_ones_announcement(tmp_path: Path) -> None:
    """A start that is refused takes nothing away from the gateway that runs."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    with running_gateway(tmp_path):
        second = start_gateway(tmp_path)
        assert 4 == second.process.wait(60)
        second.kill()
        assert (tmp_path / "_cache" / "run" / "gateway.json").exists()


def test_coroutines_are_run() -> None:
    """All on one loop, and what one raises comes unchanged."""
    harness = WorkerHarness(AwaitingWorker)
    for number in range(2):
        expected = {"same_loop": True, "id": f"n{number}"}
        assert expected == harness.run({}, f"n{number}")
    with pytest.raises(LookupError, match="nothing there"):
        harness.run({"REFUSE": 1})
    assert {"same_loop": True, "id": "test-request"} == run_worker(AwaitingWorker, {})
    with pytest.raises(EndpointLoadError, match=r"BATCH_SIZE is 2, but AwaitingWorker\._predict"):
        harness.run_batch([{}, {}])


def test_items_of_a_coroutine_come_one_by_one() -> None:
    """Closing the iterator closes the async generator."""
    assert {"data": [0, 1, 2]} == run_worker(AwaitedItemsWorker, {})
    harness = WorkerHarness(AwaitedItemsWorker)
    assert [0, 1, 2] == list(harness.stream({}))
    harness = WorkerHarness(AwaitedItemsWorker)
    items = harness.stream({})
    assert (0, False) == (next(items), cast("AwaitedItemsWorker", harness.worker).closed)
    cast("Generator[Any, None, None]", items).close()
    assert cast("AwaitedItemsWorker", harness.worker).closed
