"""Takes its time to load, and says which version it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from basic_inference_server import FlaskWorker

_CONFIG = {"LOAD_SECONDS": 0.3, "FLAVOUR": "plain"}
VERSION = 1


class VersionedWorker(FlaskWorker):
    """A new version is this file with another `VERSION`."""

    def _load_model(self) -> None:
        threading.Event().wait(self.cfg_load_seconds)

    def _predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        if "COUNT" in inputs:
            with Path(inputs["COUNT"]).open("a") as file:
                file.write(inputs["ID"] + "\n")
        return {"version": VERSION, "flavour": self.cfg_flavour, "pid": os.getpid()}
