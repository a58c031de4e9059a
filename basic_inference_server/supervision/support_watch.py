"""Support processes: what they are told at their start, and what is expected of them."""

from __future__ import annotations

from typing import Any

from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.settings import EndpointSettings
from basic_inference_server.supervision.places import Places
from basic_inference_server.supervision.program import Program

REPORT_PATH = "/support_update_status"
MISSED_REPORTS = 3
SLACK_S = 10.0


def support_configuration(
    signature: str, section: EndpointSettings, places: Places, execution_path: str
) -> dict[str, Any]:
    """Return what a support process gets as `--config_endpoint`."""
    return {
        "PING_INTERVAL": section.PING_INTERVAL,
        **section.own_config(),
        "SUPPORT_NAME": signature,
        "SERVER": places.client_host,
        "SERVER_PORT": places.port,
        "SERVER_PATH": REPORT_PATH,
        "EXECUTION_PATH": execution_path,
    }


class SupportWatch:
    """Restarts a support process that used to report and has stopped doing so."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def check(self, program: Program, section: EndpointSettings, now_s: float) -> None:
        """Look at one support process."""
        if program.current is None or program.reported_at_s is None:
            return
        silence_s = now_s - program.reported_at_s
        if silence_s > MISSED_REPORTS * section.PING_INTERVAL + SLACK_S:
            program.reported_at_s = None
            program.restart(f"no report for {silence_s:.0f} s")
