"""What a start does before anything else: descriptors 0 to 2, and signals that come early.

Imports next to nothing, so that it runs while the rest is still being imported.
"""

from __future__ import annotations

import os
import signal
import sys


def prepare_process() -> None:
    """Make this process safe to start anything in; a second call changes nothing."""
    hold_standard_descriptors()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        leave_on_early_sigterm()


def hold_standard_descriptors() -> None:
    """Open the null device for those of the descriptors 0 to 2 that are closed.

    Else the next socket or database gets such a number, and what a child inherits as its standard
    output would be written into it.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is `fd`
    # Python has made nothing of those that it found closed.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def leave_on_early_sigterm() -> None:
    """End with 0 on a SIGTERM that comes before the supervisor listens to it.

    The first process of a container loses every signal that it has no handler for.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda *_: None)  # the supervisor has a use for them, or says so
