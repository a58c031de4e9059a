"""For an endpoint author's own tests: one worker in this process, or a whole gateway.

from basic_inference_server.testing import run_worker, running_gateway

def test_answer():
    assert {"double": 4} == run_worker(DoubleWorker, {"INPUT_VALUE": 2})

def test_over_http(tmp_path):
    with running_gateway("my_project") as gateway:
        assert 4 == gateway.run("double", INPUT_VALUE=2).json()["double"]
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import requests

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.settings import process_environment
from basic_inference_server.worker.async_execution import AsyncExecutor
from basic_inference_server.worker.async_hooks import is_async, no_batches
from basic_inference_server.worker.async_streams import AsyncItemStream
from basic_inference_server.worker.batch_execution import BatchExecutor, Item
from basic_inference_server.worker.binary import OCTETS, Binary
from basic_inference_server.worker.execution import (
    PhaseTimes,
    describe,
    effective_config,
    load_shared,
    load_worker,
)
from basic_inference_server.worker.flask_worker import FlaskWorker, Notification, WorkerContext
from basic_inference_server.worker.hook_shapes import hook_problem, overrides
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.streams import ItemStream
from basic_inference_server.worker.whole_execution import whole_execution

PACKAGE_PARENT = str(Path(__file__).resolve().parent.parent)
POLL_S = 0.01


class WorkerHarness:
    """One loaded worker in this process, with everything it says kept for assertions.

    Attributes:
        notifications: what `_create_notification` recorded.
        events: what was logged.

    Raises:
        EndpointLoadError: the worker cannot be loaded.
    """

    def __init__(
        self,
        worker_class: type[FlaskWorker],
        config: Mapping[str, Any] | None = None,
        signature: str = "test",
    ) -> None:
        self.notifications: list[Notification] = []
        self.events: list[Event] = []
        problem = hook_problem(worker_class)
        if problem:
            raise EndpointLoadError(problem)
        module = sys.modules[worker_class.__module__]
        config_data = effective_config(getattr(module, "_CONFIG", {}), config or {})
        self._log = EventLog(self.events.append, "debug")
        context = WorkerContext(
            signature=signature,
            config_data=config_data,
            shared=load_shared(worker_class, config_data),
            log=Logger(log=self._log),
            notify=self.notifications.append,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.worker = load_worker(worker_class, context, self._run)
        self._executor, self._execute = whole_execution(self.worker, self._run)

    def _run(self, coroutine: Any) -> Any:
        """Run a coroutine of the worker's to its end, always on the same loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            weakref.finalize(self, self._loop.close)
        return self._loop.run_until_complete(coroutine)

    def run(self, inputs: dict[str, Any], request_id: str = "test-request") -> Any:
        """Return the endpoint's result for one request; of one that streams, a list of its items.

        Raises:
            Exception: what the endpoint raised, unchanged.
        """
        with _unwrapped_errors(), self._executor.request(request_id):
            return self._execute(inputs)

    def stream(self, inputs: dict[str, Any], request_id: str = "test-request") -> Iterator[Any]:
        """Yield the items of one streamed answer as the endpoint makes them.

        Closing the iterator does what a caller does who leaves.

        Raises:
            TypeError: the endpoint does not stream.
            Exception: what the endpoint raised, unchanged.
        """
        if is_async(type(self.worker)):
            yield from self._stream_async(inputs, request_id)
            return
        with _unwrapped_errors(), self._executor.request(request_id):
            items = self._executor.execute(inputs, PhaseTimes())
            if not isinstance(items, ItemStream):
                raise TypeError(f"{type(self.worker).__name__} returned {type(items).__name__}")
            with closing(items):
                yield from items

    def _stream_async(self, inputs: dict[str, Any], request_id: str) -> Iterator[Any]:
        executor = cast("AsyncExecutor", self._executor)
        with _unwrapped_errors(), executor.request(request_id):
            items = self._run(executor.execute_async(inputs, PhaseTimes()))
            if not isinstance(items, AsyncItemStream):
                raise TypeError(f"{type(self.worker).__name__} returned {type(items).__name__}")
            try:
                while True:
                    yield self._run(anext(items))
            except StopAsyncIteration:
                return
            finally:
                self._run(items.aclose())

    def run_batch(self, many_inputs: Sequence[dict[str, Any]]) -> list[Any]:
        """Return for each of several requests its result, or the exception that it ended with.

        They are one batch, executed as a server with that `BATCH_SIZE` does it; `events` has a
        `batch_failed` when `_predict_batch` raised and was called again for each alone.

        Raises:
            EndpointLoadError: the endpoint has no `_predict_batch`.
        """
        name = type(self.worker).__name__
        if is_async(type(self.worker)):
            raise EndpointLoadError(no_batches(type(self.worker), len(many_inputs)))
        if not overrides(type(self.worker), "_predict_batch"):
            raise EndpointLoadError(
                f"a batch needs a method _predict_batch(self, prepared) of {name} that returns a "
                "list of results"
            )
        items = [
            Item(inputs, self._executor.begin(f"test-{number}"))
            for number, inputs in enumerate(many_inputs)
        ]
        BatchExecutor(self._executor, self._say_failed_batch).execute(items)
        return [
            item.result if item.error is None else item.error.__cause__ or item.error
            for item in items
        ]

    def _say_failed_batch(self, error: BaseException) -> None:
        self._log.warning("batch_failed", error=describe(error))


@contextmanager
def _unwrapped_errors() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def run_worker(
    worker_class: type[FlaskWorker],
    inputs: dict[str, Any],
    config: Mapping[str, Any] | None = None,
) -> Any:
    """Load a worker class and return its answer to `inputs`; raises what the endpoint raises.

    The answer is a dict as a client gets it, without the metadata: a result that is not a dict
    comes as `{"data": result}`, the items of a stream too, and a `Binary` as it is.
    """
    return _answer(WorkerHarness(worker_class, config).run(inputs))


def run_worker_batch(
    worker_class: type[FlaskWorker],
    many_inputs: Sequence[dict[str, Any]],
    config: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Load a worker class and return its answers to one batch of requests.

    In the place of an answer is the exception that the request ended with.
    """
    return [
        _answer(outcome) for outcome in WorkerHarness(worker_class, config).run_batch(many_inputs)
    ]


def _answer(result: Any) -> Any:
    return result if isinstance(result, (dict, Binary, BaseException)) else {"data": result}


class RunningGateway:
    """A gateway with all its processes, on ports of its own.

    Attributes:
        process: the supervisor.
        base_folder: folder with configuration and endpoints.
        port: the gateway's port.
        server_ports: each endpoint's own HTTP port.
    """

    def __init__(self, process: subprocess.Popen[bytes], base_folder: Path) -> None:
        self.process = process
        self.base_folder = base_folder
        self.port = 0
        self.server_ports: dict[str, int] = {}
        self._lines: list[str] = []
        output = process.stdout
        assert output is not None
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
        output.close()

    @property
    def output(self) -> str:
        """Everything that it has printed so far."""
        return "\n".join(self._lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that it has logged so far."""
        return [json.loads(line) for line in list(self._lines) if line.startswith("{")]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_open(self, timeout_s: float) -> None:
        """Wait until the port answers.

        Raises:
            RuntimeError: it ended or took too long; the message has its output.
        """
        announcement = self.base_folder / "_cache" / "run" / "gateway.json"
        pause = threading.Event()
        deadline_s = monotonic_s() + timeout_s
        while not (where := self._announced(announcement)):
            if self.process.poll() is not None:
                self._reader.join(5)
                raise RuntimeError(
                    f"the gateway ended with {self.process.returncode}:\n{self.output}"
                )
            if monotonic_s() > deadline_s:
                raise RuntimeError(f"the gateway is not open after {timeout_s} s:\n{self.output}")
            pause.wait(POLL_S)
        self.port, self.server_ports = where["port"], where["servers"]

    def _announced(self, announcement: Path) -> dict[str, Any]:
        """Return what this process has announced; another one's announcement does not count."""
        try:
            where: dict[str, Any] = json.loads(announcement.read_text())
        except (OSError, ValueError):
            return {}
        return where if where["pid"] == self.process.pid else {}

    def run(self, signature: str, timeout_s: float = 30.0, **fields: Any) -> requests.Response:
        """Send `POST /run` for an endpoint."""
        return self.post("/run", {"SIGNATURE": signature, **fields}, timeout_s)

    def upload(
        self, signature: str, content: bytes, content_type: str = OCTETS,
        timeout_s: float = 30.0, **fields: str,
    ) -> requests.Response:  # fmt: skip
        """Send a raw body to an endpoint, with fields in the query."""
        return requests.post(
            f"{self.url}/run/{signature}", content, params=fields, timeout=timeout_s,
            headers={"Content-Type": content_type},
        )  # fmt: skip

    def stream(self, signature: str, timeout_s: float = 30.0, **fields: Any) -> Iterator[Any]:
        """Yield the items of a streamed answer as they come; an error after the first is one.

        Raises:
            HTTPError: the answer is an error.
        """
        body = {"SIGNATURE": signature, **fields}
        with requests.post(self.url + "/run", json=body, timeout=timeout_s, stream=True) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(chunk_size=None):
                yield json.loads(line)

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, timeout_s: float = 30.0
    ) -> requests.Response:
        """Send a POST with JSON."""
        return requests.post(self.url + path, json=dict(fields or {}), timeout=timeout_s)

    def get(self, path: str, timeout_s: float = 30.0) -> requests.Response:
        """Send a GET."""
        return requests.get(self.url + path, timeout=timeout_s)

    def servers(self) -> dict[str, Any]:
        """Return what `/list_servers` says about each server."""
        found: dict[str, Any] = self.get("/list_servers").json()["SERVERS"]
        return found

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop it with SIGTERM and return its exit code; kill it when that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._reader.join(5)

    def kill(self) -> None:
        """Kill the supervisor; the kernel ends all its children."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(5)


def start_gateway(
    base_folder: str | Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> RunningGateway:
    """Start a gateway on free ports without waiting for it.

    Args:
        base_folder: folder with `config_gateway.txt` and `endpoints`.
        arguments: further arguments of `python -m basic_inference_server run`.
        environment: variables beside this process's own.
        command: what to run instead, such as a `run_gateway.py`.
    """
    folder = Path(base_folder).resolve()
    if command is None:
        command = [sys.executable, "-m", "basic_inference_server", "run", "--host", "127.0.0.1",
                   "--port", "0", *arguments]  # fmt: skip
    inherited = process_environment()
    paths = [PACKAGE_PARENT, inherited.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={
            **inherited,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return RunningGateway(process, folder)


@contextmanager
def running_gateway(
    base_folder: str | Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[RunningGateway]:
    """Run a gateway on free ports for the length of a `with` block; arguments as above.

    Raises:
        RuntimeError: it did not open; the message has its output.
    """
    gateway = start_gateway(base_folder, arguments, environment, command)
    try:
        gateway.wait_until_open(timeout_s)
        yield gateway
    except BaseException:
        gateway.kill()
        raise
    gateway.stop()
