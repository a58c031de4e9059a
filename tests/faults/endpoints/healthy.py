"""Answers what it was asked: the neighbour that must not notice anything."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from basic_inference_server import FlaskWorker


class HealthyWorker(FlaskWorker):
    """Computes for `MS` milliseconds when asked to, and answers `VALUE`."""

    def _predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if "COUNT" in inputs:
            with Path(inputs["COUNT"]).open("a") as file:
                file.write(inputs["ID"] + "\n")
        end = time.thread_time() + inputs.get("MS", 0) / 1000
        while time.thread_time() < end:
            sum(range(500))
        return {"answer": inputs.get("VALUE"), "pid": os.getpid()}
