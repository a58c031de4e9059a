"""Tells the worker's own process from one that endpoint code has forked from it.

`os.fork` gives the child everything that the worker has: its requests, its connections, its place
on the scoreboard. A child that comes back from the endpoint's code would go on as a second worker,
so it is ended there.
"""

from __future__ import annotations

import os
from collections.abc import Callable

CAME_BACK = 1


class OwnProcess:
    """Whether this is the process that the worker was started as.

    Attributes:
        is_forked: whether endpoint code has forked it; true in the child only.
    """

    __slots__ = ("_say", "is_forked")

    def __init__(self) -> None:
        self.is_forked = False
        self._say: Callable[[], None] = lambda: None

    def forked(self, say: Callable[[], None]) -> None:
        """Note, in the child, that it is one; `say` is called when it has to be ended."""
        self.is_forked = True
        self._say = say

    def end_child(self, error: BaseException | None = None) -> None:
        """End a child that has come back, be it with an exception; nothing in the worker itself."""
        if not self.is_forked:
            return
        if isinstance(error, SystemExit):  # it says itself how it ends
            code = error.code
            os._exit(code if isinstance(code, int) else int(code is not None))
        self._say()
        os._exit(CAME_BACK)


own_process = OwnProcess()
