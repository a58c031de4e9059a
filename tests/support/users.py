"""Acting as another user of this machine for a moment, which only root can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ANOTHER_USER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextmanager
def another_user(uid: int = ANOTHER_USER) -> Iterator[None]:
    """Act as another user in a `with` block; sockets that are made there stay that user's."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
