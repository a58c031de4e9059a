"""Threads for administration calls: calls that wait for a server hold up no others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

PROMPT_THREADS = 8
MAX_WAITING = 64
STARTING_PATHS = ("/start_server", "/restart_server", "/update_workers", "/reload")
STOPPING_PATHS = ("/kill_server",)

Work = Callable[[], Any]


class Lane:
    """Threads for calls of one kind, and how many of these calls there are."""

    def __init__(self, name: str, threads: int) -> None:
        self.waiting = 0
        self._name = f"control-plane-{name}"
        self._size = threads
        self._threads = self._new_threads()

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._size, thread_name_prefix=self._name)

    def submit(self, work: Work) -> Future[Any]:
        """Have a thread do the work.

        An executor that cannot start a thread raises, and keeps the work for the next thread all
        the same; so the work itself looks whether it was refused, by a future of its own.

        Raises:
            RuntimeError: no thread can be started; the work will never be done.
        """
        kept, done = [work], Future[Any]()
        try:
            self._threads.submit(_do, kept, done)
        except RuntimeError:
            if done.cancel():
                kept.clear()  # the executor would keep it, so it only ends what it has
                self._threads.shutdown(wait=False)
                self._threads = self._new_threads()
                raise
        return done

    def close(self) -> None:
        """Let running calls end; take no new ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Lanes:
    """A lane for what starts servers, one for what stops them, and one for all that is prompt."""

    def __init__(self) -> None:
        self.prompt = Lane("prompt", PROMPT_THREADS)
        # As many threads as calls: those that wait for minutes hold up not even one another.
        starting, stopping = Lane("starting", MAX_WAITING), Lane("stopping", MAX_WAITING)
        self._by_path = {
            **dict.fromkeys(STARTING_PATHS, starting),
            **dict.fromkeys(STOPPING_PATHS, stopping),
        }

    def of(self, path: str) -> Lane:
        """Return the lane of a call."""
        return self._by_path.get(path, self.prompt)

    def close(self) -> None:
        """Let running calls end; take no new ones."""
        for lane in {self.prompt, *self._by_path.values()}:
            lane.close()


def _do(kept: list[Work], done: Future[Any]) -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(kept[0]())
    except BaseException as error:  # noqa: BLE001 - the caller is told, the thread goes on
        done.set_exception(error)
