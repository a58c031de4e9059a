"""Unit tests of settings of the engine that an author wrote into `_CONFIG`."""

from __future__ import annotations

from basic_inference_server.core.settings import EndpointSettings
from basic_inference_server.worker.misplaced_keys import SECTION_KEYS, misplaced_keys


def test_keys_are_those_of_a_section() -> None:
    """The list is written a second time, because workers do not import the first."""
    assert EndpointSettings.model_fields.keys() == SECTION_KEYS


def test_setting_in_the_endpoints_file_is_found() -> None:
    """Unless it is read there, or the section says the same key and wins."""
    default = {"WEIGHT": 1, "TIMEOUT": 5, "BATCH_SIZE": 8, "IDEMPOTENT": True}
    assert ["TIMEOUT"] == misplaced_keys(default, {"BATCH_SIZE": 4})
