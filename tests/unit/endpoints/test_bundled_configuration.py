"""Unit tests of config_gateway.txt: the configuration that comes with the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from basic_inference_server.core.config_file import read_config_file
from basic_inference_server.core.settings import GatewaySettings, validate
from tests.support.bundled import DISABLED, SERVING, SUPPORT

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def settings() -> GatewaySettings:
    return validate(read_config_file(ROOT / "config_gateway.txt"))


def test_configuration_runs_these_servers(settings: GatewaySettings) -> None:
    """Out of the box the demonstrations, the light models and the support process run."""
    enabled = {name for name, s in settings.CONFIG_ENDPOINTS.items() if not s.DISABLED}
    assert {*SERVING, SUPPORT} <= enabled
    assert not {*DISABLED} & enabled
    assert settings.CONFIG_ENDPOINTS[SUPPORT].is_support_process


def test_every_bundled_server_has_its_file_and_its_page(settings: GatewaySettings) -> None:
    """Each section that is shipped names an endpoint that exists and is documented."""
    for signature in (*SERVING, *DISABLED, SUPPORT):
        name = settings.CONFIG_ENDPOINTS[signature].SERVER_CLASS or signature
        assert (ROOT / "endpoints" / f"{name}.py").is_file()
        assert (ROOT / "docs" / "reference" / "endpoints" / f"{name}.md").is_file()


def test_every_bundled_server_says_what_it_does(settings: GatewaySettings) -> None:
    """Each section that is shipped has a description of one line, and no two are the same."""
    bundled = (*SERVING, *DISABLED, SUPPORT)
    descriptions = [settings.CONFIG_ENDPOINTS[signature].DESCRIPTION for signature in bundled]
    assert len(descriptions) == len(set(descriptions))
    assert all(0 < len(text) < 100 and "\n" not in text for text in descriptions)
