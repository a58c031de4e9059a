"""Does what a request asks for: above all what no endpoint should do."""
# ruff: noqa: PLC0415, TID251

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from basic_inference_server import FlaskWorker

MIB = 2**20


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text either")


class MisbehavingWorker(FlaskWorker):
    """`DO` names the deed; `COUNT` is a file that gets one line, `ID`, for each execution."""

    def _load_model(self) -> None:
        self.kept: list[Any] = []

    def _predict(self, inputs: dict[str, Any]) -> Any:
        if "COUNT" in inputs:
            with Path(inputs["COUNT"]).open("a") as file:
                file.write(inputs["ID"] + "\n")
        deed = getattr(self, "do_" + inputs["DO"])
        done = deed(inputs)
        return done if inputs.get("WHOLE") else {"did": done, "pid": os.getpid()}

    def do_answer(self, inputs: dict[str, Any]) -> Any:
        return inputs.get("VALUE")

    # --- hanging

    def do_sleep(self, inputs: dict[str, Any]) -> None:
        threading.Event().wait(inputs["SECONDS"])

    def do_work(self, inputs: dict[str, Any]) -> None:
        """Compute for as many milliseconds as were asked for, on the processor."""
        import time

        end = time.thread_time() + inputs["MS"] / 1000
        while time.thread_time() < end:
            sum(range(500))

    def do_spin(self, inputs: dict[str, Any]) -> None:
        while True:
            pass

    def do_hold_gil(self, inputs: dict[str, Any]) -> None:
        ctypes.PyDLL(None).sleep(int(inputs["SECONDS"]))

    def do_stop_itself(self, inputs: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def do_gate(self, inputs: dict[str, Any]) -> None:
        """Wait while somebody holds the lock of a file."""
        with Path(inputs["GATE"]).open() as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)

    def do_stream(self, inputs: dict[str, Any]) -> Iterator[Any]:
        """Yield without end; wait for the lock of a file after the first item, if there is one.

        `CLOSED` is a file that gets a line when the generator ends.
        """
        try:
            yield {"pid": os.getpid()}
            if "GATE" in inputs:
                self.do_gate(inputs)
            while True:
                yield "x" * 10_000
        finally:
            with Path(inputs["CLOSED"]).open("a") as file:
                file.write(inputs["ID"] + "\n")

    # --- memory

    def do_allocate(self, inputs: dict[str, Any]) -> int:
        """Touch that much memory, piece by piece, and hold it for a moment."""
        for _ in range(inputs["MB"] // 8):
            self.kept.append(b"x" * (8 * MIB))
            threading.Event().wait(inputs.get("PAUSE", 0))
        threading.Event().wait(inputs.get("SECONDS", 0))
        self.kept.clear()
        return int(inputs["MB"])

    def do_leak(self, inputs: dict[str, Any]) -> None:
        self.kept.append(b"x" * (inputs["MB"] * MIB))

    # --- ending

    def do_raise(self, inputs: dict[str, Any]) -> None:
        raise RuntimeError(inputs["TEXT"])

    def do_raise_unprintable(self, inputs: dict[str, Any]) -> None:
        raise Unprintable

    def do_exit(self, inputs: dict[str, Any]) -> None:
        sys.exit(inputs["CODE"])

    def do_exit_now(self, inputs: dict[str, Any]) -> None:
        os._exit(inputs["CODE"])

    def do_abort(self, inputs: dict[str, Any]) -> None:
        os.abort()

    def do_segfault(self, inputs: dict[str, Any]) -> None:
        faulthandler._sigsegv()  # type: ignore[attr-defined]

    def do_kill(self, inputs: dict[str, Any]) -> None:
        os.kill(os.getpid(), inputs["SIGNAL"])
        threading.Event().wait(5)

    def do_kill_master(self, inputs: dict[str, Any]) -> None:
        os.kill(os.getppid(), signal.SIGKILL)

    def do_recurse(self, inputs: dict[str, Any]) -> None:
        return self.do_recurse(inputs)

    def do_recurse_in_c(self, inputs: dict[str, Any]) -> None:
        """Recurse without a limit through C functions, so that the stack runs out."""
        sys.setrecursionlimit(10**9)

        def deeper(_: int) -> int:
            return max(map(deeper, [0]))

        deeper(0)

    def do_recurse_without_limit(self, inputs: dict[str, Any]) -> None:
        sys.setrecursionlimit(10**9)
        self.do_recurse(inputs)

    # --- processes

    def do_fork(self, inputs: dict[str, Any]) -> list[int]:
        """Leave children behind that wait, in this process's group."""
        pids = []
        for _ in range(min(inputs.get("TIMES", 1), 20)):
            pid = os.fork()
            if not pid:
                self._linger()
            pids.append(pid)
        return pids

    def do_daemonise(self, inputs: dict[str, Any]) -> int:
        """Fork twice and leave the session, as a daemon does; close everything when asked to."""
        read_end, write_end = os.pipe()
        if (child := os.fork()) == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(write_end, str(os.getpid()).encode())
            if inputs.get("CLOSE"):
                os.closerange(0, 4096)
            os.chdir("/")
            self._linger()
        os.waitpid(child, 0)
        daemon = int(os.read(read_end, 16))
        os.close(read_end)
        os.close(write_end)
        return daemon

    def do_leave_session(self, inputs: dict[str, Any]) -> None:
        os.setsid()

    def _linger(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()

    # --- output and replies

    def do_flood(self, inputs: dict[str, Any]) -> int:
        """Write that many bytes to standard output, past Python, as C code does."""
        line = b"flood " + b"x" * 993 + b"\n"
        return sum(os.write(1, line) for _ in range(inputs["BYTES"] // len(line)))

    def do_shell(self, inputs: dict[str, Any]) -> int:
        """Run a shell command with the worker's own output; return its exit code."""
        return subprocess.run(["/bin/sh", "-c", inputs["COMMAND"]], check=False).returncode

    def do_reply(self, inputs: dict[str, Any]) -> Any:
        """Return a reply of the kind that was asked for."""
        circle: list[Any] = []
        circle.append(circle)
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        kinds: dict[str, Callable[[], Any]] = {
            "object": lambda: {"value": object()},
            "nan": lambda: {"value": float("nan"), "more": [float("-inf")]},
            "circle": lambda: {"value": circle},
            "deep": lambda: {"value": deep},
            "iterator": lambda: map(int, ["no number"]),
            "lock": threading.Lock,
            "exception": lambda: {"value": Unprintable()},
            "class": lambda: Unprintable,
        }
        return kinds[inputs["KIND"]]()

    def do_big_reply(self, inputs: dict[str, Any]) -> str:
        return "y" * (int(inputs["MB"]) * MIB)

    # --- descriptors and threads

    def do_leak_threads(self, inputs: dict[str, Any]) -> int:
        for _ in range(inputs["TIMES"]):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        return threading.active_count()

    def do_leak_descriptors(self, inputs: dict[str, Any]) -> int:
        """Open files until none are left, or as many as were asked for."""
        import resource

        if "LIMIT" in inputs:
            resource.setrlimit(resource.RLIMIT_NOFILE, (inputs["LIMIT"], inputs["LIMIT"]))
        for number in range(inputs["TIMES"]):
            try:
                self.kept.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                return number
        return int(inputs["TIMES"])

    def do_close_descriptors(self, inputs: dict[str, Any]) -> None:
        os.closerange(inputs.get("FROM", 3), 4096)

    # --- what others rely on

    def do_ignore_signals(self, inputs: dict[str, Any]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    def do_change_surroundings(self, inputs: dict[str, Any]) -> None:
        """Change the folder, the environment, the outputs and the limit of recursion."""
        os.chdir("/")
        os.environ.clear()
        sys.stdout = sys.stderr = None
        sys.setrecursionlimit(120)
