"""Unit tests of config_gateway.txt: the configuration that comes with the server."""

from __future__ import annotations

from pathlib import Path

import pytest

import endpoints
from basic_inference_server.core.settings import GatewaySettings, validate
from tests.support.bundled import SERVING, SUPPORT, bundled_configuration

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def settings() -> GatewaySettings:
    return validate(bundled_configuration())


def test_configuration_runs_these_servers(settings: GatewaySettings) -> None:
    """Out of the box the demonstrations, the light models and the support process run."""
    enabled = [name for name, s in settings.CONFIG_ENDPOINTS.items() if not s.DISABLED]
    assert [*SERVING, SUPPORT] == enabled
    assert settings.CONFIG_ENDPOINTS[SUPPORT].is_support_process


def test_every_bundled_server_has_its_file_and_its_page(settings: GatewaySettings) -> None:
    """Each section that is shipped names an endpoint that exists and is documented."""
    for signature, section in settings.CONFIG_ENDPOINTS.items():
        name = section.SERVER_CLASS or signature
        assert (ROOT / "endpoints" / f"{name}.py").is_file()
        assert (ROOT / "docs" / "reference" / "endpoints" / f"{name}.md").is_file()


def test_every_bundled_server_says_what_it_does(settings: GatewaySettings) -> None:
    """Each section that is shipped has a description of one line, and no two are the same."""
    descriptions = [section.DESCRIPTION for section in settings.CONFIG_ENDPOINTS.values()]
    assert len(descriptions) == len(set(descriptions))
    assert all(0 < len(text) < 100 and "\n" not in text for text in descriptions)


def test_files_of_the_folder_are_attributes_of_the_package() -> None:
    """Without an import of their own; what is not there is an ordinary AttributeError."""
    assert "endpoints.dummy_model_demo1" == endpoints.dummy_model_demo1.__name__
    assert not hasattr(endpoints, "nobody")
    assert not hasattr(endpoints, "__wrapped__")
