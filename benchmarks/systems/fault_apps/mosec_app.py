"""The scoreboard's work as a mosec server. Runs in mosec's own virtual environment."""

from __future__ import annotations

import os
from typing import Any

import fault_work
from mosec import Server, Worker


class Work(Worker):
    """The worker that is hit by the faults."""

    name = "work"

    def __init__(self) -> None:
        fault_work.load(self.name)

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        """The work."""
        return fault_work.run(data)


class Other(Work):
    """The worker beside it."""

    name = "other"


if __name__ == "__main__":
    server = Server()
    server.append_worker(Work, num=2, route="/run")
    if os.environ["FAULT_OTHER"] == "1":
        server.append_worker(Other, num=2, route="/other")
    server.run()
