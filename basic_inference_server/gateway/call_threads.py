"""Threads for calls that may wait: a call is executed, or it is refused for good."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from basic_inference_server.core.errors import Overloaded
from basic_inference_server.core.logs import EventLog

T = TypeVar("T")


class CallThreads:
    """An executor that keeps nothing of what it could not start a thread for.

    The standard library's raises then, and executes the call all the same as soon as it has a
    thread. So each call has a future of its own, by which it sees whether it was refused.
    """

    def __init__(self, count: int, name: str, log: EventLog) -> None:
        self._count = count
        self._name = name
        self._log = log
        self._lacks_threads = False
        self._executor = self._new_executor()

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._count, thread_name_prefix=self._name)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have a thread make the call.

        Raises:
            Overloaded: no thread can be started; the call will never be made.
        """
        done: Future[T] = Future()
        try:
            self._executor.submit(_carry_out, call, done)
        except RuntimeError as error:
            if done.cancel():
                self._refuse(str(error))
                raise Overloaded(
                    f"No thread can be started for an administration call: {error}.",
                    retry_after_s=1,
                ) from error
        else:
            self._note(None)
        return done

    def _refuse(self, error: str) -> None:
        """Leave the executor, and the calls that it keeps, to the threads that it has."""
        self._executor.shutdown(wait=False)
        self._executor = self._new_executor()
        self._note(error)

    def _note(self, error: str | None) -> None:
        """Say once that threads cannot be started, and once that they can be again."""
        if error is not None and not self._lacks_threads:
            self._log.error("no_thread", error=error)
        elif error is None and self._lacks_threads:
            self._log.info("threads_again")
        self._lacks_threads = error is not None

    def close(self) -> None:
        """Let running calls end; take no new ones."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _carry_out(call: Callable[[], T], done: Future[T]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the caller is told, the thread goes on
        done.set_exception(error)
