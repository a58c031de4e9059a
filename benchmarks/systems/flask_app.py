"""The echo work as a plain Flask application."""

from __future__ import annotations

from flask import Flask, request

app = Flask(__name__)


@app.post("/run")
def run() -> dict[str, int]:
    """Answer twice the value plus one."""
    inputs = request.get_json()
    return {"result": int(inputs["INPUT_VALUE"]) * 2 + 1}
