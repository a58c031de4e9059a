"""Makes small gateway projects on disk: a configuration and endpoint files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ECHO = """
from basic_inference_server import FlaskWorker


class EchoWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"result": int(inputs["INPUT_VALUE"]) * 2 + 1}
"""


def write_project(
    folder: Path,
    endpoints: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str],
    **settings: Any,
) -> Path:
    """Write `config_gateway.txt` and `endpoints/<name>.py`; return the folder."""
    configuration = {"CONFIG_ENDPOINTS": dict(endpoints), **settings}
    (folder / "config_gateway.txt").write_text(json.dumps(configuration))
    (folder / "endpoints").mkdir(exist_ok=True)
    for name, source in files.items():
        (folder / "endpoints" / f"{name}.py").write_text(textwrap.dedent(source).lstrip())
    return folder
