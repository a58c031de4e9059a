"""How many file descriptors a configuration takes, and how many there may be."""

from __future__ import annotations

import resource
from typing import Final

MAX_DESCRIPTORS: Final = 65536
OWN_DESCRIPTORS: Final = 64  # of the supervisor, and of a gateway process
# Two listeners, a path, two of the scoreboard, four of its running processes, and one to spare.
FOR_A_SERVER: Final = 10
FOR_A_PROGRAM: Final = 4
FOR_A_REPLACEMENT: Final = 4
FOR_A_CONNECTION: Final = 2  # a request takes one more to its worker


def raise_descriptor_limit() -> int:
    """Take as many descriptors as we may; return how many. Our children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return descriptor_limit()


def descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def needed_descriptors(servers: int, programs: int) -> int:
    """Return how many descriptors the supervisor needs for that many servers and programs."""
    return OWN_DESCRIPTORS + servers * FOR_A_SERVER + programs * FOR_A_PROGRAM


def descriptors_to_replace_all(servers: int, programs: int) -> int:
    """Return how many it needs while every server has a successor, as in a reload of all."""
    return needed_descriptors(servers, programs) + servers * FOR_A_REPLACEMENT


def most_connections(wanted: int, servers: int) -> int:
    """Return how many clients a gateway process can have, which listens for each server too."""
    left = descriptor_limit() - OWN_DESCRIPTORS - servers
    return max(1, min(wanted, left // FOR_A_CONNECTION))
