"""Makes the kernel silent about who owns a connection, in every Python that finds this file.

As in a sandbox that refuses netlink and has no /proc/net.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

AF_NETLINK = 16


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.__new__" and arguments[1] == AF_NETLINK:
        raise OSError(errno.EAFNOSUPPORT, "no netlink here")
    if event == "open" and str(arguments[0]).startswith(("/proc/net/", "/proc/self/net/")):
        raise FileNotFoundError(errno.ENOENT, "no /proc/net here")


sys.addaudithook(_refuse)
