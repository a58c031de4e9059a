"""The worker: loads an endpoint, pulls requests from the server's socket, and leaves in time.

The kernel's accept queue is the request queue. An idle worker accepts the next connection; a busy
one does not, so nothing ever waits behind a hung or slow neighbour. `serving/serial.py` executes
one request at a time, `serving/threads.py` and `serving/async_server.py` several.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import random
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker

from basic_inference_server.core.announcements import NotificationBuffer
from basic_inference_server.core.clock import monotonic_ns
from basic_inference_server.core.library_logging import route_library_logging
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import EventLog, RecordWriter
from basic_inference_server.core.memory import resident_bytes
from basic_inference_server.core.output_recorder import OutputRecorder
from basic_inference_server.core.scoreboard import WorkerState
from basic_inference_server.core.shared_slot import SharedSlot
from basic_inference_server.prefork.arbiter import ignore_stray_signals, take_held_signals
from basic_inference_server.serving.calls import EndpointCaller
from basic_inference_server.serving.departure import Departure
from basic_inference_server.serving.forked_child import ForkedChild
from basic_inference_server.serving.overdue import OverdueWatch
from basic_inference_server.serving.responder import Responder
from basic_inference_server.serving.serial import SerialServer, serving_of
from basic_inference_server.serving.shared_model import SharedModel, announce_load_failure
from basic_inference_server.serving.threads import ThreadedServer
from basic_inference_server.serving.warmup import warm_up
from basic_inference_server.worker.async_hooks import is_async, no_batches
from basic_inference_server.worker.current_request import current_request
from basic_inference_server.worker.discovery import FoundEndpoint, find_endpoint, overrides
from basic_inference_server.worker.execution import effective_config, load_worker
from basic_inference_server.worker.flask_worker import FlaskWorker, WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.misplaced_keys import misplaced_keys
from basic_inference_server.worker.own_process import own_process

if TYPE_CHECKING:
    from basic_inference_server.serving.async_server import AsyncServer

HEARTBEAT_S = 1.0
RECYCLE_JITTER = 0.1
ACCEPT_PAUSE_MS = 100
MAX_FAILED_ACCEPTS = 5
VICTIM_SCORE = 500


class PullWorker(Worker):
    """One process that holds a loaded endpoint."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        application = self.app
        self.spec = application.spec
        self.announcer = application.announcer
        self.slot = application.scoreboard.slot(application.next_slot)
        self.bell = application.bells[application.next_slot]
        self.worker_id = application.next_worker_id
        self.notifications = NotificationBuffer(self.announcer)
        self.caller = EndpointCaller(
            self.spec.signature, self.spec.control_path, self.spec.timeout_s
        )
        self.alive: bool = True
        self._has_loaded = False
        self.endpoint: FlaskWorker | None = None
        self.events = EventLog(self._write_event, self.spec.log_level, worker_id=self.worker_id)
        self._write_record = RecordWriter()
        self.forked_child: ForkedChild
        self.failed_accepts = 0
        self._tasks: AsyncServer | None = None
        self._overdue: OverdueWatch | None = None
        self._count_lock = threading.Lock()
        self._pause = threading.Event()
        # Workers that started together must not all leave together.
        jitter = random.uniform(1 - RECYCLE_JITTER, 1)  # noqa: S311
        limit, limit_mb = self.spec.max_requests, self.spec.max_memory_mb
        self._requests_left = None if limit is None else int(limit * jitter) or 1
        self._memory_limit_mb = None if limit_mb is None else limit_mb * jitter

    def _write_event(self, event: dict[str, Any]) -> None:
        request_id = current_request().request_id
        if request_id:
            event["request_id"] = request_id
        self._write_record(event)

    def load_wsgi(self) -> None:
        """Load nothing: this worker serves frames, not WSGI."""
        self.wsgi = None

    def init_signals(self) -> None:
        """Use gunicorn's handlers, but die of what shall end it: SIGABRT shows the stacks then."""
        self._take_bell()
        super().init_signals()
        # gunicorn would raise SystemExit in the middle of the endpoint's code for the last two.
        # Whoever is asked to leave before it serves has nothing to finish and leaves at once.
        for number in (signal.SIGABRT, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        ignore_stray_signals()
        take_held_signals()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        offer_as_victim()
        faulthandler.enable(all_threads=True)

    def _take_bell(self) -> None:
        """Be woken through the pipe that the master has an end of, and keep no other worker's."""
        for end in self.PIPE:
            os.close(end)
        self.PIPE: tuple[int, ...] = self.bell.ends
        for bell in self.app.bells.values():
            if bell is not self.bell:
                bell.close()

    def run(self) -> None:
        """Load the endpoint, serve until told to stop, and end in time."""
        self._write_record.open()
        recorders = [
            OutputRecorder(self.events, stream, lambda: current_request().call_id)
            for stream in ("stdout", "stderr")
        ]
        sys.stdout, sys.stderr = recorders
        route_library_logging(self.events, self.spec.log_level)
        self.forked_child = ForkedChild(
            self.SIGNALS, [self._write_record, *recorders, self.notifications], self.events
        )
        self._departure = Departure(self.slot, self.events, self._flush)
        try:
            self._load_and_serve()
        except BaseException:
            self._departure.begin(failed=True)
            raise
        self._departure.begin()
        if self._tasks is not None and self._has_loaded:
            self._tasks.close()

    def _flush(self) -> None:
        self.notifications.send()
        self._write_record.flush()
        self.announcer.flush()

    def _load_and_serve(self) -> None:
        self.slot.set_state(WorkerState.LOADING, monotonic_ns())
        self.announcer.announce("loading", worker_id=self.worker_id, pid=os.getpid())
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        try:
            found = self._load()
            about = self._about(found)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the supervisor is told
            own_process.end_child(error.__cause__ or error)
            self._park(error)
            return
        own_process.end_child()
        self._has_loaded = True
        signal.signal(signal.SIGTERM, self.handle_exit)
        self.forked_child.note_handlers()
        gc.collect()
        gc.freeze()
        self.slot.set_state(WorkerState.IDLE, monotonic_ns())
        self.announcer.announce(
            "worker_ready", worker_id=self.worker_id, pid=os.getpid(), endpoint=about
        )
        self._serve()

    def _load(self) -> FoundEndpoint:
        spec = self.spec
        shared: SharedModel | None = self.app.shared_model
        if shared is not None:
            found = shared.endpoint
        else:
            folder = Path(spec.base_folder) / spec.workers_location
            kept = self.app.kept_code
            found = find_endpoint(folder, spec.server_class, spec.workers_suffix, kept)
        self._warn_of_misplaced_keys(found)
        context = WorkerContext(
            signature=spec.signature,
            config_data=effective_config(found.default_config, spec.section),
            log=Logger(lib_name=spec.signature, log=self.events),
            worker_id=self.worker_id,
            notify=self.notifications.add,
            call=self.caller.call,
            shared=shared.value if shared is not None else None,
        )
        if spec.batch_size > 1 and not overrides(found.worker_class, "_predict_batch"):
            raise EndpointLoadError(
                f"BATCH_SIZE is {spec.batch_size}, so {found.worker_class.__name__} needs a method "
                "_predict_batch(self, prepared) that returns a list of results"
            )
        if is_async(found.worker_class):
            if spec.batch_size > 1:
                raise EndpointLoadError(no_batches(found.worker_class, spec.batch_size))
            # Imported here: 3 MB that other endpoints do not need.
            from basic_inference_server.serving.async_server import AsyncServer  # noqa: PLC0415

            self._tasks = AsyncServer(self)
            context.acall = self._tasks.caller.call_async
        self.endpoint = load_worker(found.worker_class, context, self._run)
        warm_up(self.endpoint, spec.warmup, self._run)
        return found

    def _warn_of_misplaced_keys(self, found: FoundEndpoint) -> None:
        spec = self.spec
        # Once in a generation, by its first worker.
        for key in misplaced_keys(found.default_config, spec.section) if self.age == 1 else ():
            self.events.warning(
                "setting_ignored",
                message=f"{key} in _CONFIG of {found.path.name} is only the endpoint's own; "
                f"as a setting write CONFIG_ENDPOINTS.{spec.signature}.{key}",
            )

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        assert self._tasks is not None
        return self._tasks.run(coroutine)

    def _about(self, found: FoundEndpoint) -> dict[str, Any]:
        """Return what the supervisor is told of the endpoint."""
        assert self.endpoint is not None
        module = sys.modules[type(self.endpoint).__module__]
        version = getattr(module, "__WORKER_VER__", None) or getattr(module, "__VER__", None)
        summary = (type(self.endpoint).__doc__ or "").strip().split("\n")[0]
        return {
            "class": found.worker_class.__name__,
            "version": version,
            "summary": summary,
            "idempotent": bool(self.endpoint.config_data.get("IDEMPOTENT", False)),
        }

    def _park(self, error: BaseException) -> None:
        """Say why the load failed and wait for the supervisor's decision.

        Exiting would make the master fork a replacement that fails in the same way.
        """
        self.slot.set_state(WorkerState.PARKED, monotonic_ns())
        announce_load_failure(self.announcer, self.spec, self.worker_id, error)
        self.wait_for_the_end()

    def _serve(self) -> None:
        listener: socket.socket = self.sockets[0]
        listener.setblocking(False)
        assert self.endpoint is not None
        spec = self.spec
        if self._tasks is not None:
            self._tasks.serve(self.endpoint, listener)
        elif spec.threads > 1:
            responder = Responder(self.endpoint, spec, self.slot, self.events)
            ThreadedServer(self, listener, responder).serve()
        else:
            SerialServer(self, listener, serving_of(self, self.endpoint, listener)).serve()

    def share_slot(self) -> SharedSlot:
        """Return the slot's lanes, for a worker with several requests at a time."""
        return SharedSlot(self.slot, self.spec.threads)

    def look_after(self, slot: SharedSlot, set_open: Callable[[bool], None]) -> None:
        """Have nothing accepted while a request is overdue."""
        self._overdue = OverdueWatch(slot, self.spec.timeout_s, self.events, set_open)
        self._pause.set()

    def wait_for_the_end(self) -> None:
        """Wait until the worker has to leave."""
        waker = select.poll()
        waker.register(self.PIPE[0], select.POLLIN)
        while self.alive:
            waker.poll(HEARTBEAT_S * 1000)
            self.on_wake()

    def on_wake(self) -> None:
        """Take out what has woken us, which would do so for ever; leave if that is what it said."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.PIPE[0], 4096)
        if self.slot.is_asked_to_leave:
            self.start_to_leave()

    def handle_exit(self, *_: Any) -> None:
        """SIGTERM: leave after what is in flight."""
        self.start_to_leave()

    def start_to_leave(self) -> None:
        """Take no requests from now on; the master may already start the next worker."""
        if not self.alive:
            return
        self.alive = False
        self.slot.leave(monotonic_ns())
        self._wake()
        if os.getppid() == self.ppid:
            os.kill(self.ppid, signal.SIGCHLD)  # which makes it look after its workers

    def survive_failed_accept(self, error: OSError) -> None:
        """Wait a moment for descriptors to come back; not on the listener, which stays readable."""
        self.note_failed_accept(error)
        if self.alive:
            stop = select.poll()
            stop.register(self.PIPE[0], select.POLLIN)
            stop.poll(ACCEPT_PAUSE_MS)

    def note_failed_accept(self, error: OSError) -> None:
        """Say it; a worker that has leaked all its descriptors leaves."""
        self.failed_accepts += 1
        if self.failed_accepts == 1:
            self.events.error("accept_failed", error=str(error))
        if self.failed_accepts >= MAX_FAILED_ACCEPTS:
            self.retire("accept_failed", error=str(error))

    def count_requests(self, count: int) -> None:
        """Leave after as many requests as were allowed."""
        if self._requests_left is None:
            return
        with self._count_lock:
            self._requests_left -= count
            if self._requests_left <= 0:
                self.retire("max_requests", limit=self.spec.max_requests)

    def retire(self, reason: str, **fields: Any) -> None:
        """Leave after what is in flight; the master starts a replacement."""
        if self.alive:
            self.events.info("worker_recycled", reason=reason, **fields)
            self.start_to_leave()

    def _wake(self) -> None:
        self.bell.ring()

    def _beat(self) -> None:
        """Every second: beat, notice a dead master, watch memory, send what is kept."""
        while self.alive or self._overdue is not None:  # which is looked after to the last request
            self.slot.beat(monotonic_ns())
            self._write_record.flush()
            if os.getppid() != self.ppid or self.slot.is_asked_to_leave:
                if not self._has_loaded:  # nothing has to be finished
                    self._departure.end_now()
                self.start_to_leave()
            if self._memory_limit_mb is not None:
                held_mb = round(resident_bytes(os.getpid()) / 2**20)
                if held_mb > self._memory_limit_mb:
                    self.retire("max_memory", limit_mb=self.spec.max_memory_mb, resident_mb=held_mb)
            pause_s = HEARTBEAT_S
            if self._overdue is not None:
                self.notifications.send()
                pause_s = min(pause_s, self._overdue.look())
            self._pause.wait(pause_s)
            self._pause.clear()


def offer_as_victim() -> None:
    """Have the kernel, when memory runs out, end a worker before the gateway or the supervisor."""
    with contextlib.suppress(OSError):  # a hardened container may not allow it
        Path("/proc/self/oom_score_adj").write_text(str(VICTIM_SCORE))
