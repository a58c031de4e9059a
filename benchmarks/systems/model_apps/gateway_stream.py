"""The items of streaming.py from an endpoint of this gateway: `_predict` is a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import stream_work

from basic_inference_server import FlaskWorker


class StreamWorker(FlaskWorker):
    """Streams."""

    def _predict(self, prep_inputs: dict[str, Any]) -> Iterator[dict[str, int]]:
        yield from stream_work.items(prep_inputs)
