"""The look that follows every fault sees what it has to see."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack

import pytest

from tests.faults import vital_signs
from tests.faults.calls import do
from tests.faults.vital_signs import SECRETS, VitalSigns
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for what will not pass."""
    monkeypatch.setattr(vital_signs, "SETTLE_S", 0.2)


def test_secret_in_the_log_is_seen(signs: VitalSigns) -> None:
    """What an endpoint says in its exception is in the log."""
    do(signs.gateway, "lone", "raise", TEXT=SECRETS["input"])
    eventually(lambda: SECRETS["input"] in signs.gateway.output)
    with pytest.raises(AssertionError, match="the input secret is in log"):
        signs.check()


def test_process_that_is_nobodys_is_seen(signs: VitalSigns) -> None:
    """Whoever its parent is: it works in the gateway's folder."""
    command = ["sleep", "600"]
    with subprocess.Popen(command, cwd=signs.gateway.base_folder) as stranger:
        try:
            with pytest.raises(AssertionError, match=f"{stranger.pid} child of"):
                signs.check()
        finally:
            stranger.kill()


def test_descriptor_that_stays_is_seen(signs: VitalSigns) -> None:
    """One connection more than before is one descriptor."""
    with ExitStack() as stack:
        stack.enter_context(socket.create_connection(("127.0.0.1", signs.gateway.port)))
        with pytest.raises(AssertionError, match="is more than"):
            signs.check()
