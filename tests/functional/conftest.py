"""Gateways as users run them: real processes, real sockets, free ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.support.projects import ECHO, write_project


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Start gateways of this test's own; all are stopped at its end."""
    with ExitStack() as stack:

        def start(
            endpoints: dict[str, dict[str, Any]] | None = None,
            files: dict[str, str] | None = None,
            arguments: tuple[str, ...] = (),
            environment: dict[str, str] | None = None,
            **settings: Any,
        ) -> RunningGateway:
            write_project(tmp_path, endpoints or {"echo": {}}, files or {"echo": ECHO}, **settings)
            return stack.enter_context(running_gateway(tmp_path, arguments, environment))

        yield start
