"""The bundled endpoints' classes in this process: what a model costs without a server."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from systems.gateway import PROJECT_ROOT


def load_bundled(module: str, class_name: str) -> Any:
    """Return a loaded worker of `endpoints/<module>.py`."""
    if str(PROJECT_ROOT) not in sys.path:
        sys.path.insert(0, str(PROJECT_ROOT))
    testing = importlib.import_module("basic_inference_server.testing")
    worker_class = getattr(importlib.import_module(f"endpoints.{module}"), class_name)
    return testing.WorkerHarness(worker_class).worker
