"""What the tests of the gateway share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.planes import Plane


@pytest.fixture
def plane() -> Iterator[Plane]:
    made = Plane()
    yield made
    os.close(made.board.fd)
