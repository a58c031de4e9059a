"""The items of streaming.py from a LitServe server, as lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import litserve
import stream_work


class Stream(litserve.LitAPI):
    """Streams."""

    def setup(self, device: str) -> None:
        """There is nothing to load."""

    def predict(self, fields: dict[str, Any]) -> Iterator[dict[str, int]]:
        """The items."""
        yield from stream_work.items(fields)

    def encode_response(self, output: Iterator[dict[str, int]]) -> Iterator[str]:
        """A line for each."""
        for item in output:
            yield json.dumps(item) + "\n"


if __name__ == "__main__":
    server = litserve.LitServer(
        Stream(api_path="/run", stream=True), accelerator="cpu", workers_per_device=1
    )
    port = int(os.environ["MODEL_PORT"])
    server.run(host="127.0.0.1", port=port, generate_client_file=False)
