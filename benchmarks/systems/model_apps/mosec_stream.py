"""The items of streaming.py from a mosec server, as server-sent events."""

from __future__ import annotations

import json
from typing import Any

import stream_work
from mosec import Server, SSEWorker


class Stream(SSEWorker):
    """Streams."""

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        """An event for each item; what is returned is not sent."""
        for item in stream_work.items(data):
            self.send_stream_event(json.dumps(item))
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Stream, num=1, route="/run")
    server.run()
