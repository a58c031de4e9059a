"""A streamed answer that is read item by item, while it is being made."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from tests.support.event_stream import parse_lines


class OpenAnswer:
    """The answer to one request on a connection of its own."""

    def __init__(self, port: int, path: str = "/run/streaming", **fields: Any) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", f"{path}?{urlencode(fields)}")
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            self.close()
            raise AssertionError(f"answered with {self.response.status}")

    def read_item(self) -> Any:
        """Return the next item."""
        return json.loads(self.response.readline())

    def read_rest(self) -> list[Any]:
        """Return the items that are left, and leave."""
        try:
            return parse_lines(self.response.read())
        finally:
            self.close()

    def close(self) -> None:
        """Leave."""
        self.response.close()
        self.connection.close()


def numbers(items: list[Any]) -> list[Any]:
    """Return the number of each item that has one, others as they are."""
    return [item["n"] if isinstance(item, dict) and "n" in item else item for item in items]
