"""The scoreboard's work as an endpoint of this gateway."""

from __future__ import annotations

from typing import Any

import fault_work

from basic_inference_server import FlaskWorker


class WorkWorker(FlaskWorker):
    """The endpoint that is hit by the faults."""

    def _load_model(self) -> None:
        fault_work.load("work")

    def _predict(self, prep_inputs: dict[str, Any]) -> dict[str, Any]:
        return fault_work.run(prep_inputs)
