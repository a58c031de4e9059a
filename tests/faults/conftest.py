"""A gateway whose endpoints misbehave, and the look at it after every fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.faults.vital_signs import SECRETS, VitalSigns
from tests.functional.conftest import LAUNCHED, pytest_runtest_makereport
from tests.functional.gateways import shared_gateway
from tests.support.projects import write_project

__all__ = ["pytest_runtest_makereport"]  # failed tests show what their gateways printed

FOLDER = Path(__file__).parent
SOURCES = {path.stem: path.read_text() for path in (FOLDER / "endpoints").glob("*.py")}
ENV = {"ENV": {"DB_PASSWORD": SECRETS["environment"]}}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "misbehaving": {"NR_WORKERS": 2, "TIMEOUT": 20, **ENV},
    "hasty": {"SERVER_CLASS": "misbehaving", "TIMEOUT": 1, **ENV},
    "lone": {"SERVER_CLASS": "misbehaving", "TIMEOUT": 3, **ENV},
    "healthy": {**ENV},
}
Launch = Callable[..., RunningGateway]
FIGURES = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Faults are tests of the whole product, those that say otherwise left out."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and not item.get_closest_marker("unit"):
            item.add_marker("functional")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what the chaos tests have measured."""
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return how a test says what it has measured."""
    figures = request.config.stash.setdefault(FIGURES, [])
    return lambda text: figures.append(f"{request.node.name}: {text}")


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VitalSigns]:
    """One gateway for a file's quick faults, and how it was when it was well."""
    folder = tmp_path_factory.mktemp("faults")
    with shared_gateway(folder, ENDPOINTS, SOURCES, GRACEFUL_TIMEOUT=4) as running:
        yield VitalSigns(running)


@pytest.fixture
def gateway(signs: VitalSigns) -> RunningGateway:
    """The gateway that is shared."""
    return signs.gateway


@pytest.fixture(autouse=True)
def well_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every case the gateway that it shared has to be as it was before."""
    yield
    if "signs" in request.fixturenames:
        request.getfixturevalue("signs").check()


@pytest.fixture
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launch]:
    """Start gateways of this test's own; each is looked at, too, and stopped at its end."""
    launched = request.node.stash.setdefault(LAUNCHED, [])
    with ExitStack() as stack:

        def start(
            endpoints: dict[str, dict[str, Any]] | None = None, **settings: Any
        ) -> RunningGateway:
            chosen = {
                "healthy": {**ENV},
                **(endpoints or {"misbehaving": {"NR_WORKERS": 2, **ENV}}),
            }
            write_project(tmp_path, chosen, SOURCES, **settings)
            gateway = stack.enter_context(running_gateway(tmp_path))
            launched.append(gateway)
            stack.callback(VitalSigns(gateway).check)
            return gateway

        yield start
