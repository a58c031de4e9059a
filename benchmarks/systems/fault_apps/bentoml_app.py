"""The scoreboard's work as a BentoML service. Runs in BentoML's own virtual environment."""

# No `from __future__ import annotations`: BentoML reads the types of an API when it is defined.
import os
from typing import Any

import bentoml
import fault_work

traffic: dict[str, float] = {}
if os.environ["FAULT_TIMEOUT_S"]:
    traffic["timeout"] = float(os.environ["FAULT_TIMEOUT_S"])
if os.environ["FAULT_QUEUE"]:
    traffic["max_concurrency"] = int(os.environ["FAULT_QUEUE"])


@bentoml.service(workers=2, traffic=traffic)
class Work:
    """The service that is hit by the faults."""

    def __init__(self) -> None:
        fault_work.load("work")

    @bentoml.api(route="/run")
    def run(self, value: float, ms: float = 0, hang: float = 0, note: str = "") -> dict[str, Any]:
        """The work."""
        return fault_work.run({"VALUE": value, "MS": ms, "HANG": hang})
