"""Makes a gunicorn master use sockets that the supervisor owns.

gunicorn would unlink a Unix socket's path when it stops and would open a listening socket
whenever it likes; with its listeners set from outside it does neither.
"""

from __future__ import annotations

from typing import Any


def adopt_listeners(arbiter: Any, listeners: list[Any]) -> None:
    """Give an arbiter its listening sockets before it runs.

    `systemd` is how gunicorn notes that somebody else owns the sockets: it never unlinks then.
    """
    arbiter.LISTENERS = listeners
    arbiter.systemd = True
