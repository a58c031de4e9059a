"""Gateways as users run them: real processes, real sockets, free ports."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.support.projects import ECHO, write_project

LAUNCHED = pytest.StashKey[list[RunningGateway]]()
SHOWN_LINES = 200


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the gateways of a failed test have printed."""
    report = yield
    if report.failed:
        arguments = getattr(item, "funcargs", {}).values()
        gateways = [value for value in arguments if isinstance(value, RunningGateway)]
        for gateway in [*gateways, *item.stash.get(LAUNCHED, [])]:
            lines = gateway.output.splitlines()[-SHOWN_LINES:]
            report.sections.append((f"output of {gateway.base_folder}", "\n".join(lines)))
    return report


@pytest.fixture
def launch(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., RunningGateway]]:
    """Start gateways of this test's own; all are stopped at its end."""
    launched = request.node.stash.setdefault(LAUNCHED, [])
    with ExitStack() as stack:

        def start(
            endpoints: dict[str, dict[str, Any]] | None = None,
            files: dict[str, str] | None = None,
            arguments: tuple[str, ...] = (),
            environment: dict[str, str] | None = None,
            **settings: Any,
        ) -> RunningGateway:
            write_project(tmp_path, endpoints or {"echo": {}}, files or {"echo": ECHO}, **settings)
            gateway = stack.enter_context(running_gateway(tmp_path, arguments, environment))
            launched.append(gateway)
            return gateway

        yield start
