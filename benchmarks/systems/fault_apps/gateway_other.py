"""The endpoint beside the one that is hit by the faults."""

from __future__ import annotations

from typing import Any

import fault_work

from basic_inference_server import FlaskWorker


class OtherWorker(FlaskWorker):
    """Does the same work, and always loads."""

    def _load_model(self) -> None:
        fault_work.load("other")

    def _predict(self, prep_inputs: dict[str, Any]) -> dict[str, Any]:
        return fault_work.run(prep_inputs)
