"""Ends what is left of a run whose supervisor was killed.

The kernel kills the process groups of our children at that moment (see `child_process`); a process
that has left its group is found by the mark in its environment. A shell does it: it sleeps in
`read` until the supervisor's end of the pipe closes, and takes less than 1 MB.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from basic_inference_server.supervision.strays import RUN_VARIABLE

SHELL = "/bin/sh"
SCRIPT = Path(__file__).resolve().with_suffix(".sh")
END_WITHIN_S = 2.0


class Janitor:
    """A process that outlives the supervisor by a moment."""

    def __init__(self, run_id: str) -> None:
        """Start it.

        Raises:
            OSError: there is no shell.
        """
        read_end, self._write_end = os.pipe()
        try:
            # Neither our session, so that Ctrl-C does not reach it, nor our mark.
            self._process = subprocess.Popen(
                [SHELL, str(SCRIPT), f"{RUN_VARIABLE}={run_id}[.]"],
                stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"}, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still watches."""
        return self._process.poll() is None

    def close(self) -> None:
        """Let it look once and leave."""
        os.close(self._write_end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN_S)
