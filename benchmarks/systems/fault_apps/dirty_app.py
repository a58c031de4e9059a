"""The scoreboard's work in gunicorn's dirty workers, behind a Flask application."""

from __future__ import annotations

import os
from typing import Any

import fault_work
from flask import Flask, request
from gunicorn.dirty import get_dirty_client
from gunicorn.dirty.app import DirtyApp
from gunicorn.dirty.errors import DirtyError, DirtyTimeoutError

TIMEOUT_S = os.environ["FAULT_TIMEOUT_S"]

app = Flask(__name__)


class Work(DirtyApp):
    """The application that is hit by the faults."""

    name = "work"

    def init(self) -> None:
        """Called in each dirty worker."""
        fault_work.load(self.name)

    def run(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The work."""
        return fault_work.run(fields)


class Other(Work):
    """The application beside it."""

    name = "other"


@app.errorhandler(DirtyError)
def refuse(error: DirtyError) -> tuple[dict[str, str], int]:
    """What a careful author does with the errors that gunicorn documents."""
    return {"error": str(error)}, 504 if isinstance(error, DirtyTimeoutError) else 502


@app.get("/health")
def health() -> dict[str, bool]:
    """What most people write; dirty workers have no health route of their own."""
    return {"ok": True}


@app.post("/run")
def run() -> dict[str, Any]:
    """Hands the work to a dirty worker."""
    return execute("dirty_app:Work")


@app.post("/other")
def other() -> dict[str, Any]:
    """The same for the other application."""
    return execute("dirty_app:Other")


def execute(application: str) -> dict[str, Any]:
    """Wait for a dirty worker's answer."""
    client = get_dirty_client(timeout=float(TIMEOUT_S)) if TIMEOUT_S else get_dirty_client()
    answer: dict[str, Any] = client.execute(application, "run", request.get_json())
    return answer
