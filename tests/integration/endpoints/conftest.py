"""The environment of models that are loaded in the test process, as the server sets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_telemetry() -> Iterator[None]:
    """Keep onnxruntime from starting a thread that reports over the network.

    The server sets it for its workers; here it has to be there before the first import.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORT_DISABLE_TELEMETRY", "1")
        yield
