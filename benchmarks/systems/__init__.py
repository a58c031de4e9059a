"""The systems that are compared: how each is started with the same two-worker echo work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server_process import Request, ServerProcess

from systems import flask_baseline, gateway, mosec_peer

OURS = "ours"
MOSEC = "mosec"
FLASK = "flask"

SYSTEMS: dict[str, Callable[[Path], ServerProcess]] = {
    OURS: gateway.start_echo,
    MOSEC: mosec_peer.start_echo,
    FLASK: flask_baseline.start_echo,
}

ECHO_REQUEST = Request("/run", b'{"SIGNATURE":"echo","INPUT_VALUE":"5"}')
ECHO_ANSWER = '"result": ?11%D'  # a Lua pattern
