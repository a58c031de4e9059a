"""Unit tests of keys that nothing reads: near misses, misplaced ones, and the operator's own."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.key_names import near_miss, unused_variables, variable_problems
from basic_inference_server.core.settings import (
    EndpointSettings,
    GatewaySettings,
    resolve,
    unused_settings,
    validate,
)

TOP = GatewaySettings.model_fields.keys()
SECTION = EndpointSettings.model_fields.keys()
MINIMAL: dict[str, Any] = {"CONFIG_ENDPOINTS": {"demo": {}}}


def problems_of(config: dict[str, Any], overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(config, overrides)
    return caught.value.problems


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("WORKERS", "NR_WORKERS"),
        ("NUM_WORKERS", "NR_WORKERS"),
        ("N_WORKER", "NR_WORKERS"),
        ("WORKER_COUNT", "NR_WORKERS"),
        ("nr-workers", "NR_WORKERS"),
        ("MAX_BATCH_SIZE", "BATCH_SIZE"),
        ("batchSize", "BATCH_SIZE"),
        ("MAX_THREADS", "THREADS"),
        ("REQUESTS", "MAX_REQUESTS"),
        ("WARM_UP", "WARMUP"),
        ("OPEN_TO_THE_PUBLIC", "OPEN_TO_PUBLIC"),
        ("N", None),
        ("MAX_LENGTH", None),
        ("MODEL_TIMEOUT", None),
        ("REQUEST_TIMEOUT", None),
        ("DB_HOST", None),
        ("DB_PORT", None),
        ("MODEL_DESCRIPTION", None),
        ("WORKER_NAME", None),
        ("BATCH", None),
    ],
)
def test_near_miss_of_a_section_key(key: str, meant: str | None) -> None:
    """Counting words, case and a letter do not make another key; another word does."""
    assert meant == near_miss(key, SECTION)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({**MINIMAL, "NR_WORKERS": 2},
                     "NR_WORKERS: belongs to an endpoint's section: write "
                     "CONFIG_ENDPOINTS.<signature>.NR_WORKERS", id="misplaced"),
        pytest.param({**MINIMAL, "BATCHSIZE": 2},
                     "BATCHSIZE: there is no such key; did you mean "
                     "CONFIG_ENDPOINTS.<signature>.BATCH_SIZE?", id="misplaced and misspelt"),
        pytest.param({**MINIMAL, "host": "127.0.0.1"},
                     "host: there is no such key; did you mean HOST?", id="lower case"),
        pytest.param({**MINIMAL, "FIRST_SERVER_PORT": 6000},
                     "FIRST_SERVER_PORT: is no setting; write --first_server_port on the command "
                     "line", id="argument"),
        pytest.param({"CONFIG_ENDPOINTS": {"demo": {"WORKERS": 2}}},
                     "CONFIG_ENDPOINTS.demo.WORKERS: there is no such key; did you mean "
                     "NR_WORKERS?", id="section"),
    ],
)  # fmt: skip
def test_key_that_would_be_ignored_is_refused_with_what_to_write(
    config: dict[str, Any], expected: str
) -> None:
    """At the top level, in a section and on the command line."""
    assert [expected] == problems_of(config)


def test_misspelt_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that was meant, beside what is wrong in the file."""
    monkeypatch.setenv("BIS_LOG_LEVLE", "debug")
    monkeypatch.setenv("BIS_TIMEOUT", "5")
    assert [
        "BIS_LOG_LEVLE: there is no such key; did you mean BIS_LOG_LEVEL?",
        "BIS_TIMEOUT: belongs to an endpoint's section: write CONFIG_ENDPOINTS.<signature>.TIMEOUT",
        "GATEWAY_WORKERS: expected an integer from 1 to 16, got 99",
    ] == sorted(problems_of(MINIMAL, {"GATEWAY_WORKERS": 99}))


def test_variables_of_the_client_and_of_our_own_processes_are_passed_over() -> None:
    """They have the prefix, but they are no settings."""
    names = ["BIS_ADDRESS", "BIS_TOKEN", "BIS_SUPERVISED", "BIS_RUN", "BIS_LOG_MARK", "HOME"]
    assert [] == list(variable_problems(names, "BIS_", TOP, SECTION))
    assert [] == unused_variables(names, "BIS_", TOP)


def test_what_nothing_reads_is_told_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own keys are allowed, and nobody has to guess that they have no effect."""
    monkeypatch.setenv("BIS_NOTHING", "1")
    monkeypatch.setenv("BIS_CONFIG_ENDPOINTS", "{}")
    section = {"MAX_BODY_BYTES": 5000, "WEIGHT": 1, "BATCH_WAIT_MS": 5}
    config = {**MINIMAL, "CONFIG_ENDPOINTS": {"demo": section}}
    settings, sources = resolve({**config, "STORE": {}}, {"NOPE": 1})
    assert [
        "STORE (file): there is no such setting",
        "NOPE (command line): there is no such setting",
        "CONFIG_ENDPOINTS.demo.MAX_BODY_BYTES: a setting of the top level; "
        "here it is only the endpoint's own",
        "CONFIG_ENDPOINTS.demo.BATCH_WAIT_MS: has no effect without BATCH_SIZE",
        "BIS_CONFIG_ENDPOINTS: no setting is read from this variable",
        "BIS_NOTHING: no setting is read from this variable",
    ] == unused_settings(settings, sources)


def test_host_and_port_of_the_top_level_are_settings() -> None:
    """They have an effect, and so they have limits."""
    checked = validate({**MINIMAL, "HOST": "::1", "PORT": 0})
    assert ("::1", 0) == (checked.HOST, checked.PORT)
    assert ("0.0.0.0", 5002) == (validate(MINIMAL).HOST, validate(MINIMAL).PORT)
    assert ["PORT: expected an integer from 0 to 65535, got 65536"] == problems_of(
        {**MINIMAL, "PORT": 65536}
    )
