"""The scoreboard's work as a LitServe server. Runs in LitServe's own virtual environment."""

from __future__ import annotations

import os
from typing import Any

import fault_work
import litserve


class Work(litserve.LitAPI):
    """The API that is hit by the faults."""

    name = "work"

    def setup(self, device: str) -> None:
        """Called in each worker."""
        fault_work.load(self.name)

    def predict(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The work."""
        return fault_work.run(fields)


class Other(Work):
    """The API beside it."""

    name = "other"


def main() -> None:
    """Serve until stopped."""
    apis = [Work(api_path="/run")]
    if os.environ["FAULT_OTHER"] == "1":
        apis.append(Other(api_path="/other"))
    deadline = {}
    if os.environ["FAULT_TIMEOUT_S"]:
        deadline["timeout"] = float(os.environ["FAULT_TIMEOUT_S"])
    server = litserve.LitServer(
        apis if len(apis) > 1 else apis[0],
        accelerator="cpu",
        workers_per_device=2,
        restart_workers=True,
        **deadline,
    )
    options = {}
    if os.environ["FAULT_QUEUE"]:  # uvicorn's own limit, for each of the two API servers
        options["limit_concurrency"] = int(os.environ["FAULT_QUEUE"]) // 2
    server.run(
        host="127.0.0.1",
        port=int(os.environ["FAULT_PORT"]),
        generate_client_file=False,
        **options,
    )


if __name__ == "__main__":
    main()
