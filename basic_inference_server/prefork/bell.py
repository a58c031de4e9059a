"""How a master wakes one of its workers without a signal.

A signal reaches a worker only as long as nobody has replaced its handler or its wake-up descriptor,
and the code that a worker runs may do both. What shall be done stands elsewhere; the bell says
only: look.
"""

from __future__ import annotations

import contextlib
import os


class Bell:
    """A pipe that is made before the fork: the master keeps one end, the worker has both."""

    def __init__(self) -> None:
        self.ends: tuple[int, ...] = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Wake the worker; one that is gone, or has not looked yet, is no error."""
        if self.ends:
            with contextlib.suppress(OSError):
                os.write(self.ends[-1], b"\0")

    def keep_only_the_button(self) -> None:
        """Close the end that only the worker reads; called by the master, after the fork."""
        os.close(self.ends[0])
        self.ends = self.ends[1:]

    def close(self) -> None:
        """Close what is open."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                os.close(end)
        self.ends = ()
