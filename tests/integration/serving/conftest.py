"""What the tests of a worker's responder share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from basic_inference_server.core.scoreboard import WorkerState
from tests.support.responder_desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    assert WorkerState.IDLE is made.board.read(made.slot.index).state
    os.close(made.board.fd)
