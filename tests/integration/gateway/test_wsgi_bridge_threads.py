"""The bridge to the control plane: what it makes on first use, when two calls come first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from basic_inference_server.core.logs import EventLog
from basic_inference_server.gateway.wsgi_bridge import WsgiBridge


def test_application_is_made_once() -> None:
    """Though the warm-up and the first call come at the same moment."""
    made: list[str] = []
    entered, both = threading.Event(), threading.Event()

    def make_application() -> Any:
        made.append(threading.current_thread().name)
        entered.set()
        both.wait(0.2)  # a second one would come meanwhile
        return made

    bridge = WsgiBridge(make_application, EventLog(lambda _event: None), "1")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bridge._get_application)
        entered.wait(30)
        second = pool.submit(bridge._get_application)
        assert first.result(30) is second.result(30)
    assert 1 == len(made)
    bridge.close()
