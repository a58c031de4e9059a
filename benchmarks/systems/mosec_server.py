"""The echo work as a mosec server. Runs in mosec's own virtual environment, on nothing else."""

from __future__ import annotations

from typing import Any

from mosec import Server, Worker

NUM_WORKERS = 2


class EchoWorker(Worker):
    """JSON in and out are mosec's defaults."""

    def forward(self, data: dict[str, Any]) -> dict[str, int]:
        """Answer twice the value plus one."""
        return {"result": int(data["INPUT_VALUE"]) * 2 + 1}


if __name__ == "__main__":
    server = Server()
    server.append_worker(EchoWorker, num=NUM_WORKERS, route="/run")
    server.run()
