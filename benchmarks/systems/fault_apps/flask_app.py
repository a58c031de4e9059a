"""The scoreboard's work as a plain Flask application: the baseline."""

from __future__ import annotations

from typing import Any

import fault_work
from flask import Flask, request

app = Flask(__name__)
fault_work.load("work")


@app.get("/health")
def health() -> dict[str, bool]:
    """What most people write."""
    return {"ok": True}


@app.post("/run")
def run() -> dict[str, Any]:
    """The work."""
    return fault_work.run(request.get_json())
