"""The ports that are published are those that the bundled configuration takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from basic_inference_server.core.settings import DEFAULT_PORT, validate
from basic_inference_server.main import FIRST_SERVER_PORT
from tests.support.bundled import bundled_configuration

ROOT = Path(__file__).resolve().parents[2]
RANGE = re.compile(r"\b(50\d\d)(?:-| to )(50\d\d)\b")


def ports_taken() -> set[int]:
    """Return the gateway's port and one for each server, disabled ones too."""
    sections = validate(bundled_configuration()).CONFIG_ENDPOINTS.values()
    chosen = [section.PORT for section in sections if not section.is_support_process]
    free = (port for port in range(FIRST_SERVER_PORT, 65536) if port not in chosen)
    return {DEFAULT_PORT, *(port or next(free) for port in chosen)}


@pytest.mark.parametrize("name", ["Dockerfile", "run.sh", "docs/howto/deploy.md"])
def test_published_ports_are_those_of_the_bundled_configuration(name: str) -> None:
    """Every range of ports that a file names ends at the last server's port, and begins right."""
    taken = ports_taken()
    found = {(int(low), int(high)) for low, high in RANGE.findall((ROOT / name).read_text())}
    assert {max(taken)} == {high for _, high in found}
    assert {min(taken)} <= {low for low, _ in found} <= {min(taken), FIRST_SERVER_PORT}
    assert set(range(min(taken), max(taken) + 1)) == taken
